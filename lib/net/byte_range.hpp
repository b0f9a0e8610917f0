// The Range header of RFC 9110 section 14, one range of bytes. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "lib/net/http.hpp"

namespace lucid::net {

struct ByteRange {
  std::uint64_t first = 0, last = 0;
};  // inclusive, within the body
struct WholeBody {};      // no range, several, or one that is not understood: 200
struct Unsatisfiable {};  // 416
std::variant<WholeBody, ByteRange, Unsatisfiable> parse_range(std::optional<std::string_view> header, std::uint64_t size);

// `body` as the request's Range and If-None-Match ask for it: 200, 206, 304 or 416. `etag` with its quotes.
Response serve_bytes(const Request& request, Bytes body, const std::string& content_type, const std::string& etag);

}  // namespace lucid::net
