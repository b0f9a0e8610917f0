// What a Recorder does about what it finds: the recordings of an earlier process, a lost spool, completed sessions' traces.
#include "lib/recording/chunk.hpp"
#include "sessions/recorder/recorder.hpp"

namespace lucid::recorder {

void Recorder::recover() {
  std::vector<SessionState> states = states_.load();
  std::map<Id, std::vector<SegmentPtr>> by_session;
  for (SegmentPtr& segment : spool_->recover()) by_session[segment->session].push_back(std::move(segment));
  for (SessionState& state : states) {
    const Id session = state.plan.session;
    std::vector<SegmentPtr> segments;
    if (auto node = by_session.extract(session)) segments = std::move(node.mapped());
    if (state.phase == Phase::completed && !segments.empty())
      completed_[session] = spool_->newest_file();
    else if (state.phase == Phase::completed || state.phase == Phase::lost)
      states_.remove(session);
    if (state.phase == Phase::completed || state.phase == Phase::lost) {
      for (SegmentPtr& segment : segments) spool_->release(*segment);
      continue;
    }
    take_up(std::move(state), segments);
  }
  for (auto& [session, segments] : by_session) {
    log_.error("the spool holds segments of a recording without a state file; they are sent, capture is not taken up",
               {{"session_id", session.text()}, {"segments", std::to_string(segments.size())}});
    for (SegmentPtr& segment : segments) sender_->enqueue(segment);
  }
  forget_completed();
}

// Nothing here waits for another service or for the display.
void Recorder::take_up(SessionState state, const std::vector<SegmentPtr>& segments) {
  const Id session = state.plan.session;
  auto entry = std::make_shared<Entry>();
  bool ended = false;
  const std::uint64_t committed_below = state.committed_below;
  for (const SegmentPtr& segment : segments) {
    state.next_sequence = std::max(state.next_sequence, segment->sequence + 1);
    state.last_ms = std::max(state.last_ms, segment->last_ms);
    state.fencing_token = std::max(state.fencing_token, segment->fencing_token);
    ended = ended || (segment->flags & recording::kEnd) != 0;
  }
  std::int64_t steady = started_steady_now(state, parts_.clock);
  entry->unsaved = state.boot_id != boot_id();
  state.started_steady_ms = steady;
  state.boot_id = boot_id();
  if (ended) state.phase = Phase::stopping;
  CaptureJob job;
  job.plan = state.plan;
  job.fencing_token = state.fencing_token;
  job.next_sequence = state.next_sequence;
  job.started_steady_ms = steady;
  job.resumed = CaptureJob::Resumed{state.last_ms, recording::GapReason::recorder_restart, ""};
  job.must_begin = false;
  job.paused = state.phase == Phase::paused;
  job.only_end = state.phase == Phase::stopping;
  job.open_for_ms = config_.reopen_ms;
  entry->state = std::move(state);
  {
    std::lock_guard lock(mutex_);
    entries_[session] = entry;
  }
  // Before capture begins: a session's segments are sent in the order in which they are queued.
  for (const SegmentPtr& segment : segments) {
    if (segment->sequence < committed_below)
      spool_->release(*segment);
    else
      sender_->enqueue(segment);
  }
  if (!ended) capture(entry, std::move(job));
  log_.info(ended ? "finishing a recording after a restart" : "recording taken up again after a restart",
            {{"session_id", session.text()}, {"segments", std::to_string(segments.size())}});
}

// The spool and its numbers were lost while no recorder ran: everything recorded since is dropped, and capture begins
// again behind what the processor has.
void Recorder::renumber(const Id& session, std::uint64_t next) {
  EntryPtr entry = find(session);
  if (!entry) return;
  std::lock_guard acting(entry->acting);
  CaptureJob job;
  std::shared_ptr<DisplayRecorder> old;
  {
    std::lock_guard lock(mutex_);
    SessionState& s = entry->state;
    if (!entry->capture || (s.phase != Phase::recording && s.phase != Phase::paused)) return;
    old = std::move(entry->capture);
    s.next_sequence = s.committed_below = next;
    entry->unsaved = true;
    job.plan = s.plan;
    job.fencing_token = s.fencing_token;
    job.next_sequence = next;
    job.started_steady_ms = s.started_steady_ms;
    job.resumed = CaptureJob::Resumed{s.last_ms, recording::GapReason::spool_lost, "the recorder's spool was lost"};
    job.must_begin = false;
    job.paused = s.phase == Phase::paused;
    job.open_for_ms = config_.reopen_ms;
  }
  old->abandon();
  old.reset();
  sender_->drop(session);
  capture(entry, std::move(job));
  try {
    save(entry);
  } catch (const Error& e) {
    log_.warn("new numbers of a recording could not be noted", {{"session_id", session.text()}, {"reason", e.what()}});
  }
}

void Recorder::forget_completed() {
  const std::uint64_t oldest = spool_->oldest_file();
  std::vector<Id> gone;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [session, file] : completed_)
      if (oldest > file) gone.push_back(session);
  }
  for (const Id& session : gone) {
    try {
      if (!find(session)) states_.remove(session);
      std::lock_guard lock(mutex_);
      completed_.erase(session);
    } catch (const Error& e) {
      log_.warn("state file of a completed recording not removed", {{"session_id", session.text()}, {"reason", e.what()}});
    }
  }
}

}  // namespace lucid::recorder
