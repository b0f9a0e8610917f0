// Where the parts of a bundle lie, and reading them through a window: shared by the bundle's writer, walker and
// verifier. Layout: docs/formats/bundle.md. Every size is checked against the file before anything is allocated.
// Owned by one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"

namespace lucid::recording {

using ReadAt = std::function<std::size_t(std::uint64_t offset, std::span<std::uint8_t> out)>;

inline constexpr std::size_t kBundleHeaderSize = 24;
inline constexpr std::size_t kBundleTrailerSize = 64;
inline constexpr std::size_t kBundleDigestOffset = 32;  // in the trailer
inline constexpr std::size_t kMaxNoteBytes = 64 << 10;

struct BundleHeader {
  std::uint32_t manifest_size = 0;
  std::uint64_t chunk_count = 0;
};
struct BundleTrailer {
  std::uint32_t checkpoint_size = 0, manifest_note_size = 0;
  std::uint64_t leaf_count = 0, file_size = 0;
  Hash32 digest{};
};
void append(Bytes& out, const BundleHeader& header);
void append(Bytes& out, const BundleTrailer& trailer);

// Reads a file front to back in large pieces. Views are valid until the next call.
class BundleInput {
 public:
  BundleInput(std::uint64_t size, const ReadAt& read) : size_(size), read_(read) {}
  std::uint64_t size() const { return size_; }
  // Exactly `n` bytes at `offset`, or an empty view when the file does not have them.
  ByteView fetch(std::uint64_t offset, std::size_t n);
  // Calls `use` with the bytes of [begin, end) piece by piece; false when the file does not have them.
  bool each(std::uint64_t begin, std::uint64_t end, const std::function<void(ByteView)>& use);

 private:
  std::uint64_t size_;
  const ReadAt& read_;
  Bytes window_;
  std::uint64_t at_ = 0;
  std::size_t held_ = 0;
};

Expected<BundleHeader> read_header(BundleInput& in);
// Errors: malformed when the file does not end with a trailer that fits it.
Expected<BundleTrailer> read_trailer(BundleInput& in, const BundleHeader& header);

// Offsets of the parts; each ends where the next begins.
struct BundleLayout {
  BundleLayout(const BundleHeader& header, const BundleTrailer& trailer);
  std::uint64_t manifest, chunks, leaves, checkpoint, manifest_note, trailer;
};

// The text of a part that starts with its u32 length and lies in [begin, end); malformed when the length disagrees.
Expected<std::string> read_note(BundleInput& in, std::uint64_t begin, std::uint64_t end);
// The length that stands before a chunk at `offset`, when the chunk fits before `end`; 0 when it does not.
std::size_t chunk_length_at(BundleInput& in, std::uint64_t offset, std::uint64_t end);

// Why a bundle without a usable trailer has none, found by walking it from the front.
struct BrokenEnd {
  bool truncated = false;        // the file ends before its parts do
  std::uint64_t first_byte = 0;  // of the part that is cut or wrong
  std::string detail;
};
BrokenEnd explain_end(BundleInput& in, const BundleHeader& header);

}  // namespace lucid::recording
