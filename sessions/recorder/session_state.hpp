// What a recorder must know of each of its sessions after a crash: DATA/recorder/sessions/<id>.json, replaced atomically.
// Together with the spool it tells where to go on: `next_sequence` and `last_ms` are lower bounds (the spool may know
// more), raised before a spool file is removed. Used under the Recorder's care; a save that returned is durable.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/base/file_ops.hpp"
#include "lib/contracts/pipeline.hpp"
#include "lib/runtime/log.hpp"

namespace lucid::recorder {

// lost: another recorder has the session, or nobody knows it. completed: its end is committed; the file stays until the
// spool holds nothing of the session, so that a restart does not send it again.
enum class Phase { recording, paused, stopping, lost, completed };

struct SessionState {
  contracts::RecordingPlan plan;
  Phase phase = Phase::recording;
  std::uint64_t fencing_token = 0;
  std::int64_t started_wall_ms = 0, started_steady_ms = 0;
  std::string boot_id;  // of the boot `started_steady_ms` counts from
  std::uint64_t next_sequence = 0;
  std::uint64_t committed_below = 0;  // segments with a lower sequence need not be sent again
  std::int64_t last_ms = 0;
};

class SessionStates {
 public:
  SessionStates(std::string directory, FileOps& files, runtime::Log log);
  // Every readable state; an unreadable file is renamed to <name>.unreadable and logged.
  std::vector<SessionState> load();
  void save(const SessionState& state);
  void remove(const Id& session);

 private:
  std::string path(const Id& session) const;
  void keep_reserve();

  std::string directory_;
  FileOps& files_;
  runtime::Log log_;
};

// /proc/sys/kernel/random/boot_id, or empty.
std::string boot_id();
// CLOCK_BOOTTIME of session millisecond 0 as this boot counts it: another boot's is rebuilt from the wall clock, such
// that the session's time never runs backwards.
std::int64_t started_steady_now(const SessionState& state, const Clock& clock);

}  // namespace lucid::recorder
