// The routes of session-api (docs/api/openapi.yaml) and its door: every route but the common ones needs the admin token.
// Handlers run on the server's worker threads.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "lib/contracts/processor.hpp"
#include "lib/crypto/signature.hpp"
#include "lib/net/http.hpp"
#include "lib/net/server.hpp"
#include "sessions/api/api_metrics.hpp"
#include "sessions/api/limits.hpp"
#include "sessions/api/recordings.hpp"
#include "sessions/api/sessions.hpp"

namespace lucid::api {

// The RDP services that are seen through this door.
struct RdpServices {
  std::shared_ptr<net::Client> servers, gateway, controller;
};

struct Api {
  Sessions& sessions;
  Recordings& recordings;
  LimitKeeper& limits;
  std::shared_ptr<contracts::ProcessorClient> processor;
  crypto::VerifyKey checkpoint_key;
  json::object keys;  // public keys and fingerprints, as /status shows them
  ApiMetrics metrics;
  RdpServices rdp;
  std::shared_ptr<net::Client> nodes;    // node-management
  std::shared_ptr<net::Client> monitor;  // resource-monitor
  const std::atomic<bool>& stopping;     // event streams end
};

// `api` must outlive the router.
net::Router make_router(Api& api);
void add_session_routes(net::Router& router, Api& api);
void add_recording_routes(net::Router& router, Api& api);
void add_evidence_routes(net::Router& router, Api& api);
void add_rdp_routes(net::Router& router, Api& api);
void add_node_routes(net::Router& router, Api& api);
void add_monitor_routes(net::Router& router, Api& api);

// Hands a request on as it is: the service behind checks it.
net::Response pass_on(net::Client& to, net::Request& request, std::string target);
// The path of a route "/api/v1/" + `pattern` with its parameters put in again, each as one segment.
std::string filled(std::string_view pattern, const net::Request& request);

// Admits "Authorization: Bearer <admin token>" as "admin"; compared in constant time.
net::Authenticator admin_door(std::string token);

// Path parameters. Error{malformed} for anything that is no id or number.
Id session_id(const net::Request& request);
std::uint64_t sequence_number(const net::Request& request);

}  // namespace lucid::api
