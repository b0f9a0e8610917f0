#include "sessions/api/listing.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "lib/base/bytes.hpp"
#include "lib/base/clock.hpp"

namespace lucid::api {
namespace {

constexpr std::uint8_t kCursorVersion = 1;
constexpr std::size_t kMaxText = 255;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool contains(std::string_view text, std::string_view part) {
  return std::search(text.begin(), text.end(), part.begin(), part.end(), [](char a, char b) { return lower(a) == lower(b); }) != text.end();
}

class Query {
 public:
  explicit Query(const std::map<std::string, std::string>& query) : query_(query) {}
  std::optional<std::string> text(const std::string& key) {
    auto it = query_.find(key);
    if (it == query_.end()) return std::nullopt;
    if (it->second.empty() || it->second.size() > kMaxText || !is_utf8(it->second)) {
      refuse(key, fmt::format("must be 1 to {} bytes of UTF-8", kMaxText));
      return std::nullopt;
    }
    return it->second;
  }
  std::optional<std::int64_t> time(const std::string& key) {
    auto value = text(key);
    if (!value) return std::nullopt;
    auto ms = from_rfc3339(*value);
    if (!ms) refuse(key, "must be an RFC 3339 time such as 2026-01-31T08:00:00.000Z");
    return ms;
  }
  std::size_t limit() {
    auto value = text("limit");
    if (!value) return 50;
    std::size_t n = 0;
    auto [end, ec] = std::from_chars(value->data(), value->data() + value->size(), n);
    if (ec != std::errc{} || end != value->data() + value->size() || n < 1 || n > 100) refuse("limit", "must be 1 to 100");
    return n;
  }
  void refuse(const std::string& key, std::string reason) { errors_.push_back({"/" + key, std::move(reason)}); }
  void finish() {
    for (const auto& [key, value] : query_)
      if (std::find(kKnown.begin(), kKnown.end(), key) == kKnown.end()) refuse(to_utf8(key, 100), "is not a known filter");
    if (errors_.empty()) return;
    throw Error(ErrorKind::invalid, fmt::format("query parameter {} {}", errors_.front().pointer.substr(1), errors_.front().reason))
        .with_fields(errors_);
  }

 private:
  static constexpr std::array<std::string_view, 8> kKnown{"limit", "cursor", "status", "owner", "tag", "q", "from", "to"};
  const std::map<std::string, std::string>& query_;
  std::vector<FieldError> errors_;
};

}  // namespace

ListQuery read_list_query(const std::map<std::string, std::string>& query) {
  Query in(query);
  ListQuery q;
  q.limit = in.limit();
  if (auto cursor = in.text("cursor")) q.after = decode_cursor(*cursor);
  if (auto status = in.text("status")) {
    q.status = status_named(*status);
    if (!q.status) in.refuse("status", "must be a session status, e.g. recording, completed");
  }
  q.owner = in.text("owner");
  q.tag = in.text("tag");
  q.text = in.text("q");
  q.from_ms = in.time("from");
  q.to_ms = in.time("to");
  in.finish();
  return q;
}

bool matches(const ListQuery& q, const Session& s) {
  if (q.status ? s.status != *q.status : s.status == Status::deleted) return false;
  if (q.owner && s.metadata.owner != *q.owner) return false;
  if (q.tag && std::find(s.metadata.tags.begin(), s.metadata.tags.end(), *q.tag) == s.metadata.tags.end()) return false;
  if (q.from_ms && s.created_wall_ms < *q.from_ms) return false;
  if (q.to_ms && s.created_wall_ms >= *q.to_ms) return false;
  return !q.text || contains(s.name, *q.text) || contains(s.metadata.project, *q.text) || contains(s.metadata.description, *q.text);
}

std::string encode_cursor(const Id& last) {
  Bytes raw{kCursorVersion};
  raw.insert(raw.end(), last.bytes().begin(), last.bytes().end());
  return to_base64url(raw);
}

Id decode_cursor(std::string_view cursor) {
  auto raw = from_base64url(cursor);
  if (!raw || raw->size() != 17 || raw->front() != kCursorVersion)
    throw Error(ErrorKind::malformed, "invalid_cursor", "the cursor is not one this server gave out; start again without it");
  std::array<std::uint8_t, 16> id{};
  std::copy(raw->begin() + 1, raw->end(), id.begin());
  return Id(id);
}

}  // namespace lucid::api
