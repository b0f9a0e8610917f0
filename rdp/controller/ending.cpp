// The end of a session, in the order that loses nothing: no byte passes, a desktop that never began is refused, the recording gets its end
// while its display is still there, then server, account and display go. Each step may be repeated.
#include <algorithm>

#include "rdp/controller/session.hpp"

namespace lucid::controller {
namespace {

bool is_gone(const Error& e) { return e.kind() == ErrorKind::not_found; }

}  // namespace

void Controller::kill_connections(Session& s) {
  std::string cause;
  std::vector<Id> admitted;
  {
    std::lock_guard lock(s.mutex);
    cause = short_cause(s.record.cause);
    if (s.record.live) admitted.push_back(*s.record.live);
    if (s.record.opening) admitted.push_back(s.record.opening->connection);
  }
  // Also those the gateway has admitted and does not list yet.
  for (const contracts::Connection& c : gateway_.connections())
    if (c.session == s.id && std::find(admitted.begin(), admitted.end(), c.id) == admitted.end()) admitted.push_back(c.id);
  for (const Id& id : admitted) {
    try {
      gateway_.kill(id, cause);
    } catch (const Error& e) {
      if (!is_gone(e)) throw;
    }
  }
  std::lock_guard lock(s.mutex);
  if (!s.record.killed && !is_over(s.record.state)) update(s, [](Record& r) { r.killed = true; });
}

void Controller::refuse_desktop(Session& s) {
  try {
    servers_.release(s.id, false);
  } catch (const Error& e) {
    // The end of its server, which follows, ends the hook as well.
    log_.warn("start hook not told of the refusal", {{"session_id", s.id.text()}, {"reason", e.what()}});
  }
  std::lock_guard lock(s.mutex);
  update(s, [](Record& r) { r.refused = true; });
}

Controller::Delay Controller::stop_recording(Session& s) {
  using PipelineState = contracts::PipelineState;
  bool patient = false;
  std::int64_t waited = 0;
  {
    std::lock_guard lock(s.mutex);
    patient = !s.record.server_removed;
    waited = clock_.steady_ms() - s.step_since_ms;
  }
  PipelineState state = PipelineState::stopped;
  try {
    state = recordings_.act(s.id, "stop").state;
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::conflict)
      state = recordings_.status(s.id).state;
    else if (!is_gone(e))  // gone: it never was
      throw;
  }
  // While it stops, the recorder still needs the display for the last frames; but not for ever.
  if ((state == PipelineState::stopping || state == PipelineState::starting || state == PipelineState::active) && patient &&
      waited < config_.recording_end_ms)
    return config_.first_retry_ms;
  std::lock_guard lock(s.mutex);
  update(s, [](Record& r) { r.recording_stopped = true; });
  return std::nullopt;
}

void Controller::stop_server(Session& s) {
  bool gone = false;
  try {
    servers_.act(s.id, "stop");
  } catch (const Error& e) {
    gone = is_gone(e);
    if (!gone) throw;
  }
  std::lock_guard lock(s.mutex);
  update(s, [&](Record& r) {
    r.server_stopped = true;
    r.server_removed = gone;
  });
}

void Controller::remove_server(Session& s) {
  try {
    servers_.remove(s.id);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::conflict) {  // running again
      std::lock_guard lock(s.mutex);
      update(s, [](Record& r) { r.server_stopped = false; });
      throw Error(ErrorKind::unavailable, e.code(), e.what());
    }
    if (!is_gone(e)) throw;
  }
  std::lock_guard lock(s.mutex);
  update(s, [](Record& r) { r.server_removed = true; });
}

void Controller::release_node(Session& s) {
  try {
    nodes_.release(s.id);
  } catch (const Error& e) {
    std::lock_guard lock(s.mutex);
    if (!is_gone(e) && (s.record.node || e.code() != "unreachable")) throw;
  }
  std::lock_guard lock(s.mutex);
  update(s, [](Record& r) { r.node_released = true; });
}

void Controller::finish(Session& s) {
  std::lock_guard lock(s.mutex);
  update(s, [&](Record& r) {
    r.closed_up += s.live_up;
    r.closed_down += s.live_down;
    r.live.reset();
    r.opening.reset();
    r.frozen = false;
    r.ended_wall_ms = clock_.wall_ms();
    move(r, r.failing ? Trigger::failed : Trigger::ended, r.cause);
  });
  s.live_up = s.live_down = 0;
  metrics_.ended(s.record.cause);
  log_.info(s.record.failing ? "session failed" : "session ended", {{"session_id", s.id.text()}, {"cause", s.record.cause}});
}

void Controller::forget(Session& s) {
  documents_.remove(kLive, s.id.text());
  std::lock_guard lock(mutex_);
  sessions_.erase(s.id);
}

}  // namespace lucid::controller
