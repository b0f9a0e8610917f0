// Routes to RDP desktops: how to connect to a session's, and the RDP services behind the same door and rights.
#include <fmt/format.h>

#include "lib/base/clock.hpp"
#include "sessions/api/http.hpp"

namespace lucid::api {
namespace {

// Credentials are for the one who asked: no cache may keep them.
void keep_out_of_caches(net::Response& response) { response.headers.set("Cache-Control", "no-store"); }

net::Response connection(Api& api, net::Request& request) {
  contracts::ConnectionOffer offer = api.sessions.connection(session_id(request));
  net::Response response = net::Response::json(200, json::object{{"host", offer.host},
                                                                 {"port", offer.port},
                                                                 {"token", offer.token},
                                                                 {"account", offer.account},
                                                                 {"password", offer.password},
                                                                 {"expires_at", to_rfc3339(offer.expires_wall_ms)}});
  keep_out_of_caches(response);
  return response;
}

// The file format of Microsoft's client ("name:type:value" lines), which Remmina and FreeRDP read too. A password can stand in it only
// encrypted for one Windows user, so it is answered beside it.
net::Response connection_file(Api& api, net::Request& request) {
  Id id = session_id(request);
  contracts::ConnectionOffer offer = api.sessions.connection(id);
  contracts::RdpTarget target = *api.sessions.stored(id).rdp;
  std::string file = fmt::format(
      "full address:s:{}:{}\r\nusername:s:{}\r\nloadbalanceinfo:s:{}\r\nscreen mode id:i:1\r\ndesktopwidth:i:{}\r\ndesktopheight:i:{}\r\n"
      "session bpp:i:{}\r\nprompt for credentials:i:1\r\nenablecredsspsupport:i:0\r\nnegotiate security layer:i:1\r\n"
      "authentication level:i:2\r\nautoreconnection enabled:i:1\r\n",
      offer.host, offer.port, offer.account, offer.token, target.width, target.height, target.color_depth);
  net::Response response;
  response.body.assign(file.begin(), file.end());
  response.headers.set("Content-Type", "application/x-rdp");
  response.headers.set("Content-Disposition", fmt::format("attachment; filename=\"lucid-{}.rdp\"", id.text()));
  if (!offer.password.empty()) response.headers.set("Lucid-One-Time-Password", offer.password);
  keep_out_of_caches(response);
  return response;
}

}  // namespace

net::Response pass_on(net::Client& to, net::Request& request, std::string target) {
  for (char separator = '?'; const auto& [key, value] : request.query) {
    target += fmt::format("{}{}={}", separator, net::percent_encode(key), net::percent_encode(value));
    separator = '&';
  }
  net::Call call;
  call.method = request.method;
  call.target = std::move(target);
  call.body = request.body;
  if (!request.body.empty()) call.content_type = "application/json";
  net::Response answer = to.expect(call), response;
  response.status = answer.status;
  response.body = std::move(answer.body);
  for (const char* header : {"Content-Type", "Content-Disposition", "Cache-Control", "ETag"})
    if (auto value = answer.headers.get(header)) response.headers.set(header, std::string(*value));
  return response;
}

std::string filled(std::string_view pattern, const net::Request& request) {
  std::string target = "/api/v1/";
  while (!pattern.empty()) {
    std::size_t open = pattern.find('{');
    target += pattern.substr(0, open);
    if (open == std::string_view::npos) break;
    std::size_t close = pattern.find('}', open);
    target += net::percent_encode(request.param(std::string(pattern.substr(open + 1, close - open - 1))));
    pattern.remove_prefix(close + 1);
  }
  return target;
}

void add_rdp_routes(net::Router& router, Api& api) {
  using net::Method;
  router.add(Method::get, "/api/v1/sessions/{id}/connection", [&api](net::Request& r) { return connection(api, r); });
  router.add(Method::get, "/api/v1/sessions/{id}/connection.rdp", [&api](net::Request& r) { return connection_file(api, r); });

  struct Row {
    Method method;
    const char* path;     // behind /api/v1/rdp/
    const char* service;  // behind /api/v1/
    std::shared_ptr<net::Client> RdpServices::* to;
    const char* tail = "";
  };
  static constexpr Row kRows[] = {
      {Method::get, "servers", "servers", &RdpServices::servers},
      {Method::get, "servers/{id}", "servers/", &RdpServices::servers},
      {Method::get, "servers/{id}/sessions", "servers/", &RdpServices::servers, "/sessions"},
      {Method::post, "servers/{id}/message", "servers/", &RdpServices::servers, "/message"},
      {Method::get, "connections", "connections", &RdpServices::gateway},
      {Method::post, "connections/{id}/kill", "connections/", &RdpServices::gateway, "/kill"},
      {Method::get, "bans", "bans", &RdpServices::gateway},
      {Method::get, "sessions", "sessions", &RdpServices::controller},
      {Method::get, "sessions/{id}", "sessions/", &RdpServices::controller},
  };
  for (const Row& row : kRows)
    router.add(row.method, std::string("/api/v1/rdp/") + row.path, [&api, &row](net::Request& r) {
      std::string target = std::string("/api/v1/") + row.service;
      if (target.ends_with('/')) target += session_id(r).text() + row.tail;
      return pass_on(*(api.rdp.*row.to), r, std::move(target));
    });
}

}  // namespace lucid::api
