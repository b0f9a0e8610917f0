// Edge api/processor/recorder → session-pipeline (8083). Thread-safe client; calls block and throw lucid::Error.
//   POST /api/v1/recordings {session_id, name, target, recording, recipients[], created_wall_ms} → 201/200 RecordingStatus (idempotent by id)
//   POST /api/v1/recordings/{id}/start|pause|resume|stop|recover|cleanup → 200 RecordingStatus; 409 illegal_transition
//   GET  /api/v1/recordings?cursor&limit, GET /api/v1/recordings/{id} → RecordingStatus
//   DELETE /api/v1/recordings/{id}                     after cleanup
//   GET  /api/v1/recordings/{id}/plan                  RecordingPlan: what processor and recorder must know
//   POST /api/v1/leases {session_id, holder}           → {fencing_token, next_sequence}   recorder takes or retakes a session
//   POST /api/v1/heartbeats {holder, recordings:[Beat]} → {lost:[session ids whose token is stale], unknown:[…]}; renews leases
//   POST /api/v1/recordings/{id}/begin {sequence, fencing_token} → {expected_sequence}; 409 lease_lost when another holder took over
//   POST /api/v1/recordings/{id}/commits Commit        → 204; idempotent by sequence; 409 lease_lost
//   POST /api/v1/recordings/{id}/failures {sequence, stage, reason} → 204
//   POST /api/v1/recordings/{id}/reports {event, detail}            → 204; recorder: "first_frame", "ended", "display_lost", "paused_disk_full", "resumed"
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/id.hpp"
#include "lib/base/json.hpp"
#include "lib/contracts/recording_options.hpp"
#include "lib/net/client.hpp"

namespace lucid::contracts {

enum class PipelineState { created, starting, active, pausing, paused, stopping, stopped, cleanup, destroyed, error };
const char* name(PipelineState state);
std::optional<PipelineState> pipeline_state(std::string_view name);

struct RecordingPlan {
  Id session;
  std::string name;
  DisplayTarget target;
  RecordingOptions options;
  std::vector<std::string> recipients;  // "lucid-box-pub:…" beyond the deployment's own playback key
  std::int64_t created_wall_ms = 0;
  // fail_mode open: the desktop waits for its first recorded frame until then and no longer. A recording that starts later has this moment
  // as its millisecond 0 and begins with a gap. 0: the desktop waits for as long as it takes.
  std::int64_t waits_until_wall_ms = 0;
  std::int64_t started_wall_ms = 0;    // wall clock of session millisecond 0 (set at the first start)
  std::int64_t started_steady_ms = 0;  // CLOCK_BOOTTIME of the same moment, on the recorder's machine
};
json::value to_json(const RecordingPlan& plan);
RecordingPlan read_recording_plan(const json::value& value);  // throws Error{invalid}

struct StageCount {
  std::string stage;
  std::uint64_t items = 0, errors = 0;
  double p50_ms = 0, p95_ms = 0, p99_ms = 0;
};
struct RecordingStatus {
  Id session;
  PipelineState state = PipelineState::created;
  std::string cause;  // why it is in `error`, or empty
  std::int64_t since_wall_ms = 0;
  std::uint64_t committed_chunks = 0, committed_bytes = 0, next_sequence = 0, retries = 0, gaps = 0;
  std::int64_t last_commit_wall_ms = 0, last_beat_wall_ms = 0;
  std::int64_t duration_ms = 0;  // last_ms of the last committed chunk
  std::int64_t started_wall_ms = 0;
  bool ended = false;              // the chunk with the end flag is committed
  bool finalised = false;          // final checkpoint and manifest are written: nothing will change any more
  bool stalled = false;            // active, but the recorder's lease has expired
  std::uint64_t backlog = 0;       // segments the recorder holds uncommitted
  std::string alarm;               // e.g. "disk_full", or empty
  std::vector<StageCount> stages;  // recorded, compressed, encrypted, hashed, stored, committed
};
json::value to_json(const RecordingStatus& status);
RecordingStatus read_recording_status(const json::value& value);

struct Commit {
  std::uint64_t sequence = 0, fencing_token = 0;
  std::uint32_t stored_size = 0, plain_size = 0;
  std::int64_t first_ms = 0, last_ms = 0;
  std::uint16_t flags = 0;
  std::int64_t compress_us = 0, encrypt_us = 0, hash_us = 0, store_us = 0, total_us = 0;
};
json::value to_json(const Commit& commit);
Commit read_commit(const json::value& value);

struct Granted {
  std::uint64_t fencing_token = 0, next_sequence = 0;
};
struct Beat {
  Id session;
  std::uint64_t fencing_token = 0, backlog = 0;
  std::string state, alarm;
};  // state: "recording", "paused", "finishing"
struct BeatAnswer {
  std::vector<Id> lost, unknown;
};

class PipelineClient {
 public:
  explicit PipelineClient(std::shared_ptr<net::Client> http) : http_(std::move(http)) {}
  RecordingStatus create(const RecordingPlan& plan);
  RecordingStatus act(const Id& session, const std::string& action);  // start pause resume stop recover cleanup
  RecordingStatus status(const Id& session);
  RecordingPlan plan(const Id& session);
  void remove(const Id& session);
  Granted acquire(const Id& session, const std::string& holder);
  BeatAnswer beat(const std::string& holder, const std::vector<Beat>& beats);
  std::uint64_t begin(const Id& session, std::uint64_t sequence, std::uint64_t fencing_token);  // the sequence expected next
  void commit(const Id& session, const Commit& commit);
  void failure(const Id& session, std::uint64_t sequence, const std::string& stage, const std::string& reason);
  void report(const Id& session, const std::string& event, const std::string& detail);

 private:
  std::shared_ptr<net::Client> http_;
};

}  // namespace lucid::contracts
