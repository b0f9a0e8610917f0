// For tests of Packs: a toy chunk ("LTC!", u32 length, then bytes made from a number) and short builders.
#pragma once

#include "lib/store/packs.hpp"

namespace lucid::store::test {

inline Bytes chunk_of(std::uint32_t number, std::uint32_t length) {
  Bytes chunk{'L', 'T', 'C', '!'};
  ByteWriter(chunk).u32(length);
  while (chunk.size() < length) chunk.push_back(static_cast<std::uint8_t>(number * 31 + chunk.size()));
  return chunk;
}

inline std::optional<std::uint32_t> chunk_length(ByteView header) {
  ByteReader in(header);
  if (as_text(in.bytes(4)) != "LTC!") return std::nullopt;
  std::uint32_t length = in.u32();
  if (!in.ok() || length > (1u << 20)) return std::nullopt;
  return length;
}

inline std::unique_ptr<Packs> make_packs(const std::string& directory, FileOps& files, std::uint64_t pack_size) {
  return std::make_unique<Packs>(directory, files, chunk_length, 8, pack_size);
}

inline Id session_id(std::uint8_t n) {
  std::array<std::uint8_t, 16> bytes{};
  bytes[0] = 1;
  bytes[15] = n;
  return Id(bytes);
}

}  // namespace lucid::store::test
