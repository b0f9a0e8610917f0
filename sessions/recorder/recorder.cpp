#include "sessions/recorder/recorder.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "lib/recording/chunk.hpp"

namespace lucid::recorder {
namespace {

Error unknown(const Id& session) {
  return Error(ErrorKind::not_found, "recording_not_found", "this recorder holds no recording " + session.text());
}
Error not_recording(const Id& session) {
  return Error(ErrorKind::conflict, "not_recording", "recording " + session.text() + " is not being captured any more");
}

const char* state_name(Phase phase) {
  switch (phase) {
    case Phase::recording: return "recording";
    case Phase::paused: return "paused";
    case Phase::stopping:
    case Phase::completed: return "finishing";
    case Phase::lost: break;
  }
  return "lost";
}

}  // namespace

Recorder::Recorder(RecorderConfig config, RecorderParts parts)
    : config_(std::move(config)),
      parts_(std::move(parts)),
      metrics_(parts_.metrics),
      states_(config_.directory + "/sessions", parts_.files, log_) {
  config_.spool.directory = config_.directory + "/spool";
  spool_ = std::make_unique<Spool>(config_.spool, parts_.files, parts_.random, parts_.spool_key, log_,
                                   Spool::Hooks{[this](bool full) {
                                                  if (full) return;
                                                  std::lock_guard lock(mutex_);
                                                  for (auto& [id, entry] : entries_)
                                                    if (entry->capture) entry->capture->space_returned();
                                                },
                                                [this] { save_bounds(); }});
  Sender::Hooks hooks;
  hooks.committed = [this](const Segment& segment) { committed(segment); };
  hooks.released = [this](const Segment& segment) { released(segment); };
  hooks.lost = [this](const Id& session, std::uint64_t token, const Error& e) { lost(session, token, e.what()); };
  hooks.renumber = [this](const Id& session, std::uint64_t next) { renumber(session, next); };
  hooks.hole = [this](const Id& session) {
    std::lock_guard lock(mutex_);
    if (auto at = entries_.find(session); at != entries_.end() && at->second->capture) at->second->capture->renew_picture();
  };
  hooks.before_sending_from_memory = [this](const Segment& segment) {
    EntryPtr entry = find(segment.session);
    if (!entry) return;
    {
      std::lock_guard lock(mutex_);
      entry->state.next_sequence = std::max(entry->state.next_sequence, segment.sequence + 1);
      entry->state.last_ms = std::max(entry->state.last_ms, segment.last_ms);
    }
    save(entry);
  };
  sender_ = std::make_unique<Sender>(config_.sender, parts_.processor, *spool_, log_, std::move(hooks));
  herald_ = std::make_unique<Herald>(
      parts_.pipeline, log_,
      Herald::Hooks{[this] { return beats(); },
                    [this](const contracts::BeatAnswer& answer) {
                      for (const auto* ids : {&answer.lost, &answer.unknown})
                        for (const Id& id : *ids)
                          if (auto at = beaten_.find(id); at != beaten_.end())
                            lost(id, at->second,
                                 ids == &answer.lost ? "the pipeline gave it to another recorder" : "the pipeline does not know it");
                    }},
      config_.heartbeat);
  exposure_ = std::make_unique<runtime::Exposure>(parts_.metrics, [this] { update_gauges(); });
  recover();
  herald_->wake();
}

Recorder::~Recorder() {
  exposure_.reset();
  std::vector<std::shared_ptr<DisplayRecorder>> captures;
  {
    std::lock_guard lock(mutex_);
    for (auto& [id, entry] : entries_) captures.push_back(std::move(entry->capture));
  }
  captures.clear();  // each flushes into the spool and the sender's queue
  herald_.reset();
  try {
    save_bounds();
  } catch (const Error& e) { log_.warn("state of recordings not saved at the end", {{"reason", e.what()}}); }
  sender_.reset();
  spool_.reset();
}

Recorder::EntryPtr Recorder::find(const Id& session) const {
  std::lock_guard lock(mutex_);
  auto at = entries_.find(session);
  return at == entries_.end() ? nullptr : at->second;
}

std::shared_ptr<DisplayRecorder> Recorder::capture_of(const Id& session, const EntryPtr& entry) const {
  std::lock_guard lock(mutex_);
  if (!entry->capture) throw not_recording(session);
  return entry->capture;
}

std::shared_ptr<DisplayRecorder> Recorder::capture(const EntryPtr& entry, CaptureJob job) {
  const Id session = job.plan.session;
  DisplayRecorder::Hooks hooks;
  hooks.closed = [this](const SegmentPtr& segment) { sender_->enqueue(segment); };
  hooks.ended = [this, session](recording::EndReason reason, const std::string& detail) { ended(session, reason, detail); };
  hooks.report = [this, session](const std::string& event, const std::string& detail) { herald_->report(session, event, detail); };
  auto made = std::make_shared<DisplayRecorder>(std::move(job), *spool_, parts_.clock, metrics_, log_, std::move(hooks));
  std::lock_guard lock(mutex_);
  return entry->capture = std::move(made);
}

// ---- requests ------------------------------------------------------------------------------------------------------

contracts::Started Recorder::start(const contracts::RecordingPlan& plan, const contracts::Granted& granted) {
  Claim claimed = claim(plan, granted);
  const EntryPtr& entry = claimed.entry;
  if (claimed.running) {
    save(entry);
    return {entry->state.started_wall_ms, entry->state.started_steady_ms};
  }
  try {
    return begin(entry, granted, claimed.last_ms);
  } catch (...) {
    std::shared_ptr<DisplayRecorder> failed;
    {
      std::lock_guard lock(mutex_);
      failed = std::move(entry->capture);
      entries_.erase(plan.session);
    }
    failed.reset();
    sender_->drop(plan.session);
    try {
      states_.remove(plan.session);
    } catch (const Error& e) {
      log_.warn("state of a recording that never began not removed", {{"session_id", plan.session.text()}, {"reason", e.what()}});
    }
    throw;
  }
}

// The session's entry with `acting` held: one that records already under this token, or a new one in place of whatever
// was there under another. `last_ms`: how far this recorder knows the session's time, or -1.
Recorder::Claim Recorder::claim(const contracts::RecordingPlan& plan, const contracts::Granted& granted) {
  Claim claimed;
  for (;;) {
    auto fresh = std::make_shared<Entry>();
    fresh->state.plan = plan;
    fresh->state.fencing_token = granted.fencing_token;
    std::unique_lock own(fresh->acting);
    {
      std::lock_guard lock(mutex_);
      auto [at, inserted] = entries_.try_emplace(plan.session, fresh);
      claimed.entry = at->second;
      if (inserted) {
        claimed.acting = std::move(own);
        return claimed;
      }
    }
    claimed.acting = std::unique_lock(claimed.entry->acting);
    std::shared_ptr<DisplayRecorder> old;
    {
      std::lock_guard lock(mutex_);
      const EntryPtr& entry = claimed.entry;
      auto at = entries_.find(plan.session);
      if (at == entries_.end() || at->second != entry) continue;  // it failed or ended while we waited
      Phase phase = entry->state.phase;
      if (entry->state.fencing_token == granted.fencing_token && phase != Phase::lost) {
        if (!entry->capture || phase == Phase::stopping) throw not_recording(plan.session);
        claimed.running = true;
        return claimed;
      }
      // The pipeline gave us a newer lease (it restarted while we recorded). Unless someone else recorded in between,
      // the recording goes on as it is: tokens of one holder stay valid.
      if (entry->capture && (phase == Phase::recording || phase == Phase::paused) && granted.fencing_token > entry->state.fencing_token &&
          granted.next_sequence <= entry->capture->next_sequence()) {
        entry->state.fencing_token = granted.fencing_token;
        entry->unsaved = true;
        entry->capture->adopt(granted.fencing_token);
        claimed.running = true;
        return claimed;
      }
      claimed.last_ms = std::max(claimed.last_ms, entry->state.last_ms);
      old = std::move(entry->capture);
      entries_.erase(at);
    }
    log_.warn("a recording begins anew under another lease; what was not committed is dropped", {{"session_id", plan.session.text()}});
    if (old) old->abandon();
    old.reset();
    sender_->drop(plan.session);
  }
}

contracts::Started Recorder::begin(const EntryPtr& entry, const contracts::Granted& granted, std::int64_t last_ms) {
  const contracts::RecordingPlan plan = entry->state.plan;
  const std::int64_t steady = parts_.clock.steady_ms(), wall = parts_.clock.wall_ms();
  // fail_mode open: how long the desktop has gone on without us.
  const std::int64_t unrecorded_ms =
      plan.waits_until_wall_ms != 0 ? std::clamp<std::int64_t>(wall - plan.waits_until_wall_ms, 0, steady) : 0;
  {
    std::lock_guard lock(mutex_);
    SessionState& s = entry->state;
    s.started_wall_ms = plan.started_wall_ms != 0 ? plan.started_wall_ms : wall - unrecorded_ms;
    s.started_steady_ms = steady - unrecorded_ms;
    if (plan.started_wall_ms != 0) {
      // The plan's steady time counts from the boot of the machine that recorded first; the wall clock tells whether
      // that is this one's.
      std::int64_t by_wall = steady - std::max<std::int64_t>(wall - plan.started_wall_ms, 0);
      bool same_boot = std::abs(by_wall - plan.started_steady_ms) < 60'000 && plan.started_steady_ms <= steady;
      s.started_steady_ms = same_boot ? plan.started_steady_ms : by_wall;
    }
    s.boot_id = boot_id();
    s.next_sequence = s.committed_below = granted.next_sequence;
    s.phase = Phase::recording;
  }
  save(entry);
  CaptureJob job;
  job.plan = plan;
  job.fencing_token = granted.fencing_token;
  job.next_sequence = granted.next_sequence;
  job.started_steady_ms = entry->state.started_steady_ms;
  if (granted.next_sequence > 0) {
    // Recorded before, by us or by another recorder. Where nothing is known of its end the gap has no length.
    std::int64_t now_ms = std::max<std::int64_t>(steady - job.started_steady_ms, 0);
    job.resumed =
        CaptureJob::Resumed{last_ms >= 0 ? std::min(last_ms, now_ms) : now_ms, recording::GapReason::other, "taken up under a new lease"};
  }
  if (granted.next_sequence == 0 && unrecorded_ms > 0)
    job.resumed = CaptureJob::Resumed{0, recording::GapReason::other, "the desktop began unrecorded"};
  capture(entry, std::move(job))->begin_wait();
  herald_->wake();
  log_.info("recording", {{"session_id", plan.session.text()}, {"display", plan.target.display}});
  return {entry->state.started_wall_ms, entry->state.started_steady_ms};
}

void Recorder::pause(const Id& session) {
  EntryPtr entry = find(session);
  if (!entry) throw unknown(session);
  std::lock_guard acting(entry->acting);
  capture_of(session, entry)->pause();
  set_phase(entry, Phase::paused);
}

void Recorder::resume(const Id& session) {
  EntryPtr entry = find(session);
  if (!entry) throw unknown(session);
  std::lock_guard acting(entry->acting);
  capture_of(session, entry)->resume();
  set_phase(entry, Phase::recording);
}

void Recorder::stop(const Id& session) {
  EntryPtr entry = find(session);
  if (!entry) {
    std::lock_guard lock(mutex_);
    if (completed_.contains(session)) return;
    throw unknown(session);
  }
  std::lock_guard acting(entry->acting);
  std::shared_ptr<DisplayRecorder> capture;
  {
    std::lock_guard lock(mutex_);
    if (entry->state.phase == Phase::lost) throw not_recording(session);
    capture = entry->capture;
    if (!capture) return;  // it has ended; its segments drain
  }
  set_phase(entry, Phase::stopping);  // first: a crash from here on must not go on recording
  try {
    capture->stop();
  } catch (const Error& e) {
    if (e.code() != "not_recording") throw;  // it has ended already
  }
}

// ---- what happens to recordings ------------------------------------------------------------------------------------

void Recorder::set_phase(const EntryPtr& entry, Phase phase) {
  {
    std::lock_guard lock(mutex_);
    Phase& now = entry->state.phase;
    // Ending wins over whatever was asked meanwhile.
    if (now == phase || now == Phase::lost || now == Phase::completed || (now == Phase::stopping && phase != Phase::completed)) return;
    now = phase;
  }
  save(entry);
}

void Recorder::save(const EntryPtr& entry) {
  std::lock_guard one(saving_);
  SessionState state;
  {
    std::lock_guard lock(mutex_);
    state = entry->state;
    entry->unsaved = false;
  }
  try {
    states_.save(state);
  } catch (const Error&) {
    std::lock_guard lock(mutex_);
    entry->unsaved = true;
    throw;
  }
}

void Recorder::save_bounds() {
  std::vector<EntryPtr> unsaved;
  {
    std::lock_guard lock(mutex_);
    for (auto& [id, entry] : entries_)
      if (entry->unsaved) unsaved.push_back(entry);
  }
  for (const EntryPtr& entry : unsaved) save(entry);
}

void Recorder::committed(const Segment& segment) {
  metrics_.committed.add();
  EntryPtr entry = find(segment.session);
  if (!entry) return;
  {
    std::lock_guard lock(mutex_);
    SessionState& s = entry->state;
    s.committed_below = std::max(s.committed_below, segment.sequence + 1);
    s.next_sequence = std::max(s.next_sequence, segment.sequence + 1);
    s.last_ms = std::max(s.last_ms, segment.last_ms);
    entry->unsaved = true;
  }
  if ((segment.flags & recording::kEnd) == 0) return;
  try {
    set_phase(entry, Phase::completed);
  } catch (const Error& e) {
    log_.warn("the end of a recording could not be noted", {{"session_id", segment.session.text()}, {"reason", e.what()}});
  }
  retire(entry);
}

void Recorder::retire(const EntryPtr& entry) {
  std::shared_ptr<DisplayRecorder> capture;
  {
    std::lock_guard lock(mutex_);
    capture = std::move(entry->capture);
    const Id& session = entry->state.plan.session;
    completed_[session] = spool_->newest_file();
    entries_.erase(session);
  }
  log_.info("recording complete: every segment is committed", {{"session_id", entry->state.plan.session.text()}});
}

void Recorder::released(const Segment& segment) {
  if (segment.flags & recording::kEnd) {
    bool idle = false;
    {
      std::lock_guard lock(mutex_);
      idle = std::all_of(entries_.begin(), entries_.end(), [](const auto& e) { return e.second->state.phase == Phase::lost; });
    }
    if (idle) spool_->rotate_if_empty();
  }
  forget_completed();
}

void Recorder::lost(const Id& session, std::uint64_t fencing_token, const std::string& why) {
  EntryPtr entry = find(session);
  if (!entry) return;
  {
    std::lock_guard lock(mutex_);
    if (entry->state.fencing_token != fencing_token || entry->state.phase == Phase::lost) return;
    entry->state.phase = Phase::lost;
    entry->problem = why;
    if (entry->capture) entry->capture->abandon();
  }
  log_.error("recording given up", {{"session_id", session.text()}, {"reason", why}});
  sender_->drop(session);
  try {
    save(entry);
  } catch (const Error& e) {
    log_.warn("the loss of a recording could not be noted", {{"session_id", session.text()}, {"reason", e.what()}});
  }
}

void Recorder::ended(const Id& session, recording::EndReason reason, const std::string& detail) {
  herald_->report(session, "ended", detail);
  EntryPtr entry = find(session);
  if (!entry) return;
  {
    std::lock_guard lock(mutex_);
    if (reason != recording::EndReason::stopped) entry->problem = detail;
  }
  try {
    set_phase(entry, Phase::stopping);
  } catch (const Error& e) { log_.warn("the end of capture could not be noted", {{"session_id", session.text()}, {"reason", e.what()}}); }
}

// ---- what others see -----------------------------------------------------------------------------------------------

std::string Recorder::alarm_of(const Entry& entry) const {
  if (!entry.capture || !entry.capture->starved()) return "";
  return spool_->problem_kind().value_or(ErrorKind::storage_full) == ErrorKind::storage_full ? "disk_full" : "spool_error";
}

std::vector<RecordingInfo> Recorder::list() const {
  std::lock_guard lock(mutex_);
  std::vector<RecordingInfo> out;
  for (const auto& [session, entry] : entries_)
    out.push_back({session, state_name(entry->state.phase), entry->capture ? entry->capture->frames() : 0, sender_->backlog(session),
                   alarm_of(*entry), entry->state.plan.target.display, entry->capture ? entry->capture->last_input_wall_ms() : 0});
  return out;
}

std::vector<contracts::Beat> Recorder::beats() {
  std::vector<contracts::Beat> out;
  std::lock_guard lock(mutex_);
  beaten_.clear();
  for (const auto& [session, entry] : entries_) {
    if (entry->state.phase == Phase::lost) continue;
    beaten_[session] = entry->state.fencing_token;
    out.push_back({session, entry->state.fencing_token, sender_->backlog(session), state_name(entry->state.phase), alarm_of(*entry)});
  }
  return out;
}

void Recorder::update_gauges() {
  metrics_.backlog.set(static_cast<double>(sender_->backlog()));
  metrics_.oldest_segment_age_seconds.set(static_cast<double>(sender_->waiting_ms()) / 1000);
  metrics_.spool_bytes.set(static_cast<double>(spool_->bytes()));
  metrics_.memory_bytes.set(static_cast<double>(spool_->memory_bytes()));
  std::lock_guard lock(mutex_);
  metrics_.recordings.set(static_cast<double>(entries_.size()));
}

std::optional<std::string> Recorder::backlog_problem() const {
  std::int64_t waiting = sender_->waiting_ms();
  if (waiting < config_.backlog_alarm_ms) return std::nullopt;
  return fmt::format("{} segments wait for the chunk-processor, the oldest for {} s; they are kept in the spool", sender_->backlog(),
                     waiting / 1000);
}

std::optional<std::string> Recorder::display_problem() const {
  std::lock_guard lock(mutex_);
  std::size_t suspended = 0;
  for (const auto& [session, entry] : entries_) suspended += entry->capture && entry->capture->starved() ? 1 : 0;
  if (suspended == 0) return std::nullopt;
  return fmt::format("{} of {} recordings are suspended because the spool has no room", suspended, entries_.size());
}

}  // namespace lucid::recorder
