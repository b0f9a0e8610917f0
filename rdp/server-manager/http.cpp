#include "rdp/server-manager/http.hpp"

#include <algorithm>

namespace lucid::server_manager {
namespace {

using net::Method;
using net::Request;
using net::Response;

Id server_of(const Request& request) {
  auto id = Id::parse(request.param("id"));
  if (!id) throw Error(ErrorKind::not_found, "server_not_found", "there is no server of that id");
  return *id;
}

json::value body_of(Request& request) { return request.body.empty() ? json::value(json::object{}) : request.json_body(); }

}  // namespace

net::Router routes(Manager& manager) {
  net::Router router;
  router.add(Method::post, "/api/v1/servers", [&manager](Request& request) {
    auto made = manager.create(contracts::read_server_request(request.json_body()));
    return Response::json(made.created ? 201 : 200, contracts::to_json(made.status));
  });
  router.add(Method::get, "/api/v1/servers", [&manager](Request& request) {
    auto limit = request.query_integer_or("limit", 50, 1, 100);
    std::string cursor = request.query_text("cursor").value_or("");
    if (!cursor.empty() && !Id::parse(cursor)) throw Error(ErrorKind::invalid, "cursor is not one this service gave");
    auto page = manager.list(cursor, static_cast<std::size_t>(limit));
    json::array servers;
    for (const auto& status : page.servers) servers.push_back(contracts::to_json(status));
    return Response::json(200, json::object{{"servers", std::move(servers)}, {"cursor", page.next}});
  });
  auto status = [&manager](Request& request) { return Response::json(200, contracts::to_json(manager.status(server_of(request)))); };
  router.add(Method::get, "/api/v1/servers/{id}", status);
  router.add(Method::get, "/api/v1/servers/{id}/status", status);
  router.add(Method::del, "/api/v1/servers/{id}", [&manager](Request& request) {
    manager.remove(server_of(request));
    return Response::empty();
  });
  for (const char* action : {"start", "stop", "restart"})
    router.add(Method::post, std::string("/api/v1/servers/{id}/") + action, [&manager, action](Request& request) {
      return Response::json(200, contracts::to_json(manager.act(server_of(request), action)));
    });
  router.add(Method::post, "/api/v1/servers/{id}/display", [&manager](Request& request) {
    auto wait = std::chrono::milliseconds(request.query_integer_or("wait_ms", 0, 0, 30'000));
    auto display = manager.wait_for_display(server_of(request), wait);
    return Response::json(200, json::object{{"display", display.display}, {"xauthority", display.xauthority}, {"uid", display.uid}});
  });
  router.add(Method::post, "/api/v1/servers/{id}/release", [&manager](Request& request) {
    json::value body = request.json_body();
    FieldReader in(body);
    if (!in.has("decision")) in.refuse("decision", "is required: go or refuse");
    std::size_t word = in.word_or("decision", 0, {"go", "refuse"});
    in.finish();
    manager.release(server_of(request), word == 0);
    return Response::empty();
  });
  router.add(Method::post, "/api/v1/servers/{id}/credentials", [&manager](Request& request) {
    auto made = manager.credentials(server_of(request));
    auto response = Response::json(200, json::object{{"account", made.account}, {"password", made.password}});
    response.headers.set("Cache-Control", "no-store");
    return response;
  });
  router.add(Method::get, "/api/v1/servers/{id}/sessions",
             [&manager](Request& request) { return Response::json(200, manager.sessions(server_of(request))); });
  router.add(Method::post, "/api/v1/servers/{id}/message", [&manager](Request& request) {
    json::value body = body_of(request);
    FieldReader in(body);
    std::string text = in.text("text", {.min = 1, .max = 2000});
    if (std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t'; }))
      in.refuse("text", "must not have control characters");
    in.finish();
    manager.message(server_of(request), text);
    return Response::empty();
  });
  router.add(Method::get, "/api/v1/events", [&manager](Request& request) {
    auto after = request.query_integer_or("after", 0, 0, std::int64_t{1} << 53);
    auto wait = std::chrono::milliseconds(request.query_integer_or("wait_ms", 0, 0, 25'000));
    auto found = manager.events(static_cast<std::uint64_t>(after), wait);
    json::array events;
    for (const auto& e : found.events)
      events.push_back(
          json::object{{"seq", e.seq}, {"server_id", e.server.text()}, {"state", contracts::name(e.state)}, {"cause", e.cause}});
    return Response::json(200, json::object{{"events", std::move(events)}, {"next", found.next}});
  });
  return router;
}

}  // namespace lucid::server_manager
