#include "rdp/gateway/http.hpp"

namespace lucid::gateway {
namespace {

using net::Method;
using net::Request;
using net::Response;

Id connection_of(const Request& request) {
  auto id = Id::parse(request.param("id"));
  if (!id) throw Error(ErrorKind::not_found, "connection_not_found", "there is no live connection of that id");
  return *id;
}

}  // namespace

net::Router routes(Gateway& gateway) {
  net::Router router;
  router.add(Method::get, "/api/v1/connections", [&gateway](Request&) {
    json::array connections;
    for (const auto& connection : gateway.connections()) connections.push_back(contracts::to_json(connection));
    return Response::json(200, json::object{{"connections", std::move(connections)}});
  });
  router.add(Method::post, "/api/v1/connections/{id}/freeze", [&gateway](Request& request) {
    gateway.freeze(connection_of(request));
    return Response::empty();
  });
  router.add(Method::post, "/api/v1/connections/{id}/resume", [&gateway](Request& request) {
    gateway.resume(connection_of(request));
    return Response::empty();
  });
  router.add(Method::post, "/api/v1/connections/{id}/kill", [&gateway](Request& request) {
    json::value body = request.json_body();
    FieldReader in(body);
    std::string cause = in.text("cause", {.min = 1, .max = 200});
    in.finish();
    gateway.kill(connection_of(request), cause);
    return Response::empty();
  });
  router.add(Method::post, "/api/v1/drain", [&gateway](Request&) {
    gateway.drain();
    return Response::empty();
  });
  router.add(Method::get, "/api/v1/bans", [&gateway](Request&) {
    json::array bans;
    for (const Ban& ban : gateway.bans())
      bans.push_back(json::object{{"address", ban.address}, {"until_wall_ms", ban.until_wall_ms}, {"failures", ban.failures}});
    return Response::json(200, json::object{{"bans", std::move(bans)}});
  });
  router.add(Method::del, "/api/v1/bans/{address}", [&gateway](Request& request) {
    if (!gateway.lift_ban(request.param("address"))) throw Error(ErrorKind::not_found, "ban_not_found", "that address is not banned");
    return Response::empty();
  });
  return router;
}

}  // namespace lucid::gateway
