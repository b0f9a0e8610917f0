// session-pipeline's logic: one state machine per recording, leases with fencing tokens, the order of chunks, and what
// has to happen next. Bytes never pass through here. Everything a restart needs is in Documents before a call returns
// (survives power loss); stage latencies, backlog and alarms are live values and start anew. Thread-safe.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "lib/base/clock.hpp"
#include "lib/contracts/pipeline.hpp"
#include "lib/contracts/recorder.hpp"
#include "lib/runtime/exposure.hpp"
#include "lib/store/documents.hpp"
#include "lib/store/leases.hpp"
#include "sessions/pipeline/pipeline_metrics.hpp"
#include "sessions/pipeline/stage_stats.hpp"
#include "sessions/pipeline/state_machine.hpp"

namespace lucid::pipeline {

// What the pipeline asks of other services. Each may throw lucid::Error.
struct Outside {
  std::function<contracts::Started(const contracts::RecordingPlan&, const contracts::Granted&)> start;
  std::function<void(const Id&)> pause, resume, stop;  // recorder
  std::function<void(const Id&)> finish;               // processor: final checkpoint and manifest, storage closed
};

class Pipeline {
 public:
  Pipeline(store::Documents& documents, store::Leases& leases, const Clock& clock, runtime::Metrics& metrics, Outside outside);
  ~Pipeline();  // stops the follow-up thread

  // Loads what is unfinished and takes it up again; then the follow-up thread runs.
  void open();

  // False in `created` when it existed already (idempotent by id; another plan under the same id is a conflict).
  struct Created {
    contracts::RecordingStatus status;
    bool created = false;
  };
  Created create(const contracts::RecordingPlan& plan);
  // start pause resume stop recover cleanup. Error{conflict, "illegal_transition"}; a failed start leaves state `error`.
  contracts::RecordingStatus act(const Id& session, std::string_view action);
  contracts::RecordingStatus status(const Id& session);
  contracts::RecordingPlan plan(const Id& session);
  json::value history(const Id& session);
  struct Page {
    std::vector<contracts::RecordingStatus> recordings;
    std::string next;
  };
  Page list(const std::string& cursor, std::size_t limit);  // newest first
  void remove(const Id& session);                           // after cleanup

  contracts::Granted acquire(const Id& session, const std::string& holder);
  contracts::BeatAnswer beat(const std::vector<contracts::Beat>& beats);
  std::uint64_t begin(const Id& session, std::uint64_t sequence, std::uint64_t fencing_token);
  void commit(const Id& session, const contracts::Commit& commit);
  void failure(const Id& session, std::uint64_t sequence, Stage stage, const std::string& reason);
  void report(const Id& session, const std::string& event, const std::string& detail);

  struct Totals {
    std::size_t live = 0, stalled = 0, alarms = 0, backlog = 0;
  };
  Totals totals();

 private:
  struct Recording;
  std::shared_ptr<Recording> find(const Id& session);                  // Error{not_found, "recording_not_found"}
  void move(Recording& r, Trigger trigger, const std::string& cause);  // with r.mutex held; durable
  void save(Recording& r);
  void save_progress(Recording& r);
  contracts::RecordingStatus describe(Recording& r);
  // Asks the recorder to begin what is in state `starting`; may be repeated.
  contracts::RecordingStatus start(const std::shared_ptr<Recording>& r);
  void check_token(const Recording& r, std::uint64_t token) const;

  // follow_up.cpp: what must happen after a state was reached, retried until it did.
  void wake(const Id& session);
  void follow_up_loop();
  bool follow_up(const Id& session);  // true: nothing left to do
  void update_gauges();

  store::Documents& documents_;
  store::Leases& leases_;
  const Clock& clock_;
  Outside outside_;
  std::mutex mutex_;  // guards recordings_
  std::unordered_map<Id, std::shared_ptr<Recording>> recordings_;

  std::mutex work_mutex_;
  std::condition_variable work_changed_;
  struct Work {
    std::int64_t due_ms = 0;
    int attempt = 0;
  };
  std::map<Id, Work> work_;
  bool stopping_ = false;
  std::thread thread_;
  PipelineMetrics metrics_;
  runtime::Exposure exposure_;  // last: ends before what it looks at
};

}  // namespace lucid::pipeline
