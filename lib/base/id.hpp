// Identifiers: UUID version 7 (RFC 9562), time-ordered, 16 bytes. Every id from outside passes through parse() before
// it meets a path or a query; the text form is always the 36-character lower-case one. Value type; any thread.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.hpp"
#include "lib/base/random.hpp"

namespace lucid {

class Id {
 public:
  Id() = default;  // the nil id; never given out by make()
  explicit Id(const std::array<std::uint8_t, 16>& bytes) : bytes_(bytes) {}
  static Id make(const Clock& clock, RandomSource& random);
  // Exactly 8-4-4-4-12 hex digits (either case); anything else is nullopt.
  static std::optional<Id> parse(std::string_view text);

  std::string text() const;
  const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }
  bool is_nil() const { return bytes_ == std::array<std::uint8_t, 16>{}; }
  auto operator<=>(const Id&) const = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
};

}  // namespace lucid

template <>
struct std::hash<lucid::Id> {
  std::size_t operator()(const lucid::Id& id) const noexcept;
};
