#include "lib/net/byte_range.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace lucid::net {
namespace {

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t n = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (ec == std::errc::result_out_of_range && end == text.data() + text.size()) return UINT64_MAX;  // beyond any body
  if (text.empty() || ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return n;
}

}  // namespace

std::variant<WholeBody, ByteRange, Unsatisfiable> parse_range(std::optional<std::string_view> header, std::uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  if (!header || !header->starts_with(kUnit)) return WholeBody{};
  std::string_view spec = header->substr(kUnit.size());
  std::size_t dash = spec.find('-');
  if (dash == std::string_view::npos || spec.find(',') != std::string_view::npos) return WholeBody{};
  std::string_view from = spec.substr(0, dash), to = spec.substr(dash + 1);
  if (from.empty()) {
    auto suffix = number(to);
    if (!suffix) return WholeBody{};
    if (*suffix == 0 || size == 0) return Unsatisfiable{};
    return ByteRange{size - std::min(*suffix, size), size - 1};
  }
  auto first = number(from);
  auto last = to.empty() ? std::optional<std::uint64_t>(UINT64_MAX) : number(to);
  if (!first || !last || *last < *first) return WholeBody{};
  if (*first >= size) return Unsatisfiable{};
  return ByteRange{*first, std::min(*last, size - 1)};
}

Response serve_bytes(const Request& request, Bytes body, const std::string& content_type, const std::string& etag) {
  Response response;
  auto known = request.headers.get("If-None-Match");
  if (known && (*known == etag || *known == "*")) {
    response.status = 304;
    response.headers.set("ETag", etag);
    return response;
  }
  std::uint64_t size = body.size();
  auto only_if = request.headers.get("If-Range");
  auto range = parse_range(only_if && *only_if != etag ? std::nullopt : request.headers.get("Range"), size);
  if (std::holds_alternative<Unsatisfiable>(range)) {
    response = problem(
        Error(ErrorKind::invalid, "range_not_satisfiable", fmt::format("the body has {} bytes; the range asked for lies beyond", size)),
        request.request_id);
    response.status = 416;
    response.headers.set("Content-Range", fmt::format("bytes */{}", size));
    return response;
  }
  if (const auto* part = std::get_if<ByteRange>(&range)) {
    auto begin = body.begin() + static_cast<std::ptrdiff_t>(part->first);
    response = Response::bytes(Bytes(begin, begin + static_cast<std::ptrdiff_t>(part->last - part->first + 1)), content_type);
    response.status = 206;
    response.headers.set("Content-Range", fmt::format("bytes {}-{}/{}", part->first, part->last, size));
  } else {
    response = Response::bytes(std::move(body), content_type);
  }
  response.headers.set("Accept-Ranges", "bytes");
  response.headers.set("ETag", etag);
  return response;
}

}  // namespace lucid::net
