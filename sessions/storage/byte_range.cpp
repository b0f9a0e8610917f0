#include "sessions/storage/byte_range.hpp"

#include <algorithm>
#include <charconv>

namespace lucid::storage {

namespace {

bool read_number(std::string_view text, std::uint64_t& number) {
  if (text.empty()) return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range && end == text.data() + text.size()) {
    number = UINT64_MAX;                     // larger than any body: as good as its end
    return true;
  }
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

ByteRange parse_range(std::optional<std::string_view> header, std::uint64_t total) {
  constexpr std::string_view kUnit = "bytes=";
  if (!header || !header->starts_with(kUnit)) return {};
  std::string_view range = header->substr(kUnit.size());
  std::size_t dash = range.find('-');
  if (dash == std::string_view::npos) return {};
  std::string_view first_text = range.substr(0, dash), last_text = range.substr(dash + 1);
  std::uint64_t first = 0, last = UINT64_MAX;
  if (first_text.empty()) {
    std::uint64_t count = 0;
    if (!read_number(last_text, count)) return {};
    if (count == 0 || total == 0) return {ByteRange::Kind::unsatisfiable, 0, 0};
    count = std::min(count, total);
    return {ByteRange::Kind::part, total - count, count};
  }
  if (!read_number(first_text, first)) return {};
  if (!last_text.empty() && !read_number(last_text, last)) return {};
  if (last < first) return {};
  if (first >= total) return {ByteRange::Kind::unsatisfiable, 0, 0};
  return {ByteRange::Kind::part, first, std::min(last, total - 1) - first + 1};
}

}  // namespace lucid::storage
