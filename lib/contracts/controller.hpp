// Edge session-api and xrdp-integration → session-controller (8082). Thread-safe client; calls block and throw lucid::Error.
// An RDP session from request to end: its server, its recording, its connections and its limits.
//   POST /api/v1/sessions RdpSessionRequest            → 201/200 RdpSession (idempotent by id); 409 limit_exceeded. Answers at once; the
//                                                        session goes on by itself to `ready`
//   GET  /api/v1/sessions?limit&cursor, /api/v1/sessions/{id} → RdpSession
//   POST /api/v1/sessions/{id}/pause|resume|stop|terminate    → 200 RdpSession; stop and terminate answer once no byte passes any more
//   POST /api/v1/sessions/{id}/connection              → 200 ConnectionOffer: a new routing token and, for ephemeral accounts, a new
//                                                        one-time password; those before are void. 409 session_not_ready
//   POST /api/v1/admissions AdmissionRequest           → 200 Admission, or 403 with code token_malformed, token_forged, token_expired,
//                                                        token_used, session_not_ready, session_ended, account_unknown, or 429 limit_exceeded
//   POST /api/v1/connections ConnectionReport          → 204; idempotent by (connection, event)
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/id.hpp"
#include "lib/base/json.hpp"
#include "lib/contracts/recording_options.hpp"
#include "lib/net/client.hpp"

namespace lucid::contracts {

enum class RdpState { requested, starting_server, waiting_display, starting_recording, ready, connected, paused, ending, ended, failed };
const char* name(RdpState state);
std::optional<RdpState> rdp_state(std::string_view name);

// What to connect to: session-api's target {kind: "rdp", …}.
struct RdpTarget {
  std::string account;              // empty: an ephemeral account
  std::string desktop;              // empty: the default
  int width = 1920, height = 1080;  // "resolution": "1920x1080"
  int color_depth = 24;
};
RdpTarget read_rdp_target(FieldReader& in);  // refused fields are recorded in `in`; "kind" is the caller's
json::value to_json(const RdpTarget& target);

struct RdpSessionRequest {
  Id id;
  std::string name, owner;
  RdpTarget target;
  RecordingOptions recording;
  std::vector<std::string> recipients;
  bool fail_open = false;         // policy.fail_mode "open": the desktop goes on without a recorder, with a gap
  std::int64_t idle_timeout = 0;  // seconds without user input; 0: none
  std::int64_t max_duration = 0;  // seconds since the first frame; 0: none
  std::int64_t created_wall_ms = 0;
};
json::value to_json(const RdpSessionRequest& request);
RdpSessionRequest read_rdp_session_request(const json::value& value);

struct RdpSession {
  Id id;
  RdpState state = RdpState::requested;
  std::string cause;    // why it ended or failed: "client", "idle_timeout", "max_duration", "stopped", "terminated", "display_lost", …
  bool frozen = false;  // the relay stands still because nothing records
  std::string account, display;
  std::string node;  // that carries it; empty where there are no nodes
  std::uint16_t server_port = 0;
  std::int64_t created_wall_ms = 0, ready_wall_ms = 0, connected_wall_ms = 0, ended_wall_ms = 0;
  std::uint64_t connections = 0;  // accepted so far
  std::string client_address;     // of the newest connection
  std::uint64_t bytes_up = 0, bytes_down = 0;
};
json::value to_json(const RdpSession& session);
RdpSession read_rdp_session(const json::value& value);

struct ConnectionOffer {
  std::string host;
  std::uint16_t port = 0;            // the gateway's, as clients reach it
  std::string token;                 // "Cookie: msts=lucid1.…": the routing token, for the client's load-balance-info
  std::string account, password;     // password empty for named accounts
  std::int64_t expires_wall_ms = 0;  // of the token's first use
};
json::value to_json(const ConnectionOffer& offer);
ConnectionOffer read_connection_offer(const json::value& value);

struct AdmissionRequest {
  Id connection;
  std::string token, account;  // one of them
  std::string client_address;
};
json::value to_json(const AdmissionRequest& request);
AdmissionRequest read_admission_request(const json::value& value);
struct Admission {
  Id session;
  std::string upstream_host;
  std::uint16_t upstream_port = 0;
  std::optional<Id> replaces;  // a live connection of the same session that ends now
};
json::value to_json(const Admission& admission);
Admission read_admission(const json::value& value);

struct ConnectionReport {
  Id connection, session;
  std::string event;  // "opened" (upstream negotiated TLS), "closed"
  std::string cause;  // of closed: "client", "server", "killed", "negotiation", "timeout", "gateway_stopped"
  std::string client_address;
  std::uint64_t bytes_up = 0, bytes_down = 0;
  std::int64_t duration_ms = 0;
};
json::value to_json(const ConnectionReport& report);
ConnectionReport read_connection_report(const json::value& value);

class ControllerClient {
 public:
  explicit ControllerClient(std::shared_ptr<net::Client> http) : http_(std::move(http)) {}
  RdpSession create(const RdpSessionRequest& request);
  RdpSession status(const Id& session);
  RdpSession act(const Id& session, const std::string& action);  // pause resume stop terminate
  ConnectionOffer connection(const Id& session);
  Admission admit(const AdmissionRequest& request);
  void report(const ConnectionReport& report);

 private:
  std::shared_ptr<net::Client> http_;
};

}  // namespace lucid::contracts
