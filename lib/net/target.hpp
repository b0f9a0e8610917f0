// The request target (RFC 9112 section 3.2, RFC 3986) taken apart strictly: what is ambiguous is refused, never repaired, so a path can
// not mean one thing here and another to whoever checked it before. Internal to lib/net; pure, any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.hpp"

namespace lucid::net {

inline constexpr std::size_t kMaxTarget = 8 << 10;

struct Target {
  std::string path;                          // decoded
  std::map<std::string, std::string> query;  // decoded, '+' is a space; the last of a repeated name
};

// nullopt for a '%' without two hex digits.
enum class Plus { literal, space };
std::optional<std::string> percent_decode(std::string_view text, Plus plus = Plus::literal);

// Origin form, or absolute form of http. Refused with `malformed`: bad escapes, control characters, malformed UTF-8, "." and ".."
// segments (plain or escaped), an escaped '/', a fragment.
Expected<Target> parse_target(std::string_view target);

}  // namespace lucid::net
