// Edge pipeline → session-recorder (8084). Thread-safe client; calls block and throw lucid::Error.
//   POST /api/v1/recordings {plan: RecordingPlan, fencing_token, next_sequence}  → 200 {started_wall_ms, started_steady_ms} once the first frame
//        (a full keyframe) is captured and in the spool; idempotent while it records. 503 "display_unavailable", 503 "no_spool_key".
//        The recorder takes no lease itself here: it must not call back while the pipeline waits.
//   POST /api/v1/recordings/{id}/pause|resume           → 204; a pause record and boundary are in the spool
//   POST /api/v1/recordings/{id}/stop                   → 204; capture has ended, the end record is in the spool, segments still drain
//   GET  /api/v1/recordings                             → {"recordings":[{session_id, state, frames, backlog, alarm, display,
//        last_input_wall_ms?}]}; state: "recording", "paused", "finishing", "lost"
#pragma once

#include <memory>

#include "lib/contracts/pipeline.hpp"

namespace lucid::contracts {

struct Started {
  std::int64_t started_wall_ms = 0, started_steady_ms = 0;
};

// What the recorder says of one recording it holds.
struct RecorderView {
  Id session;
  std::string state, alarm, display;  // alarm: "disk_full", "spool_error" while nothing can be kept
  std::uint64_t frames = 0, backlog = 0;
  std::int64_t last_input_wall_ms = 0;  // of its user's keys and pointer; 0: none yet, or not told
};

class RecorderClient {
 public:
  explicit RecorderClient(std::shared_ptr<net::Client> http) : http_(std::move(http)) {}
  Started start(const RecordingPlan& plan, const Granted& lease);
  void pause(const Id& session);
  void resume(const Id& session);
  void stop(const Id& session);
  // Answers or throws within a second: who must know whether anything records cannot wait for a recorder that hangs.
  std::vector<RecorderView> recordings();

 private:
  std::shared_ptr<net::Client> http_;
};

}  // namespace lucid::contracts
