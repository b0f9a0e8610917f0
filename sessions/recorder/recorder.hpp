// The session-recorder's logic: which displays are recorded, what survives a restart, and who is told. No HTTP.
//
// start() answers when the first frame is in the spool (fail-closed). Constructing a Recorder takes up what a crashed or
// stopped one left: recordings go on at once with a gap record and a full keyframe, waiting for no other service, while
// uncommitted segments are forwarded in order. Destroying it flushes and leaves recordings to be taken up again.
// Any thread. Errors are lucid::Error as in contracts/recorder.hpp.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/contracts/recorder.hpp"
#include "lib/crypto/sealed_box.hpp"
#include "lib/runtime/exposure.hpp"
#include "lib/runtime/metrics.hpp"
#include "sessions/recorder/config.hpp"
#include "sessions/recorder/display_recorder.hpp"
#include "sessions/recorder/herald.hpp"
#include "sessions/recorder/recorder_metrics.hpp"
#include "sessions/recorder/sender.hpp"
#include "sessions/recorder/session_state.hpp"
#include "sessions/recorder/spool.hpp"

namespace lucid::recorder {

struct RecorderParts {
  FileOps& files;
  const Clock& clock;
  RandomSource& random;
  runtime::Metrics& metrics;
  crypto::BoxPublicKey spool_key;  // the processor's
  std::shared_ptr<net::Client> processor, pipeline;
};

struct RecordingInfo {
  Id session;
  std::string state;  // "recording", "paused", "finishing", "lost"
  std::uint64_t frames = 0, backlog = 0;
  std::string alarm;  // "disk_full", "spool_error", or empty
  std::string display;
  std::int64_t last_input_wall_ms = 0;  // of the desktop's user; 0: none yet
};

class Recorder {
 public:
  Recorder(RecorderConfig config, RecorderParts parts);
  ~Recorder();

  contracts::Started start(const contracts::RecordingPlan& plan, const contracts::Granted& granted);
  void pause(const Id& session);
  void resume(const Id& session);
  void stop(const Id& session);
  std::vector<RecordingInfo> list() const;

  // Lets queued segments reach the processor, at most for `longest`.
  bool drain(std::chrono::milliseconds longest) { return sender_->wait_until_empty(longest); }
  std::optional<std::string> spool_problem() const { return spool_->problem(); }
  std::optional<std::string> backlog_problem() const;
  std::optional<std::string> display_problem() const;

 private:
  struct Entry {
    SessionState state;                        // guarded by mutex_
    std::string problem;                       // why it ended against its will
    std::mutex acting;                         // one start, pause, resume or stop at a time
    std::shared_ptr<DisplayRecorder> capture;  // guarded by mutex_; callers keep their own reference
    bool unsaved = false;                      // state is ahead of its file
  };
  using EntryPtr = std::shared_ptr<Entry>;
  EntryPtr find(const Id& session) const;                                                       // null when absent
  std::shared_ptr<DisplayRecorder> capture_of(const Id& session, const EntryPtr& entry) const;  // throws when there is none
  void recover();
  void take_up(SessionState state, const std::vector<SegmentPtr>& segments);
  std::shared_ptr<DisplayRecorder> capture(const EntryPtr& entry, CaptureJob job);
  struct Claim {
    EntryPtr entry;
    std::unique_lock<std::mutex> acting;
    bool running = false;
    std::int64_t last_ms = -1;
  };
  Claim claim(const contracts::RecordingPlan& plan, const contracts::Granted& granted);
  contracts::Started begin(const EntryPtr& entry, const contracts::Granted& granted, std::int64_t last_ms);
  void set_phase(const EntryPtr& entry, Phase phase);
  void save(const EntryPtr& entry);
  void save_bounds();
  void retire(const EntryPtr& entry);
  void released(const Segment& segment);
  void forget_completed();
  void committed(const Segment& segment);
  void renumber(const Id& session, std::uint64_t next);
  void lost(const Id& session, std::uint64_t fencing_token, const std::string& why);
  void ended(const Id& session, recording::EndReason reason, const std::string& detail);
  std::vector<contracts::Beat> beats();
  std::string alarm_of(const Entry& entry) const;
  void update_gauges();

  RecorderConfig config_;
  RecorderParts parts_;
  runtime::Log log_{"session-recorder"};
  RecorderMetrics metrics_;
  SessionStates states_;
  mutable std::mutex mutex_;
  std::mutex saving_;                   // taken before mutex_: state files are written in the order of their content
  std::map<Id, std::uint64_t> beaten_;  // tokens of the last heartbeat; the herald's thread only
  std::map<Id, EntryPtr> entries_;
  std::map<Id, std::uint64_t> completed_;  // session → newest spool file when its end was committed
  std::unique_ptr<Spool> spool_;           // in this order: each uses those before it
  std::unique_ptr<Sender> sender_;
  std::unique_ptr<Herald> herald_;
  std::unique_ptr<runtime::Exposure> exposure_;
};

}  // namespace lucid::recorder
