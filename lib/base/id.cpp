#include "lib/base/id.hpp"

#include <cstring>

#include "lib/base/bytes.hpp"

namespace lucid {

Id Id::make(const Clock& clock, RandomSource& random) {
  std::array<std::uint8_t, 16> b{};
  random.fill(b);
  auto ms = static_cast<std::uint64_t>(clock.wall_ms());
  for (int i = 0; i < 6; ++i) b[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(ms >> (40 - 8 * i));
  b[6] = static_cast<std::uint8_t>(0x70 | (b[6] & 0x0f));
  b[8] = static_cast<std::uint8_t>(0x80 | (b[8] & 0x3f));
  return Id(b);
}

std::optional<Id> Id::parse(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  std::string hex;
  for (std::size_t i = 0; i < text.size(); ++i) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash != (text[i] == '-')) return std::nullopt;
    if (!dash) hex += text[i];
  }
  auto bytes = from_hex(hex);
  if (!bytes) return std::nullopt;
  std::array<std::uint8_t, 16> b{};
  std::memcpy(b.data(), bytes->data(), 16);
  return Id(b);
}

std::string Id::text() const {
  std::string hex = to_hex(bytes_);
  for (std::size_t at : {8u, 13u, 18u, 23u}) hex.insert(at, 1, '-');
  return hex;
}

}  // namespace lucid

std::size_t std::hash<lucid::Id>::operator()(const lucid::Id& id) const noexcept {
  std::size_t h;  // the last eight bytes of a UUIDv7 are random
  std::memcpy(&h, id.bytes().data() + 8, sizeof h);
  return h;
}
