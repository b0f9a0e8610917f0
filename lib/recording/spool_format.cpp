#include "lib/recording/spool_format.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "lib/crypto/hash.hpp"
#include "lib/recording/malformed.hpp"

namespace lucid::recording {
namespace {

constexpr std::array<std::uint8_t, 4> kSpoolMagic{'L', 'S', 'P', 'L'};
constexpr std::array<std::uint8_t, 4> kBatchMagic{'L', 'B', 'A', 'T'};
constexpr std::uint16_t kSpoolVersion = 1;
constexpr std::size_t kSealedKeySize = 32 + crypto::kSealOverhead;
constexpr std::size_t kBodyOffset = kBatchHeaderSize + crypto::kNonceSize;
constexpr std::size_t kTearCheckOffset = 68;  // header bytes before it are associated data
constexpr std::size_t kAssociatedSize = 16 + kTearCheckOffset;

std::unexpected<Error> torn(const std::string& message) { return std::unexpected(Error(ErrorKind::malformed, "torn_batch", message)); }

std::array<std::uint8_t, kAssociatedSize> associated(const std::array<std::uint8_t, 16>& spool_id, ByteView batch) {
  std::array<std::uint8_t, kAssociatedSize> data;
  std::copy(spool_id.begin(), spool_id.end(), data.begin());
  std::copy_n(batch.begin(), kTearCheckOffset, data.begin() + 16);
  return data;
}

// Over everything of the batch but the check itself.
std::array<std::uint8_t, 4> tear_check(ByteView batch) {
  crypto::Blake3Hasher hasher;
  hasher.update(batch.first(kTearCheckOffset));
  hasher.update(batch.subspan(kBatchHeaderSize));
  Hash32 hash = hasher.finish();
  return {hash[0], hash[1], hash[2], hash[3]};
}

bool tear_check_holds(ByteView batch) {
  auto check = tear_check(batch);
  return std::equal(check.begin(), check.end(), batch.begin() + kTearCheckOffset);
}

// The fields of a batch header; says nothing of what follows it.
Expected<BatchHeader> read_batch_header(ByteView bytes) {
  if (bytes.size() < kBatchHeaderSize) return torn(fmt::format("batch header cut short at {} bytes", bytes.size()));
  ByteReader in(bytes);
  if (in.array<4>() != kBatchMagic) return malformed("not a batch: it does not start with LBAT");
  if (std::uint16_t version = in.u16(); version != kSpoolVersion)
    return malformed(fmt::format("batch version {} is not known, only {}", version, kSpoolVersion));
  BatchHeader h;
  h.flags = in.u16();
  h.session = Id(in.array<16>());
  h.sequence = in.u64();
  h.index = in.u32();
  h.sealed_size = in.u32();
  h.first_ms = in.i64();
  h.last_ms = in.i64();
  h.fencing_token = in.u64();
  std::uint8_t last = in.u8();
  if (last > 1 || in.array<3>() != std::array<std::uint8_t, 3>{}) return malformed("reserved bytes of a batch header are not zero");
  h.last = last == 1;
  if (h.first_ms < 0 || h.last_ms < h.first_ms) return malformed("times of a batch are negative or reversed");
  if (h.sealed_size < crypto::kTagSize || h.sealed_size > kMaxBatchBytes + crypto::kTagSize)
    return malformed(fmt::format("batch of {} sealed bytes is out of bounds", h.sealed_size));
  return h;
}

// One batch of a segment body that is known to be in it whole.
struct Piece {
  BatchHeader header;
  ByteView bytes;
};

// Cuts the body into batches and checks that they form one segment.
Expected<std::vector<Piece>> split(ByteView batches) {
  std::vector<Piece> pieces;
  std::size_t plain = 0;
  while (!batches.empty()) {
    auto header = read_batch_header(batches);
    if (!header) return std::unexpected(header.error());
    if (batches.size() < batch_size(*header)) return torn(fmt::format("batch {} of the segment is cut short", pieces.size()));
    if (header->index != pieces.size()) return malformed(fmt::format("batch {} stands where {} belongs", header->index, pieces.size()));
    if (!pieces.empty()) {
      const BatchHeader& before = pieces.back().header;
      if (header->session != before.session || header->sequence != before.sequence)
        return malformed("the batches belong to different segments");
      if (before.last) return malformed("a batch follows the one that closed the segment");
      if (header->fencing_token < before.fencing_token) return malformed("the fencing token falls within the segment");
    }
    plain += header->sealed_size - crypto::kTagSize;
    if (plain > kMaxBatchBytes)
      return std::unexpected(Error(ErrorKind::too_large, fmt::format("the segment holds more than {} bytes of records", kMaxBatchBytes)));
    pieces.push_back({*header, batches.first(batch_size(*header))});
    batches = batches.subspan(batch_size(*header));
  }
  if (pieces.empty()) return malformed("the segment has no batch");
  return pieces;
}

}  // namespace

SpoolSealer::SpoolSealer(const crypto::BoxPublicKey& processor, RandomSource& random)
    : key_(crypto::Secret32::random(random)), random_(random) {
  random.fill(header_.spool_id);
  header_.sealed_key = crypto::seal_to(processor, key_.bytes(), random);
}

Bytes SpoolSealer::header() const {
  Bytes out;
  ByteWriter w(out);
  w.bytes(kSpoolMagic);
  w.u16(kSpoolVersion);
  w.u16(0);
  w.bytes(header_.spool_id);
  w.bytes(header_.sealed_key);
  return out;
}

void SpoolSealer::seal(BatchHeader header, ByteView records, Bytes& out) {
  if (records.size() > kMaxBatchBytes)
    throw Error(ErrorKind::too_large, fmt::format("seal batch {} of segment {}: {} bytes of records, at most {} are allowed", header.index,
                                                  header.sequence, records.size(), kMaxBatchBytes));
  header.sealed_size = static_cast<std::uint32_t>(records.size() + crypto::kTagSize);
  const std::size_t begin = out.size();
  ByteWriter w(out);
  w.bytes(kBatchMagic);
  w.u16(kSpoolVersion);
  w.u16(header.flags);
  w.bytes(header.session.bytes());
  w.u64(header.sequence);
  w.u32(header.index);
  w.u32(header.sealed_size);
  w.i64(header.first_ms);
  w.i64(header.last_ms);
  w.u64(header.fencing_token);
  w.u32(header.last ? 1 : 0);  // one byte and three reserved ones
  w.u32(0);                    // tear check, filled in below
  crypto::Nonce nonce = random_.array<crypto::kNonceSize>();
  w.bytes(nonce);
  out.resize(begin + batch_size(header));
  std::span<std::uint8_t> batch = std::span(out).subspan(begin);
  crypto::seal(key_, nonce, associated(header_.spool_id, batch), records, batch.subspan(kBodyOffset));
  auto check = tear_check(batch);
  std::copy(check.begin(), check.end(), batch.begin() + kTearCheckOffset);
}

Expected<SpoolHeader> parse_spool_header(ByteView bytes) {
  ByteReader in(bytes);
  if (in.array<4>() != kSpoolMagic) return malformed("not a spool: it does not start with LSPL");
  std::uint16_t version = in.u16(), reserved = in.u16();
  if (in.ok() && version != kSpoolVersion) return malformed(fmt::format("spool version {} is not known, only {}", version, kSpoolVersion));
  SpoolHeader header;
  header.spool_id = in.array<16>();
  ByteView key = in.bytes(kSealedKeySize);
  if (!in.ok()) return malformed(fmt::format("spool header cut short at {} bytes", bytes.size()));
  if (reserved != 0) return malformed("reserved bytes of a spool header are not zero");
  header.sealed_key.assign(key.begin(), key.end());
  return header;
}

Expected<BatchHeader> parse_batch_header(ByteView bytes) {
  auto header = read_batch_header(bytes);
  if (!header) return header;
  if (bytes.size() < batch_size(*header)) return torn(fmt::format("batch of {} bytes cut short at {}", batch_size(*header), bytes.size()));
  if (!tear_check_holds(bytes.first(batch_size(*header))))
    return torn("the batch was not written to its end: its tear check does not hold");
  return header;
}

std::optional<crypto::Secret32> open_spool_key(const SpoolHeader& header, const crypto::BoxKey& processor) {
  auto key = processor.open(header.sealed_key);
  if (!key || key->size() != 32) return std::nullopt;
  crypto::Secret32 secret{std::span<const std::uint8_t, 32>(key->data(), 32)};
  crypto::wipe(*key);
  return secret;
}

Expected<OpenedSegment> open_segment(ByteView body, const SpoolHeader& header, const crypto::Secret32& spool_key) {
  auto own = parse_spool_header(body);
  if (!own) return std::unexpected(own.error());
  if (own->spool_id != header.spool_id) return malformed("the segment comes from another spool than its key");
  auto pieces = split(body.subspan(kSpoolHeaderSize));
  if (!pieces) return std::unexpected(pieces.error());

  std::size_t plain = 0;
  for (const Piece& piece : *pieces) plain += piece.header.sealed_size - crypto::kTagSize;
  const BatchHeader& first = pieces->front().header;
  const BatchHeader& last = pieces->back().header;
  OpenedSegment segment{first.session, first.sequence, 0, first.first_ms, first.last_ms, last.fencing_token, last.last, Bytes(plain)};
  std::size_t at = 0;
  for (const auto& [batch, bytes] : *pieces) {
    crypto::Nonce nonce;
    std::copy_n(bytes.begin() + kBatchHeaderSize, nonce.size(), nonce.begin());
    std::size_t size = batch.sealed_size - crypto::kTagSize;
    if (!tear_check_holds(bytes) || !crypto::open(spool_key, nonce, associated(header.spool_id, bytes), bytes.subspan(kBodyOffset),
                                                  std::span(segment.records).subspan(at, size)))
      return std::unexpected(
          Error(ErrorKind::corrupt, "segment_altered",
                fmt::format("batch {} of segment {} of session {} does not open: it was altered, or the key is another spool's",
                            batch.index, batch.sequence, batch.session.text())));
    at += size;
    segment.flags |= batch.flags;
    segment.first_ms = std::min(segment.first_ms, batch.first_ms);
    segment.last_ms = std::max(segment.last_ms, batch.last_ms);
  }
  return segment;
}

}  // namespace lucid::recording
