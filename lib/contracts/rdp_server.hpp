// Edge session-controller/api → rdp-server-manager (8081). Thread-safe client; calls block and throw lucid::Error.
// A server is one xrdp with its own port, directory, Unix account and desktop.
//   POST   /api/v1/servers ServerRequest              → 201/200 ServerStatus (idempotent by id); 422 account_unknown, 409 limit_reached,
//                                                       503 package_missing (names the Debian package)
//   POST   /api/v1/servers/{id}/start|stop|restart    → 200 ServerStatus; start answers once xrdp answered a real X.224 + TLS handshake;
//                                                       stop ends everything of it (xrdp, X, desktop, cgroup) and is idempotent
//   POST   /api/v1/servers/{id}/display?wait_ms=N     → 200 ServerDisplay once the start hook has reported its X display; at most 30 s, then
//                                                       503 display_unavailable (detail: last lines of Xorg's log when it failed to start)
//   POST   /api/v1/servers/{id}/release {decision: "go"|"refuse"} → 204; the hook goes on to the desktop, or ends the X session. Durable and
//                                                       idempotent: a hook that asks again after a manager restart gets the same answer
//   POST   /api/v1/servers/{id}/credentials           → 200 Credentials; ephemeral accounts only: sets a new random password and answers it,
//                                                       once; the one before is void. 409 named_account
//   GET    /api/v1/servers?limit&cursor, /api/v1/servers/{id} → ServerStatus
//   GET    /api/v1/servers/{id}/sessions              {"displays":[…],"processes":[{pid, name, rss_bytes, cpu_ms}]}
//   POST   /api/v1/servers/{id}/message {text}        shows a message on its desktop
//   DELETE /api/v1/servers/{id}                       409 server_live while running; else removes account, home (unless kept), directory, port
//   GET    /api/v1/events?after=N&wait_ms=M           {"events":[{seq, server_id, state, cause}], "next":N}: long poll, at most 25 s
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/id.hpp"
#include "lib/base/json.hpp"
#include "lib/net/client.hpp"

namespace lucid::contracts {

enum class ServerState { creating, configuring, starting, running, stopping, stopped, failed, deleted };
const char* name(ServerState state);
std::optional<ServerState> server_state(std::string_view name);

struct ServerRequest {
  Id id;                            // of the server; the controller uses the session's id
  std::string account;              // named account through PAM; empty: an ephemeral one is made
  std::string desktop;              // "openbox", "xfce"; empty: the light default that is installed
  int width = 1920, height = 1080;  // pixels the X display starts with; 320x240–7680x4320
  int color_depth = 24;             // 16, 24 or 32, of the RDP connection; X itself runs at 24
  double cpu = 2.0;                 // cores, 0.1–8
  int memory_mb = 2048;             // 512–16384
  bool keep_home = false;           // ephemeral accounts: the home directory outlives the server
};
json::value to_json(const ServerRequest& request);
ServerRequest read_server_request(const json::value& value);  // throws Error{invalid} naming every wrong field

struct ServerDisplay {
  std::string display, xauthority;  // ":10", path of the cookie file
  std::uint32_t uid = 0;
};
struct ServerStatus {
  Id id;
  ServerState state = ServerState::creating;
  std::string cause;  // why it failed or stopped, or empty
  std::string account;
  bool ephemeral = true;
  std::string desktop;
  std::uint16_t port = 0;                // xrdp's, on 127.0.0.1
  std::optional<ServerDisplay> display;  // once the hook has reported it, until X ends
  bool released = false;                 // the hook was let go on to the desktop
  int restarts = 0;
  std::int64_t created_wall_ms = 0, since_wall_ms = 0;
  bool warm = false;                // made ahead by the pool, taken by this request
  std::vector<std::uint32_t> pids;  // of xrdp and of its X session's leader, while there are any: all its processes descend from them
};
json::value to_json(const ServerStatus& status);
ServerStatus read_server_status(const json::value& value);

struct Credentials {
  std::string account, password;
};

struct ServerEvent {
  std::uint64_t seq = 0;
  Id server;
  ServerState state = ServerState::creating;  // running with a cause "display_lost": X ended while xrdp lives
  std::string cause;
};
struct ServerEvents {
  std::vector<ServerEvent> events;
  std::uint64_t next = 0;
};

class RdpServerClient {
 public:
  explicit RdpServerClient(std::shared_ptr<net::Client> http) : http_(std::move(http)) {}
  ServerStatus create(const ServerRequest& request);
  ServerStatus act(const Id& server, const std::string& action);  // start stop restart
  ServerDisplay wait_for_display(const Id& server, int wait_ms);
  void release(const Id& server, bool go);
  Credentials credentials(const Id& server);
  ServerStatus status(const Id& server);
  std::vector<ServerStatus> list();
  void remove(const Id& server);
  ServerEvents events(std::uint64_t after, int wait_ms);

 private:
  std::shared_ptr<net::Client> http_;
};

}  // namespace lucid::contracts
