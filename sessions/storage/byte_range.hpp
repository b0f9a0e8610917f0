// The Range header of RFC 9110 section 14.2, one range of bytes. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lucid::storage {

struct ByteRange {
  enum class Kind { whole, part, unsatisfiable } kind = Kind::whole;
  std::uint64_t from = 0, size = 0;          // of a part; never empty
};

// Several ranges, other units and what does not parse mean the whole, as the RFC asks.
ByteRange parse_range(std::optional<std::string_view> header, std::uint64_t total);

}  // namespace lucid::storage
