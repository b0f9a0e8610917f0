// What `GET /api/v1/sessions` may ask for: filters, page size, and the opaque cursor that names where the next page
// begins. Pure; any thread. Bad values are Error{invalid}, a cursor not given out by us Error{malformed}.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "lib/base/id.hpp"
#include "sessions/api/session.hpp"

namespace lucid::api {

struct ListQuery {
  std::size_t limit = 50;   // 1–100
  std::optional<Id> after;  // the last session of the page before; newest come first
  std::optional<Status> status;
  std::optional<std::string> owner, tag;       // exact
  std::optional<std::string> text;             // part of name, project or description; ASCII case ignored
  std::optional<std::int64_t> from_ms, to_ms;  // creation time, from inclusive, to exclusive
};

ListQuery read_list_query(const std::map<std::string, std::string>& query);
// True when `session` is one the query asks for. Deleted ones are listed only when asked for by status.
bool matches(const ListQuery& query, const Session& session);

std::string encode_cursor(const Id& last);
Id decode_cursor(std::string_view cursor);

}  // namespace lucid::api
