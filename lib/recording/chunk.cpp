#include "lib/recording/chunk.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>

#include <fmt/format.h>
#include <zstd.h>

#include "lib/crypto/aead.hpp"
#include "lib/crypto/hash.hpp"
#include "lib/recording/malformed.hpp"

namespace lucid::recording {
namespace {

constexpr std::array<std::uint8_t, 4> kMagic{'L', 'C', 'H', 'K'};
constexpr std::uint16_t kChunkVersion = 1;
constexpr std::size_t kBodyOffset = kChunkHeaderSize + crypto::kNonceSize;
constexpr std::size_t kExpansionFreeBytes = 64 << 10;  // below this much plaintext the ratio does not matter
constexpr std::array<std::uint8_t, 4> kSkippableMagic{0x50, 0x2a, 0x4d, 0x18};
constexpr std::size_t kSkippableHeader = 8;  // magic and length of a zstd skippable frame

bool expands_too_far(std::size_t plain, std::size_t compressed) {
  return plain > kExpansionFreeBytes && plain > compressed * kMaxExpansion;
}

void write_header(const ChunkHeader& h, Bytes& out) {
  ByteWriter w(out);
  w.bytes(kMagic);
  w.u16(kChunkVersion);
  w.u8(static_cast<std::uint8_t>(h.codec));
  w.u8(0);
  w.bytes(h.session.bytes());
  w.u64(h.sequence);
  w.u32(h.key_epoch);
  w.u32(h.plain_size);
  w.u32(h.sealed_size);
  w.u16(h.flags);
  w.u16(0);
  w.i64(h.first_ms);
  w.i64(h.last_ms);
  w.u64(0);
  w.u64(0);
}

std::int64_t microseconds_since(std::chrono::steady_clock::time_point& from) {
  auto now = std::chrono::steady_clock::now();
  auto us = std::chrono::duration_cast<std::chrono::microseconds>(now - from).count();
  from = now;
  return us;
}

// Appends a skippable frame to the `size` bytes in `frame`, so that `plain` stays within the expansion limit.
std::size_t pad(std::vector<std::uint8_t>& frame, std::size_t size, std::size_t plain) {
  std::size_t wanted = (plain + kMaxExpansion - 1) / kMaxExpansion;
  std::size_t filler = wanted > size + kSkippableHeader ? wanted - size - kSkippableHeader : 0;
  std::size_t padded = size + kSkippableHeader + filler;
  if (frame.size() < padded) frame.resize(padded);
  std::copy(kSkippableMagic.begin(), kSkippableMagic.end(), frame.begin() + static_cast<std::ptrdiff_t>(size));
  for (int i = 0; i < 4; ++i) frame[size + 4 + static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(filler >> (8 * i));
  std::fill_n(frame.begin() + static_cast<std::ptrdiff_t>(size + kSkippableHeader), filler, std::uint8_t{0});
  return padded;
}

}  // namespace

struct ChunkSealer::State {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  std::vector<std::uint8_t> scratch;  // the compressed stream; kept, so a steady recording allocates only its results
  ~State() {
    ZSTD_freeCCtx(context);
    crypto::wipe(scratch);
  }
};

ChunkSealer::ChunkSealer(int level) : state_(new State) {
  if (state_->context == nullptr || ZSTD_isError(ZSTD_CCtx_setParameter(state_->context, ZSTD_c_compressionLevel, level))) {
    delete state_;
    throw Error(ErrorKind::internal, "set up zstd for sealing chunks: out of memory or a level it does not have");
  }
}

ChunkSealer::~ChunkSealer() { delete state_; }

SealedChunk ChunkSealer::seal(const SegmentInfo& info, ByteView records, const crypto::Secret32& chunk_key, RandomSource& random) {
  if (records.size() > kMaxChunkBytes)
    throw Error(ErrorKind::too_large, fmt::format("seal chunk {} of session {}: {} bytes of records, at most {} are allowed", info.sequence,
                                                  info.session.text(), records.size(), kMaxChunkBytes));
  auto clock = std::chrono::steady_clock::now();
  SealedChunk out;
  ByteView body = records;
  ChunkCodec codec = ChunkCodec::none;
  if (!records.empty()) {
    auto& scratch = state_->scratch;
    if (std::size_t bound = ZSTD_compressBound(records.size()); scratch.size() < bound) scratch.resize(bound);
    std::size_t size = ZSTD_compress2(state_->context, scratch.data(), scratch.size(), records.data(), records.size());
    if (ZSTD_isError(size)) throw Error(ErrorKind::internal, fmt::format("compress chunk: {}", ZSTD_getErrorName(size)));
    if (size * 100 <= records.size() * 98) {
      if (expands_too_far(records.size(), size)) size = pad(scratch, size, records.size());
      body = ByteView(scratch).first(size);
      codec = ChunkCodec::zstd;
    }
  }
  out.times.compress_us = microseconds_since(clock);

  out.header = {codec,
                info.session,
                info.sequence,
                info.key_epoch,
                static_cast<std::uint32_t>(records.size()),
                static_cast<std::uint32_t>(body.size() + crypto::kTagSize),
                info.first_ms,
                info.last_ms,
                info.flags};
  const std::size_t total = stored_size(out.header);
  if (total > kMaxChunkBytes)
    throw Error(ErrorKind::too_large, fmt::format("seal chunk {} of session {}: {} bytes stored, at most {} are allowed", info.sequence,
                                                  info.session.text(), total, kMaxChunkBytes));
  out.stored.reserve(total);
  write_header(out.header, out.stored);
  out.stored.resize(total);
  crypto::Nonce nonce;
  random.fill(nonce);
  std::memcpy(out.stored.data() + kChunkHeaderSize, nonce.data(), nonce.size());
  std::span<std::uint8_t> stored(out.stored);
  crypto::seal(chunk_key, nonce, stored.first(kChunkHeaderSize), body, stored.subspan(kBodyOffset));
  out.times.encrypt_us = microseconds_since(clock);

  out.blake3 = crypto::blake3(out.stored);
  out.times.hash_us = microseconds_since(clock);
  return out;
}

Expected<ChunkHeader> parse_chunk_header(ByteView stored) {
  ByteReader in(stored);
  if (in.array<4>() != kMagic) return malformed("not a chunk: it does not start with LCHK");
  std::uint16_t version = in.u16();
  if (in.ok() && version != kChunkVersion) return malformed(fmt::format("chunk version {} is not known, only {}", version, kChunkVersion));
  ChunkHeader h;
  std::uint8_t codec = in.u8(), reserved1 = in.u8();
  h.session = Id(in.array<16>());
  h.sequence = in.u64();
  h.key_epoch = in.u32();
  h.plain_size = in.u32();
  h.sealed_size = in.u32();
  h.flags = in.u16();
  std::uint16_t reserved2 = in.u16();
  h.first_ms = in.i64();
  h.last_ms = in.i64();
  std::uint64_t reserved3 = in.u64() | in.u64();
  if (!in.ok()) return malformed(fmt::format("chunk header cut short at {} bytes", stored.size()));
  if (codec > static_cast<std::uint8_t>(ChunkCodec::zstd)) return malformed(fmt::format("chunk codec {} is not known", codec));
  h.codec = static_cast<ChunkCodec>(codec);
  if (reserved1 != 0 || reserved2 != 0 || reserved3 != 0) return malformed("reserved bytes of a chunk header are not zero");
  if (h.first_ms < 0 || h.last_ms < h.first_ms) return malformed("times of a chunk are negative or reversed");
  if (h.sealed_size < crypto::kTagSize || stored_size(h) > kMaxChunkBytes || h.plain_size > kMaxChunkBytes)
    return malformed(fmt::format("chunk sizes out of bounds: {} sealed, {} plain", h.sealed_size, h.plain_size));
  std::size_t compressed = h.sealed_size - crypto::kTagSize;
  if (h.codec == ChunkCodec::none && compressed != h.plain_size) return malformed("sizes of an uncompressed chunk disagree");
  if (h.codec == ChunkCodec::zstd && (compressed == 0 || expands_too_far(h.plain_size, compressed)))
    return malformed(fmt::format("chunk expands {} bytes to {}, more than {} times", compressed, h.plain_size, kMaxExpansion));
  return h;
}

Expected<Bytes> decrypt_chunk(ByteView stored, const crypto::Secret32& chunk_key) {
  auto header = parse_chunk_header(stored);
  if (!header) return std::unexpected(header.error());
  if (stored.size() != stored_size(*header))
    return malformed(fmt::format("chunk of {} bytes, its header says {}", stored.size(), stored_size(*header)));
  crypto::Nonce nonce;
  std::memcpy(nonce.data(), stored.data() + kChunkHeaderSize, nonce.size());
  Bytes compressed(header->sealed_size - crypto::kTagSize);
  if (!crypto::open(chunk_key, nonce, stored.first(kChunkHeaderSize), stored.subspan(kBodyOffset), compressed))
    return std::unexpected(Error(ErrorKind::corrupt, "chunk_altered",
                                 fmt::format("chunk {} of session {} does not open: it was altered, or the key is another chunk's",
                                             header->sequence, header->session.text())));
  return compressed;
}

Expected<Bytes> expand(ByteView compressed, ChunkCodec codec, std::size_t plain_size) {
  if (codec == ChunkCodec::none) {
    if (compressed.size() != plain_size) return malformed("sizes of an uncompressed stream disagree");
    return Bytes(compressed.begin(), compressed.end());
  }
  if (plain_size > kMaxChunkBytes || expands_too_far(plain_size, compressed.size()))
    return malformed(fmt::format("{} compressed bytes may not expand to {}", compressed.size(), plain_size));
  if (ZSTD_getFrameContentSize(compressed.data(), compressed.size()) != plain_size)
    return malformed("the zstd frame does not carry the content size of the header");
  // One decoder a thread: its tables are 160 KiB, too much to allocate for each chunk.
  thread_local std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> decoder(ZSTD_createDCtx(), &ZSTD_freeDCtx);
  Bytes plain(plain_size);
  std::size_t size = ZSTD_decompressDCtx(decoder.get(), plain.data(), plain.size(), compressed.data(), compressed.size());
  if (ZSTD_isError(size)) return malformed(fmt::format("expand chunk: {}", ZSTD_getErrorName(size)));
  if (size != plain_size) return malformed("the zstd frame gives another size than the header says");
  return plain;
}

Expected<Bytes> open_chunk(ByteView stored, const crypto::Secret32& chunk_key) {
  auto compressed = decrypt_chunk(stored, chunk_key);
  if (!compressed) return compressed;
  auto header = parse_chunk_header(stored);
  if (header->codec == ChunkCodec::none) return compressed;
  return expand(*compressed, header->codec, header->plain_size);
}

Bytes encode_leaf(const Leaf& leaf) {
  Bytes out;
  out.reserve(84);
  ByteWriter w(out);
  w.bytes(as_bytes("LLEF"));
  w.u16(1);
  w.u16(leaf.flags);
  w.u32(leaf.stored_size);
  w.bytes(leaf.session.bytes());
  w.u64(leaf.sequence);
  w.i64(leaf.first_ms);
  w.i64(leaf.last_ms);
  w.bytes(leaf.blake3);
  return out;
}

Leaf leaf_of(const ChunkHeader& header, const Hash32& blake3) {
  return {header.session,  header.sequence, blake3,      static_cast<std::uint32_t>(stored_size(header)),
          header.first_ms, header.last_ms,  header.flags};
}

}  // namespace lucid::recording
