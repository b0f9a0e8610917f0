// One live session in the controller's memory: its record and what needs no keeping. Guarded by `mutex`, but for what is constant.
#pragma once

#include <condition_variable>
#include <mutex>

#include "rdp/controller/controller.hpp"

namespace lucid::controller {

inline constexpr const char* kSessions = "sessions";
inline constexpr const char* kLive = "live";  // keys of sessions that are not over, so that a start need not read all
inline constexpr const char* kMarks = "marks";
inline constexpr const char* kEventMark = "server_events";
inline constexpr std::size_t kMaxHistory = 100, kMaxClosed = 32;

struct Controller::Session {
  Session(Record r, std::int64_t steady_ms)
      : id(r.request.id),
        owner(r.request.owner),
        named_account(r.request.target.account),
        record(std::move(r)),
        created_steady_ms(steady_ms),
        admitted_steady_ms(steady_ms) {}
  const Id id;
  const std::string owner, named_account;

  std::mutex control;            // one of pause and resume, or one offer of a connection, at a time; taken before `mutex`
  std::mutex recording_control;  // pausing and resuming its recording, one at a time; taken after `control`, before `mutex`
  std::mutex gate;               // freezing and resuming its connections, so that the newest wish comes last; taken before `mutex`
  std::mutex mutex;
  std::condition_variable changed;
  Record record;

  const std::int64_t created_steady_ms;
  // When the step under way was first tried by this process; patience counts from there.
  Step step = Step::none;
  std::int64_t step_since_ms = 0;
  std::int64_t admitted_steady_ms;    // set when loaded, too: the gateway may still be at it
  std::int64_t missing_since_ms = 0;  // the gateway does not list its client any more; 0: it does
  int display_refusals = 0;           // in a row, without waiting
  std::uint64_t live_up = 0, live_down = 0;
  std::int64_t last_up_wall_ms = 0;
  std::int64_t stored_active_wall_ms = 0;
  // Numbers from Controller::sequence_: answers of peers that were asked before these changes say nothing about them.
  std::uint64_t recording_changed = 0, connection_changed = 0;
  std::int64_t frozen_steady_ms = 0, unrecorded_since_ms = 0;
  bool check_recording = false;
  bool let_go = false;    // fail-open, and no recorder in time: the hook is to go on
  bool recorded = false;  // as last seen
};

}  // namespace lucid::controller
