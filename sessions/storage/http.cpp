#include "sessions/storage/http.hpp"

#include <charconv>

#include <fmt/format.h>

#include "lib/net/byte_range.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/recording/manifest.hpp"

namespace lucid::storage {

namespace {

using net::Method;
using net::Request;
using net::Response;

Id session_of(const Request& request) {
  auto id = Id::parse(request.param("id"));
  if (!id) throw Error(ErrorKind::malformed, "session_id_malformed", "the session id of the path is no UUID");
  return *id;
}

std::uint64_t sequence_of(const Request& request) {
  const std::string& text = request.param("seq");
  std::uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size())
    throw Error(ErrorKind::malformed, "sequence_malformed", "the sequence of the path is no number");
  return number;
}

void require_type(const Request& request, std::string_view type) {
  std::string_view given = request.headers.get("Content-Type").value_or("");
  given = given.substr(0, given.find(';'));
  while (given.ends_with(' ')) given.remove_suffix(1);
  if (given.size() != type.size() || !std::equal(type.begin(), type.end(), given.begin(), [](char a, char b) {
        return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b + 32) : b);
      }))
    throw Error(ErrorKind::unsupported_media, fmt::format("the body must be {}", type));
}

// Whole, in part, or "you have it": the bytes were verified as a whole before this is asked.
Response serve_chunk(const Request& request, StoredChunk chunk) {
  return net::serve_bytes(request, std::move(chunk.bytes), "application/octet-stream", '"' + to_hex(chunk.row.blake3) + '"');
}

json::value to_json(const SessionPage& page) {
  json::array sessions;
  for (const ListedSession& session : page.sessions)
    sessions.push_back(json::object{{"session", session.session.text()},
                                    {"state", session.closed ? "closed" : "open"},
                                    {"summary", contracts::to_json(session.summary)}});
  json::object answer{{"sessions", std::move(sessions)}};
  if (!page.cursor.empty()) answer["cursor"] = page.cursor;
  return answer;
}

}  // namespace

net::Router routes(Storage& storage) {
  net::Router router;
  const std::string session = "/api/v1/sessions/{id}";

  router.add(Method::put, session + "/chunks/{seq}",
             [&storage](Request& request) {
               require_type(request, "application/octet-stream");
               auto put = storage.put_chunk(session_of(request), sequence_of(request), request.body);
               return Response::json(put.created ? 201 : 200, contracts::to_json(put.row));
             },
             {.max_body = recording::kMaxChunkBytes});

  router.add(Method::get, session + "/chunks/{seq}",
             [&storage](Request& request) { return serve_chunk(request, storage.chunk(session_of(request), sequence_of(request))); });

  router.add(Method::get, session + "/chunks", [&storage](Request& request) {
    auto from = request.query_integer_or("from", 0, 0, INT64_MAX);
    auto limit = request.query_integer_or("limit", 1'000, 1, 10'000);
    json::array rows;
    for (const contracts::ChunkRow& row :
         storage.chunks(session_of(request), static_cast<std::uint64_t>(from), static_cast<std::size_t>(limit)))
      rows.push_back(contracts::to_json(row));
    return Response::json(200, json::object{{"chunks", std::move(rows)}});
  });

  router.add(Method::put, session + "/manifest",
             [&storage](Request& request) {
               require_type(request, "application/json");
               storage.put_manifest(session_of(request), as_text(request.body));
               return Response::empty();
             },
             {.max_body = recording::kMaxManifestBytes});

  router.add(Method::get, session + "/manifest", [&storage](Request& request) {
    Id id = session_of(request);
    auto text = storage.manifest(id);
    if (!text) throw Error(ErrorKind::not_found, "manifest_not_found", "no manifest of session " + id.text() + " is stored");
    return Response::json_text(200, std::move(*text));
  });

  router.add(Method::get, session + "/summary",
             [&storage](Request& request) { return Response::json(200, contracts::to_json(storage.summary(session_of(request)))); });

  router.add(Method::get, "/api/v1/sessions", [&storage](Request& request) {
    auto limit = request.query_integer_or("limit", 50, 1, 100);
    std::string cursor = request.query_text("cursor").value_or("");
    if (!cursor.empty() && !Id::parse(cursor)) throw Error(ErrorKind::invalid, "cursor is not one this service gave");
    return Response::json(200, to_json(storage.list(cursor, static_cast<std::size_t>(limit))));
  });

  router.add(Method::post, session + "/close", [&storage](Request& request) {
    storage.close(session_of(request));
    return Response::empty();
  });

  router.add(Method::del, session, [&storage](Request& request) {
    storage.remove(session_of(request));
    return Response::empty();
  });
  return router;
}

}  // namespace lucid::storage
