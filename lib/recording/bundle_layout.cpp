#include "lib/recording/bundle_layout.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "lib/crypto/aead.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/recording/malformed.hpp"
#include "lib/recording/manifest.hpp"

namespace lucid::recording {
namespace {

constexpr std::array<std::uint8_t, 4> kHeaderMagic{'L', 'B', 'D', 'L'};
constexpr std::array<std::uint8_t, 4> kTrailerMagic{'L', 'E', 'N', 'D'};
constexpr std::uint16_t kBundleVersion = 1;
constexpr std::size_t kWindow = 2 << 20;
constexpr std::size_t kMinChunkBytes = kChunkHeaderSize + crypto::kNonceSize + crypto::kTagSize;

}  // namespace

void append(Bytes& out, const BundleHeader& header) {
  ByteWriter w(out);
  w.bytes(kHeaderMagic);
  w.u16(kBundleVersion);
  w.u16(0);
  w.u32(header.manifest_size);
  w.u32(0);
  w.u64(header.chunk_count);
}

void append(Bytes& out, const BundleTrailer& trailer) {
  ByteWriter w(out);
  w.bytes(kTrailerMagic);
  w.u32(0);
  w.u32(trailer.checkpoint_size);
  w.u32(trailer.manifest_note_size);
  w.u64(trailer.leaf_count);
  w.u64(trailer.file_size);
  w.bytes(trailer.digest);
}

ByteView BundleInput::fetch(std::uint64_t offset, std::size_t n) {
  if (offset > size_ || n > size_ - offset) return {};
  if (offset >= at_ && offset - at_ <= held_ && n <= held_ - (offset - at_)) return ByteView(window_).subspan(offset - at_, n);
  // Keep what the window already has of the wanted bytes, read the rest.
  std::size_t keep = 0;
  if (offset >= at_ && offset - at_ < held_) {
    keep = held_ - (offset - at_);
    std::memmove(window_.data(), window_.data() + (offset - at_), keep);
  }
  std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(std::max(n, kWindow), size_ - offset));
  if (window_.size() < want) window_.resize(want);
  at_ = offset;
  held_ = keep;
  while (held_ < n) {
    std::size_t got = read_(offset + held_, std::span(window_).subspan(held_, want - held_));
    if (got == 0 || got > want - held_) return {};
    held_ += got;
  }
  return ByteView(window_).first(n);
}

bool BundleInput::each(std::uint64_t begin, std::uint64_t end, const std::function<void(ByteView)>& use) {
  while (begin < end) {
    std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(end - begin, kWindow));
    ByteView piece = fetch(begin, n);
    if (piece.size() != n) return false;
    use(piece);
    begin += n;
  }
  return true;
}

Expected<BundleHeader> read_header(BundleInput& in) {
  ByteReader r(in.fetch(0, kBundleHeaderSize));
  if (r.array<4>() != kHeaderMagic) return malformed("not a bundle: it does not start with LBDL");
  if (std::uint16_t version = r.u16(); version != kBundleVersion)
    return malformed(fmt::format("bundle version {} is not known, only {}", version, kBundleVersion));
  std::uint16_t reserved1 = r.u16();
  BundleHeader header;
  header.manifest_size = r.u32();
  std::uint32_t reserved2 = r.u32();
  header.chunk_count = r.u64();
  if (!r.ok() || reserved1 != 0 || reserved2 != 0) return malformed("reserved bytes of the bundle header are not zero");
  if (header.manifest_size > kMaxManifestBytes) return malformed(fmt::format("a manifest of {} bytes is too large", header.manifest_size));
  return header;
}

Expected<BundleTrailer> read_trailer(BundleInput& in, const BundleHeader& header) {
  if (in.size() < kBundleHeaderSize + kBundleTrailerSize) return malformed("too short for a trailer");
  ByteReader r(in.fetch(in.size() - kBundleTrailerSize, kBundleTrailerSize));
  if (r.array<4>() != kTrailerMagic || r.u32() != 0) return malformed("it does not end with a bundle trailer");
  BundleTrailer t;
  t.checkpoint_size = r.u32();
  t.manifest_note_size = r.u32();
  t.leaf_count = r.u64();
  t.file_size = r.u64();
  t.digest = r.array<32>();
  if (!r.ok() || t.file_size != in.size())
    return malformed(fmt::format("the trailer says {} bytes, the file has {}", t.file_size, in.size()));
  if (t.checkpoint_size > kMaxNoteBytes || t.manifest_note_size > kMaxNoteBytes) return malformed("a note is too long");
  std::uint64_t fixed = kBundleHeaderSize + header.manifest_size + 8ull + t.checkpoint_size + t.manifest_note_size + kBundleTrailerSize;
  if (fixed > in.size() || t.leaf_count > (in.size() - fixed) / 32) return malformed("the parts are larger than the file");
  return t;
}

BundleLayout::BundleLayout(const BundleHeader& h, const BundleTrailer& t)
    : manifest(kBundleHeaderSize),
      chunks(manifest + h.manifest_size),
      leaves(t.file_size - kBundleTrailerSize - 8 - t.manifest_note_size - t.checkpoint_size - 32 * t.leaf_count),
      checkpoint(leaves + 32 * t.leaf_count),
      manifest_note(checkpoint + 4 + t.checkpoint_size),
      trailer(manifest_note + 4 + t.manifest_note_size) {}

Expected<std::string> read_note(BundleInput& in, std::uint64_t begin, std::uint64_t end) {
  ByteReader length(in.fetch(begin, 4));
  if (length.u32() != end - begin - 4 || !length.ok()) return malformed("the length before a note disagrees with the trailer");
  ByteView text = in.fetch(begin + 4, static_cast<std::size_t>(end - begin - 4));
  return std::string(as_text(text));
}

std::size_t chunk_length_at(BundleInput& in, std::uint64_t offset, std::uint64_t end) {
  if (offset > end || end - offset < 4 + kMinChunkBytes) return 0;
  std::size_t length = ByteReader(in.fetch(offset, 4)).u32();
  return length >= kMinChunkBytes && length <= kMaxChunkBytes && length <= end - offset - 4 ? length : 0;
}

BrokenEnd explain_end(BundleInput& in, const BundleHeader& header) {
  const std::uint64_t size = in.size();
  auto cut = [&](std::uint64_t at, std::string what) {
    return BrokenEnd{true, std::min(at, size - 1), "the file is cut short in " + what};
  };
  std::uint64_t at = kBundleHeaderSize + header.manifest_size;
  if (at > size) return cut(kBundleHeaderSize, "its manifest");
  for (std::uint64_t i = 0; i < header.chunk_count; ++i) {
    ByteView prefix = in.fetch(at, 4);
    if (prefix.empty()) return cut(at, fmt::format("chunk {}", i));
    std::uint64_t length = ByteReader(prefix).u32();
    if (length < kMinChunkBytes || length > kMaxChunkBytes) return {false, at, fmt::format("the length before chunk {} is impossible", i)};
    if (length > size - at - 4) return cut(at, fmt::format("chunk {}", i));
    at += 4 + length;
  }
  if (header.chunk_count > (size - at) / 32) return cut(at, "its leaves");
  at += 32 * header.chunk_count;
  for (const char* what : {"its checkpoint", "its manifest note"}) {
    ByteView prefix = in.fetch(at, 4);
    if (prefix.empty()) return cut(at, what);
    std::uint64_t length = ByteReader(prefix).u32();
    if (length > kMaxNoteBytes) return {false, at, fmt::format("the length of {} is impossible", what)};
    if (length > size - at - 4) return cut(at, what);
    at += 4 + length;
  }
  if (size - at < kBundleTrailerSize) return cut(at, "its trailer");
  if (size - at > kBundleTrailerSize) return {false, at + kBundleTrailerSize, "bytes were added after the end"};
  return {false, at, "the trailer does not fit the file"};
}

}  // namespace lucid::recording
