#include "rdp/controller/http.hpp"

namespace lucid::controller {
namespace {

using net::Method;
using net::Request;
using net::Response;

Id session_of(const Request& request) {
  auto id = Id::parse(request.param("id"));
  if (!id) throw Error(ErrorKind::not_found, "session_not_found", "there is no session of that id");
  return *id;
}

// Actions take no arguments; a body may be absent or empty.
void expect_no_fields(const Request& request) {
  if (request.body.empty()) return;
  json::value body = request.json_body();
  FieldReader in(body);
  in.finish();
}

}  // namespace

net::Router routes(Controller& controller) {
  net::Router router;
  router.add(Method::post, "/api/v1/sessions", [&controller](Request& request) {
    auto made = controller.create(contracts::read_rdp_session_request(request.json_body()));
    return Response::json(made.created ? 201 : 200, contracts::to_json(made.session));
  });
  router.add(Method::get, "/api/v1/sessions", [&controller](Request& request) {
    auto limit = request.query_integer_or("limit", 50, 1, 100);
    std::string cursor = request.query_text("cursor").value_or("");
    if (!cursor.empty() && !Id::parse(cursor)) throw Error(ErrorKind::invalid, "cursor is not one this service gave");
    auto page = controller.list(cursor, static_cast<std::size_t>(limit));
    json::array sessions;
    for (const auto& session : page.sessions) sessions.push_back(contracts::to_json(session));
    return Response::json(200, json::object{{"sessions", std::move(sessions)}, {"cursor", page.next}});
  });
  router.add(Method::get, "/api/v1/sessions/{id}",
             [&controller](Request& request) { return Response::json(200, contracts::to_json(controller.status(session_of(request)))); });
  router.add(Method::get, "/api/v1/sessions/{id}/history",
             [&controller](Request& request) { return Response::json(200, controller.history(session_of(request))); });
  for (const char* action : {"pause", "resume", "stop", "terminate"})
    router.add(Method::post, std::string("/api/v1/sessions/{id}/") + action, [&controller, action](Request& request) {
      expect_no_fields(request);
      return Response::json(200, contracts::to_json(controller.act(session_of(request), action)));
    });
  router.add(Method::post, "/api/v1/sessions/{id}/connection", [&controller](Request& request) {
    expect_no_fields(request);
    Response answer = Response::json(200, contracts::to_json(controller.connection(session_of(request))));
    answer.headers.set("Cache-Control", "no-store");  // it carries a password
    return answer;
  });
  router.add(Method::post, "/api/v1/admissions", [&controller](Request& request) {
    return Response::json(200, contracts::to_json(controller.admit(contracts::read_admission_request(request.json_body()))));
  });
  router.add(Method::post, "/api/v1/connections", [&controller](Request& request) {
    controller.report(contracts::read_connection_report(request.json_body()));
    return Response::empty();
  });
  return router;
}

}  // namespace lucid::controller
