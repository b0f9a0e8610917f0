// What is kept of one RDP session: what was asked for, how far each step of its life got, its token and its connections. One document in
// DATA/controller/controller.db, written whole at every change, so that a restart goes on from exactly here. `…_asked` is kept before a
// step is tried for the first time, `…_started` once it is done: between the two the step is repeated (every step is idempotent).
// Value type; guarded by whoever holds it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/contracts/controller.hpp"
#include "rdp/controller/state_machine.hpp"

namespace lucid::controller {

enum class Released { none, go, refuse };  // what the start hook was told

struct Record {
  contracts::RdpSessionRequest request;
  State state = State::requested;
  std::string cause;
  bool failing = false;  // ends as `failed`

  bool placed = false;  // a node was asked for, and given in `node` where there are nodes
  std::optional<Id> node;
  bool node_released = false;

  bool server_asked = false, server_created = false, server_started = false;
  std::string account, display, xauthority;
  std::uint16_t server_port = 0;
  bool recording_asked = false, recording_started = false;
  bool recording_paused = false;
  Released released = Released::none;
  bool frozen = false;  // nobody records it
  // How far the end got.
  bool killed = false, kill_later = false;  // later: the gateway is away; the end of xrdp ends its relay, the watcher kills what shows up
  bool refused = false;
  bool recording_stopped = false, recording_later = false;  // later: the pipeline is away; the desktop does not wait for it
  bool server_stopped = false, server_removed = false;

  std::int64_t created_wall_ms = 0, server_ready_wall_ms = 0, display_wall_ms = 0, first_frame_wall_ms = 0, ready_wall_ms = 0,
               connected_wall_ms = 0, ended_wall_ms = 0;
  std::int64_t disconnected_wall_ms = 0;  // the last client left, or the session became usable again after that
  std::int64_t active_wall_ms = 0;        // idle time counts from here: last input known, or when input became possible again

  Id token;  // the newest; nil: none offered
  std::uint32_t token_expires_unix_s = 0;
  bool token_used = false;

  struct Opening {
    Id connection;
    std::string client_address;
  };
  std::optional<Opening> opening;  // admitted, not yet heard to be through
  std::optional<Id> live;          // the client that is through
  std::vector<Id> closed;          // the newest that ended
  std::uint64_t connections = 0;
  bool ever_closed = false;  // an admitted connection has ended: its token may come back
  std::string client_address;
  std::uint64_t closed_up = 0, closed_down = 0;  // bytes of connections that ended

  json::array history;  // {at, from, to, trigger, cause}
};

// The first word of the cause, for counters and peers: "lost: detail" is "lost".
inline std::string short_cause(std::string_view cause) { return std::string(cause.substr(0, cause.find(':'))); }
std::string to_stored(const Record& record);
Record from_stored(std::string_view text);  // throws Error{corrupt}

// The one thing to do next, decided by the record alone.
enum class Step {
  none,
  place,  // which node carries it
  create_server,
  start_server,
  wait_display,
  start_recording,  // create it in the pipeline and wait for its first frame
  pause_recording,
  release,  // let the hook go on
  // of the end
  kill_connections,
  refuse_desktop,
  stop_recording,
  stop_server,
  remove_server,
  release_node,
  finish,
};
const char* name(Step step);
Step next_step(const Record& record);
inline bool is_named(const Record& r) { return !r.request.target.account.empty(); }

}  // namespace lucid::controller
