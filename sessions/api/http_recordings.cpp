// Routes that read back what was recorded: chunks, content, keyframe index, events.
#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "lib/net/byte_range.hpp"
#include "sessions/api/http.hpp"

namespace lucid::api {
namespace {

constexpr std::size_t kMaxRows = 10'000;
constexpr std::uint64_t kMaxEvents = 10'000;
constexpr std::size_t kMaxEventBytes = 8 << 20;  // of one JSON answer; NDJSON has no bound
constexpr std::int64_t kFarMs = INT64_MAX / 2;

// A row as clients see it: where storage keeps it is storage's own.
json::object shown(const contracts::ChunkRow& row) {
  json::object o = contracts::to_json(row).as_object();
  o.erase("pack");
  o.erase("offset");
  return o;
}

Id recorded(Api& api, const net::Request& request) { return api.sessions.stored(session_id(request)).id; }

net::Response chunks(Api& api, net::Request& r) {
  Id id = recorded(api, r);
  auto from = static_cast<std::uint64_t>(r.query_integer_or("from", 0, 0, INT64_MAX));
  auto limit = static_cast<std::size_t>(r.query_integer_or("limit", 1000, 1, kMaxRows));
  json::array list;
  for (const contracts::ChunkRow& row : api.recordings.rows(id, from, limit)) list.push_back(shown(row));
  return net::Response::json(200, json::object{{"chunks", std::move(list)}});
}

net::Response chunk(Api& api, net::Request& r) {
  Id id = recorded(api, r);
  std::uint64_t sequence = sequence_number(r);
  auto row = api.recordings.row(id, sequence);
  if (!row) throw Error(ErrorKind::not_found, "chunk_not_found", fmt::format("session {} has no chunk {}", id.text(), sequence));
  return net::serve_bytes(r, api.recordings.stored(id, sequence), "application/octet-stream", "\"" + to_hex(row->blake3) + "\"");
}

bool takes_zstd(const net::Request& r) {
  auto accepted = r.headers.get("Accept-Encoding");
  return !accepted || accepted->find("zstd") != std::string_view::npos || accepted->find('*') != std::string_view::npos;
}

net::Response content(Api& api, net::Request& r) {
  Recordings::Content content = api.recordings.content(recorded(api, r), sequence_number(r));
  const recording::ChunkHeader& h = content.header;
  bool compressed = h.codec == recording::ChunkCodec::zstd;
  if (compressed && !takes_zstd(r)) {
    auto plain = recording::expand(content.bytes, h.codec, h.plain_size);
    if (!plain) throw plain.error();
    content.bytes = std::move(*plain);
    compressed = false;
  }
  net::Response response = net::Response::bytes(std::move(content.bytes), "application/vnd.lucid.records");
  if (compressed) response.headers.set("Content-Encoding", "zstd");
  response.headers.set("Vary", "Accept-Encoding");
  response.headers.set("Cache-Control", "private, no-store");
  response.headers.set("X-Lucid-Plain-Size", std::to_string(h.plain_size));
  response.headers.set("X-Lucid-First-Ms", std::to_string(h.first_ms));
  response.headers.set("X-Lucid-Last-Ms", std::to_string(h.last_ms));
  response.headers.set("X-Lucid-Flags", std::to_string(h.flags));
  return response;
}

EventQuery event_query(const net::Request& r, bool lines) {
  EventQuery q;
  q.from_ms = r.query_integer_or("from", -kFarMs, -kFarMs, kFarMs);
  q.to_ms = r.query_integer_or("to", kFarMs, -kFarMs, kFarMs);
  q.limit = static_cast<std::uint64_t>(lines ? r.query_integer_or("limit", INT64_MAX, 1, INT64_MAX)
                                             : r.query_integer_or("limit", 1000, 1, kMaxEvents));
  std::string text = r.query_text("kinds").value_or("");
  for (std::size_t at = 0; at < text.size();) {
    std::size_t comma = std::min(text.find(',', at), text.size());
    std::string kind = text.substr(at, comma - at);
    const auto& known = event_kinds();
    if (std::find(known.begin(), known.end(), kind) == known.end()) {
      std::string reason = fmt::format("must be of {}", fmt::join(known, ", "));
      throw Error(ErrorKind::invalid, "query parameter kinds " + reason).with_fields({{"/kinds", reason}});
    }
    q.kinds.push_back(std::move(kind));
    at = comma + 1;
  }
  return q;
}

net::Response event_lines(Api& api, const Id& id, EventQuery query) {
  struct Lines {
    EventWalk walk;
    std::optional<std::string> line;
    std::size_t given = 0;
    void step() {
      line = walk.next();
      given = 0;
      if (line) line->push_back('\n');
    }
  };
  auto lines = std::make_shared<Lines>(Lines{EventWalk(api.recordings, id, std::move(query)), {}, 0});
  lines->step();  // what is wrong with the recording shows here, as a problem
  net::Response response;
  response.headers.set("Content-Type", "application/x-ndjson");
  response.headers.set("Cache-Control", "private, no-store");
  response.stream = [lines](std::span<std::uint8_t> out) {
    std::size_t filled = 0;
    while (filled < out.size() && lines->line) {
      std::size_t n = std::min(out.size() - filled, lines->line->size() - lines->given);
      std::memcpy(out.data() + filled, lines->line->data() + lines->given, n);
      filled += n;
      lines->given += n;
      if (lines->given == lines->line->size()) lines->step();
    }
    return filled;
  };
  return response;
}

net::Response events(Api& api, net::Request& r) {
  Id id = recorded(api, r);
  bool lines = r.headers.get("Accept").value_or("").find("application/x-ndjson") != std::string_view::npos;
  EventQuery query = event_query(r, lines);
  if (lines) return event_lines(api, id, std::move(query));
  EventWalk walk(api.recordings, id, std::move(query));
  std::string body = R"({"events":[)";
  bool more = false;
  for (std::optional<std::string> event; (event = walk.next());) {
    if (body.size() + event->size() > kMaxEventBytes) {
      more = true;
      break;
    }
    if (body.back() != '[') body.push_back(',');
    body += *event;
  }
  body += more || walk.cut_short() ? R"(],"more":true})" : R"(],"more":false})";
  net::Response response = net::Response::json_text(200, std::move(body));
  response.headers.set("Cache-Control", "private, no-store");
  return response;
}

}  // namespace

void add_recording_routes(net::Router& router, Api& api) {
  using net::Method;
  const std::string one = "/api/v1/sessions/{id}";
  router.add(Method::get, one + "/chunks", [&api](net::Request& r) { return chunks(api, r); });
  router.add(Method::get, one + "/chunks/{seq}", [&api](net::Request& r) { return chunk(api, r); });
  router.add(Method::get, one + "/chunks/{seq}/content", [&api](net::Request& r) { return content(api, r); });
  router.add(Method::get, one + "/index",
             [&api](net::Request& r) { return net::Response::json(200, to_json(api.recordings.index(recorded(api, r)))); });
  router.add(Method::get, one + "/events", [&api](net::Request& r) { return events(api, r); });
}

}  // namespace lucid::api
