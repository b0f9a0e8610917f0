// Bytes as a chunk: header, decryption, and the compressed part as a zstd frame of a claimed size.
#include <array>

#include "lib/recording/chunk.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lucid;
  using namespace lucid::recording;
  static const crypto::Secret32 key = [] {
    std::array<std::uint8_t, 32> bytes;
    bytes.fill(0x42);  // of the golden files
    return crypto::Secret32(bytes);
  }();
  const ByteView bytes(data, size);
  auto header = parse_chunk_header(bytes);
  if (header) encode_leaf(leaf_of(*header, {}));
  static_cast<void>(open_chunk(bytes, key));
  if (size >= 4) {
    std::size_t plain = data[0] | data[1] << 8 | data[2] << 16;
    auto expanded = expand(bytes.subspan(4), data[3] % 2 == 0 ? ChunkCodec::zstd : ChunkCodec::none, plain);
    if (expanded && expanded->size() != plain) __builtin_trap();
  }
  return 0;
}
