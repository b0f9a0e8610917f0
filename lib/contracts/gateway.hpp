// Edge session-controller/api → xrdp-integration's admin API (8089). Thread-safe client; calls block and throw lucid::Error.
//   GET    /api/v1/connections                         {"connections":[Connection…]}
//   POST   /api/v1/connections/{id}/freeze|resume      → 204; frozen: no byte passes either way, both sides feel back-pressure
//   POST   /api/v1/connections/{id}/kill {cause}       → 204; both sockets are closed when it answers (≤200 ms)
//   POST   /api/v1/drain                               → 204; no new connections; live ones go on
//   GET    /api/v1/bans                                {"bans":[{address, until_wall_ms, failures}]}; DELETE /api/v1/bans/{address}
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/id.hpp"
#include "lib/base/json.hpp"
#include "lib/net/client.hpp"

namespace lucid::contracts {

// One relayed RDP connection.
struct Connection {
  Id id, session;
  std::string client_address;                  // "192.0.2.7:50312"
  std::uint64_t bytes_up = 0, bytes_down = 0;  // from and to the client
  std::int64_t opened_wall_ms = 0, last_up_wall_ms = 0;
  bool frozen = false;
};
json::value to_json(const Connection& connection);
Connection read_connection(const json::value& value);

class GatewayClient {
 public:
  explicit GatewayClient(std::shared_ptr<net::Client> http) : http_(std::move(http)) {}
  std::vector<Connection> connections();
  void freeze(const Id& connection);
  void resume(const Id& connection);
  void kill(const Id& connection, const std::string& cause);

 private:
  std::shared_ptr<net::Client> http_;
};

}  // namespace lucid::contracts
