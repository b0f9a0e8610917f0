// Records one display on a thread of its own: grabs what changed, at most `frame_rate` times a second, turns it and the
// desktop's events into records, and cuts those into segments. Between changes the thread sleeps without a timer.
//
// Owned by the Recorder. begin_wait(), pause(), resume(), stop() block their caller until the thread has done it and the
// records are in the spool; they and the rest may be called from any thread but the capture thread itself (hooks run
// there). Errors: unavailable "display_unavailable", storage_full "disk_full", conflict "not_recording". The X server's
// death ends the recording with End{display_lost}; a full disk suspends capture, and a gap record and a full keyframe
// follow when there is room. What is in the spool survives a crash; the rest, at most 200 ms of records, does not.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "lib/base/clock.hpp"
#include "lib/contracts/pipeline.hpp"
#include "lib/desktop/display.hpp"
#include "lib/recording/frame_encoder.hpp"
#include "lib/runtime/log.hpp"
#include "sessions/recorder/recorder_metrics.hpp"
#include "sessions/recorder/segment_builder.hpp"

namespace lucid::recorder {

struct CaptureJob {
  contracts::RecordingPlan plan;
  std::uint64_t fencing_token = 0;
  std::uint64_t next_sequence = 0;
  std::int64_t started_steady_ms = 0;  // Clock::steady_ms() of session millisecond 0
  // Taken up again: nothing is known from this session millisecond on.
  struct Resumed {
    std::int64_t from_ms = 0;
    recording::GapReason reason = recording::GapReason::recorder_restart;
    std::string detail;
  };
  std::optional<Resumed> resumed;
  bool must_begin = true;        // someone waits in begin_wait(): no first frame is an error, not an end record
  bool paused = false;           // begin paused (it was, before a restart)
  bool only_end = false;         // it was being stopped: write the end record, capture nothing
  std::int64_t open_for_ms = 0;  // how long to retry opening the display
};

class DisplayRecorder {
 public:
  // Called on the capture thread, without locks.
  struct Hooks {
    std::function<void(const SegmentPtr&)> closed;
    std::function<void(recording::EndReason, const std::string& detail)> ended;  // the end record is in the spool
    std::function<void(const std::string& event, const std::string& detail)> report;
  };
  DisplayRecorder(CaptureJob job, Spool& spool, const Clock& clock, RecorderMetrics& metrics, runtime::Log log, Hooks hooks);
  // Ends the thread without an end record: what is recorded goes to the spool, the session can be taken up again.
  ~DisplayRecorder();

  // Waits for the first frame in the spool; throws why there is none.
  void begin_wait();
  void pause();
  void resume();
  void stop();
  // The session is not ours any more: capture ends at once, the open segment is given up.
  void abandon();
  // The same recorder got a newer lease: what is recorded from the next segment on goes under its token.
  void adopt(std::uint64_t fencing_token);
  // Later pictures must not build on earlier ones: the next frame is a full keyframe.
  void renew_picture();
  // The spool has room again.
  void space_returned();

  std::uint64_t frames() const { return frames_; }
  std::uint64_t next_sequence() const { return next_sequence_; }           // after the last closed segment
  std::int64_t last_input_wall_ms() const { return last_input_wall_ms_; }  // of the desktop's user: keys and pointer; 0: none yet
  bool starved() const { return starved_; }                                // capture is suspended because the disk is full

 private:
  enum class Command { pause, resume, stop, abandon, halt, renew, adopt };
  struct Request {
    Command command;
    std::uint64_t token = 0;
    std::promise<void> done;
  };
  std::future<void> post(Command command, std::uint64_t token = 0);
  void run();
  bool open_display();
  void start_capture();
  void step();
  void handle(Request& request);
  bool handle_requests();
  static bool is_input(const recording::Record& record);
  void take_events(bool last);
  void remember_cursor(const recording::Record& record);
  bool frame_due(std::int64_t now);
  void frame(std::int64_t now, bool whole_screen);
  void count_frame();
  void check_room();
  void gap(std::int64_t from_ms, recording::GapReason reason, const std::string& detail);
  void finish(recording::EndReason reason, const std::string& detail);
  void sleep();
  std::int64_t now() const { return clock_.steady_ms(); }
  std::int64_t session_ms() const { return std::max<std::int64_t>(now() - job_.started_steady_ms, 0); }

  CaptureJob job_;
  Spool& spool_;
  const Clock& clock_;
  RecorderMetrics& metrics_;
  runtime::Log log_;
  Hooks hooks_;
  SegmentBuilder builder_;
  recording::FrameEncoder encoder_;
  std::unique_ptr<desktop::Display> display_;
  const std::int64_t frame_interval_ms_;
  std::int64_t next_frame_at_ = 0;
  bool paused_ = false, done_ = false, framed_ = false, last_was_deferred_ = false, picture_due_ = false, sized_ = false;
  std::optional<std::pair<recording::EndReason, std::string>> ending_;  // the end record waits for room
  std::optional<recording::Record> cursor_shape_, cursor_position_;
  Bytes scratch_;

  std::promise<void> begun_;
  bool begun_told_ = false;
  std::atomic<std::uint64_t> frames_{0};
  std::atomic<std::uint64_t> next_sequence_;
  std::atomic<bool> starved_{false};
  std::atomic<std::int64_t> last_input_wall_ms_{0};
  File wake_;           // eventfd
  bool woken_ = false;  // it is readable
  std::mutex mutex_;
  std::deque<Request> requests_;
  bool gone_ = false;  // the thread takes no more requests
  std::thread thread_;
};

}  // namespace lucid::recorder
