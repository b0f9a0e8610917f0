#include "sessions/processor/http.hpp"

namespace lucid::processor {
namespace {

using net::Method;
using net::Request;
using net::Response;

// A segment is at most 1 MiB of records plus one keyframe; sealed batches add their headers.
constexpr std::size_t kMaxSegmentBody = (16 << 20) + (1 << 20);

Id session_of(const Request& request) {
  auto id = Id::parse(request.param("id"));
  if (!id) throw Error(ErrorKind::not_found, "session_not_found", "there is no session of that id");
  return *id;
}

constexpr std::int64_t kMaxNumber = std::int64_t{1} << 53;

std::optional<std::uint64_t> optional_number(const Request& request, const std::string& name) {
  if (!request.query_text(name)) return std::nullopt;
  return static_cast<std::uint64_t>(request.query_integer_or(name, 0, 0, kMaxNumber));
}

std::uint64_t sequence_of(const Request& request) {
  const std::string& text = request.param("seq");
  if (text.empty() || text.size() > 16 || text.find_first_not_of("0123456789") != std::string::npos)
    throw Error(ErrorKind::not_found, "chunk_not_found", "a chunk is named by its sequence number");
  return std::stoull(text);
}

}  // namespace

net::Router routes(Processor& processor) {
  net::Router router;
  router.add(Method::get, "/api/v1/key", [&processor](Request&) {
    auto keys = processor.keys();
    return Response::json(
        200, json::object{{"spool_public", keys.spool_public}, {"checkpoint_public", keys.checkpoint_public}, {"node", keys.node}});
  });
  router.add(
      Method::post, "/api/v1/segments",
      [&processor](Request& request) {
        if (request.headers.get("Content-Type").value_or("") != "application/octet-stream")
          throw Error(ErrorKind::unsupported_media, "a segment is sent as application/octet-stream");
        auto part =
            request.headers.get("X-Lucid-Final-Part") == "crash" ? contracts::SegmentPart::cut_by_crash : contracts::SegmentPart::closed;
        auto c = processor.ingest(request.body, part);
        return Response::json(200, json::object{{"session_id", c.session.text()}, {"sequence", c.sequence}, {"tree_size", c.tree_size}});
      },
      {.max_body = kMaxSegmentBody});
  router.add(Method::get, "/api/v1/sessions/{id}/checkpoint",
             [&processor](Request& request) { return Response::text(processor.checkpoint(session_of(request))); });
  router.add(Method::get, "/api/v1/sessions/{id}/proof/{seq}", [&processor](Request& request) {
    return Response::json(200, processor.proof(session_of(request), sequence_of(request), optional_number(request, "size")));
  });
  router.add(Method::get, "/api/v1/sessions/{id}/consistency", [&processor](Request& request) {
    return Response::json(
        200, processor.consistency(session_of(request), optional_number(request, "from").value_or(0), optional_number(request, "to")));
  });
  router.add(Method::get, "/api/v1/sessions/{id}/snapshot", [&processor](Request& request) {
    auto s = processor.snapshot(session_of(request));
    return Response::json(
        200, json::object{
                 {"manifest", s.manifest}, {"manifest_note", s.manifest_note}, {"checkpoint", s.checkpoint}, {"tree_size", s.tree_size}});
  });
  router.add(Method::post, "/api/v1/sessions/{id}/finish", [&processor](Request& request) {
    auto f = processor.finish(session_of(request));
    return Response::json(200, json::object{{"checkpoint", f.checkpoint}, {"manifest_note", f.manifest_note}});
  });
  router.add(Method::del, "/api/v1/sessions/{id}", [&processor](Request& request) {
    processor.remove(session_of(request));
    return Response::empty();
  });
  return router;
}

}  // namespace lucid::processor
