// What the manager knows of one server: a document of DATA/rdp/manager.db, written at every transition, and the table of legal moves. The key is
// the `slot`, the id the server was made under; `id` is the one it answers to. They differ for a server of the warm pool that was taken: taking
// it is one replaced document, so it is atomic. Account (GECOS), directory and cgroup carry the slot. Value types; any thread.
#pragma once

#include <optional>
#include <string>

#include "lib/contracts/rdp_server.hpp"
#include "rdp/server-manager/child.hpp"

namespace lucid::server_manager {

using contracts::ServerState;

enum class Decision { wait, go, refuse };
const char* name(Decision decision);
std::optional<Decision> decision(std::string_view name);

// An X session of sesman: its leader (a child of sesman), X server and hook (later the desktop).
struct Session {
  int display = 0;
  std::string xauthority;
  ProcessId leader, x_server, hook, sesman;
  bool operator==(const Session&) const = default;
};

struct Record {
  Id slot, id;
  ServerState state = ServerState::creating;
  std::string cause, account, home, desktop;
  std::uint32_t uid = 0, gid = 0;
  bool ephemeral = true, keep_home = false, pooled = false, warm = false, credentials_given = false;
  int width = 1920, height = 1080, color_depth = 24, memory_mb = 2048, restarts = 0;
  double cpu = 2.0;
  std::uint16_t port = 0;
  ProcessId xrdp;
  ProcessId leader;  // of the X session that was started last, known before its hook told of it
  std::optional<Session> session;
  Decision decision = Decision::wait;
  std::int64_t created_wall_ms = 0, since_wall_ms = 0;
};
std::string encode(const Record& record);
Record decode_record(const std::string& json);  // Error{corrupt}
contracts::ServerStatus status_of(const Record& record);

// creating → configuring → starting → running → stopping → stopped → starting; any live one → failed; failed → starting; a crash of xrdp
// is running → starting; configuring, stopped, failed → deleted.
bool may_move(ServerState from, ServerState to);

}  // namespace lucid::server_manager
