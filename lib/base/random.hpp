// Randomness as a parameter, so that sealed bytes can be tested byte for byte. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <span>

namespace lucid {

class RandomSource {
 public:
  virtual ~RandomSource() = default;
  virtual void fill(std::span<std::uint8_t> out) = 0;
  template <std::size_t N>
  std::array<std::uint8_t, N> array() {
    std::array<std::uint8_t, N> a{};
    fill(a);
    return a;
  }
};

// getrandom(2); throws Error{internal} if the kernel has none to give.
class SystemRandom final : public RandomSource {
 public:
  void fill(std::span<std::uint8_t> out) override;
};

// A reproducible stream (SplitMix64) for tests and golden files. Not for keys.
class SeededRandom final : public RandomSource {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  void fill(std::span<std::uint8_t> out) override;

 private:
  std::mutex mutex_;
  std::uint64_t state_;
};

}  // namespace lucid
