// 32 secret bytes. Wiped on destruction, kept out of core dumps, never copied by accident, never printable.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "lib/base/bytes.hpp"
#include "lib/base/random.hpp"

namespace lucid::crypto {

class Secret32 {
 public:
  Secret32();  // all zero
  explicit Secret32(std::span<const std::uint8_t, 32> bytes);
  static Secret32 random(RandomSource& random);
  Secret32(Secret32&& other) noexcept;  // leaves `other` wiped
  Secret32& operator=(Secret32&& other) noexcept;
  Secret32(const Secret32&) = delete;
  Secret32& operator=(const Secret32&) = delete;
  ~Secret32();

  Secret32 clone() const;
  void wipe();
  std::span<const std::uint8_t, 32> bytes() const;
  std::span<std::uint8_t, 32> writable();
  bool equals(const Secret32& other) const;  // constant time

 private:
  std::uint8_t* bytes_;  // sodium_malloc'ed or equivalent (MADV_DONTDUMP)
};

bool equal_constant_time(ByteView a, ByteView b);
void wipe(std::span<std::uint8_t> bytes);

}  // namespace lucid::crypto
