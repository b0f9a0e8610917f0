#include "sessions/pipeline/http.hpp"

#include "lib/contracts/fields.hpp"

namespace lucid::pipeline {
namespace {

using net::Method;
using net::Request;
using net::Response;

Id session_of(const Request& request) {
  auto id = Id::parse(request.param("id"));
  if (!id) throw Error(ErrorKind::not_found, "recording_not_found", "there is no recording of that id");
  return *id;
}

template <class T>
T checked(contracts::Fields& in, T value, const char* what) {
  if (!in.ok()) throw in.error(what);
  return value;
}

contracts::Beat read_beat(const json::value& value) {
  contracts::Fields in(value);
  contracts::Beat b{in.id("session_id"), in.number<std::uint64_t>("fencing_token"), in.number<std::uint64_t>("backlog"), in.text("state"),
                    in.text("alarm")};
  return checked(in, std::move(b), "heartbeat");
}

}  // namespace

net::Router routes(Pipeline& pipeline) {
  net::Router router;
  router.add(Method::post, "/api/v1/recordings", [&pipeline](Request& request) {
    auto created = pipeline.create(contracts::read_recording_plan(request.json_body()));
    return Response::json(created.created ? 201 : 200, contracts::to_json(created.status));
  });
  router.add(Method::get, "/api/v1/recordings", [&pipeline](Request& request) {
    auto limit = request.query_integer_or("limit", 50, 1, 100);
    std::string cursor = request.query_text("cursor").value_or("");
    if (!cursor.empty() && !Id::parse(cursor)) throw Error(ErrorKind::invalid, "cursor is not one this service gave");
    auto page = pipeline.list(cursor, static_cast<std::size_t>(limit));
    json::array recordings;
    for (const auto& status : page.recordings) recordings.push_back(contracts::to_json(status));
    return Response::json(200, json::object{{"recordings", std::move(recordings)}, {"cursor", page.next}});
  });
  router.add(Method::get, "/api/v1/recordings/{id}",
             [&pipeline](Request& request) { return Response::json(200, contracts::to_json(pipeline.status(session_of(request)))); });
  router.add(Method::get, "/api/v1/recordings/{id}/plan",
             [&pipeline](Request& request) { return Response::json(200, contracts::to_json(pipeline.plan(session_of(request)))); });
  router.add(Method::get, "/api/v1/recordings/{id}/history",
             [&pipeline](Request& request) { return Response::json(200, pipeline.history(session_of(request))); });
  router.add(Method::del, "/api/v1/recordings/{id}", [&pipeline](Request& request) {
    pipeline.remove(session_of(request));
    return Response::empty();
  });
  for (const char* action : {"start", "pause", "resume", "stop", "recover", "cleanup"})
    router.add(Method::post, std::string("/api/v1/recordings/{id}/") + action, [&pipeline, action](Request& request) {
      return Response::json(200, contracts::to_json(pipeline.act(session_of(request), action)));
    });

  router.add(Method::post, "/api/v1/leases", [&pipeline](Request& request) {
    json::value body = request.json_body();
    contracts::Fields in(body);
    Id session = in.id("session_id");
    std::string holder = checked(in, in.text("holder"), "lease request");
    auto granted = pipeline.acquire(session, holder);
    return Response::json(200, json::object{{"fencing_token", granted.fencing_token}, {"next_sequence", granted.next_sequence}});
  });
  router.add(Method::post, "/api/v1/heartbeats", [&pipeline](Request& request) {
    json::value body = request.json_body();
    contracts::Fields in(body);
    std::vector<contracts::Beat> beats;
    for (const json::value& item : in.array("recordings")) beats.push_back(read_beat(item));
    if (!in.ok()) throw in.error("heartbeat");
    auto answer = pipeline.beat(beats);
    json::array lost, unknown;
    for (const Id& id : answer.lost) lost.push_back(json::value(id.text()));
    for (const Id& id : answer.unknown) unknown.push_back(json::value(id.text()));
    return Response::json(200, json::object{{"lost", std::move(lost)}, {"unknown", std::move(unknown)}});
  });
  router.add(Method::post, "/api/v1/recordings/{id}/begin", [&pipeline](Request& request) {
    json::value body = request.json_body();
    contracts::Fields in(body);
    auto sequence = in.number<std::uint64_t>("sequence");
    auto token = checked(in, in.number<std::uint64_t>("fencing_token"), "begin request");
    return Response::json(200, json::object{{"expected_sequence", pipeline.begin(session_of(request), sequence, token)}});
  });
  router.add(Method::post, "/api/v1/recordings/{id}/commits", [&pipeline](Request& request) {
    pipeline.commit(session_of(request), contracts::read_commit(request.json_body()));
    return Response::empty();
  });
  router.add(Method::post, "/api/v1/recordings/{id}/failures", [&pipeline](Request& request) {
    json::value body = request.json_body();
    contracts::Fields in(body);
    auto sequence = in.number<std::uint64_t>("sequence");
    auto where = stage(in.text("stage"));
    if (!where) in.refuse("stage");
    std::string reason = checked(in, in.text("reason"), "failure report");
    pipeline.failure(session_of(request), sequence, *where, reason);
    return Response::empty();
  });
  router.add(Method::post, "/api/v1/recordings/{id}/reports", [&pipeline](Request& request) {
    json::value body = request.json_body();
    contracts::Fields in(body);
    std::string event = in.text("event");
    std::string detail = checked(in, in.text("detail"), "report");
    pipeline.report(session_of(request), event, detail);
    return Response::empty();
  });
  return router;
}

}  // namespace lucid::pipeline
