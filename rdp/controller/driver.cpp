// Workers that take sessions forward: the record says which step is next, the step is done, its result is kept, and so on. One worker a
// session at a time. What fails for a moment is tried again with back-off; what is refused, or fails for longer than its patience, ends the
// session.
#include <algorithm>
#include <array>

#include "rdp/controller/session.hpp"

namespace lucid::controller {
namespace {

constexpr std::size_t kMaxCause = 600;
constexpr int kDisplayRefusals = 3;

// Refusals that no waiting mends.
// What a desktop takes while somebody works in it; its limits are far above that.
constexpr int kDesktopMillicores = 200;
constexpr std::int64_t kDesktopMemoryMb = 512;

bool is_final(const Error& e) {
  constexpr std::array<std::string_view, 3> kFinal{"package_missing", "not_root", "sesman_port_taken"};
  switch (e.kind()) {
    case ErrorKind::unavailable: return std::find(kFinal.begin(), kFinal.end(), e.code()) != kFinal.end();
    case ErrorKind::timeout:
    case ErrorKind::rate_limited:
    case ErrorKind::internal:
    case ErrorKind::storage_full: return false;
    default: return true;
  }
}

std::string cause_of(const std::string& word, const Error& e) { return to_utf8(word + ": " + e.what(), kMaxCause); }

}  // namespace

void Controller::wake(const Id& session) {
  {
    std::lock_guard lock(work_mutex_);
    Work& w = work_[session];
    w.due = std::chrono::steady_clock::now();
    w.attempt = 0;
    w.again = w.running;
  }
  work_changed_.notify_one();
}

void Controller::work_loop() {
  std::unique_lock lock(work_mutex_);
  while (!stopping_) {
    auto due = work_.end();
    for (auto it = work_.begin(); it != work_.end(); ++it)
      if (!it->second.running && (due == work_.end() || it->second.due < due->second.due)) due = it;
    if (due == work_.end()) {
      work_changed_.wait(lock);
      continue;
    }
    if (auto when = due->second.due; when > std::chrono::steady_clock::now()) {
      work_changed_.wait_until(lock, when);  // a copy: another worker may remove the entry meanwhile
      continue;
    }
    Id session = due->first;
    int attempt = due->second.attempt;
    due->second.running = true;
    lock.unlock();
    Delay delay;
    if (auto s = find(session)) {
      try {
        delay = advance(s, attempt);
      } catch (const std::exception& e) {  // our own documents: nothing was kept, so nothing is lost by doing it again
        log_.error("a step of a session could not be kept", {{"session_id", session.text()}, {"reason", e.what()}});
        delay = config_.last_retry_ms;
      }
    }
    lock.lock();
    Work& w = work_[session];
    w.running = false;
    if (w.again) {
      w.again = false;
    } else if (delay) {
      w.due = std::chrono::steady_clock::now() + std::chrono::milliseconds(*delay);
      w.attempt = attempt + 1;
    } else {
      work_.erase(session);
    }
    work_changed_.notify_one();
  }
}

Controller::Delay Controller::advance(const SessionPtr& s, int attempt) {
  for (;; attempt = 0) {
    if (stopping_) return std::nullopt;
    Step step = Step::none;
    bool check = false, over = false;
    {
      std::lock_guard lock(s->mutex);
      over = is_over(s->record.state);
      step = next_step(s->record);
      if (step != s->step) {
        s->step = step;
        s->step_since_ms = clock_.steady_ms();
        attempt = 0;
      }
      std::swap(check, s->check_recording);
    }
    try {
      if (check) {
        check_recording(*s);
        continue;
      }
      if (step == Step::none) {
        if (over) forget(*s);
        return std::nullopt;
      }
      Delay delay = perform(s, step);
      if (delay) return *delay < 0 ? std::nullopt : delay;
    } catch (const Error& e) { return failed(s, step, e, attempt); }
  }
}

// nullopt: done, on to the next; negative: nothing to do until woken.
Controller::Delay Controller::perform(const SessionPtr& s, Step step) {
  switch (step) {
    case Step::place: place(*s); break;
    case Step::create_server: create_server(*s); break;
    case Step::start_server: start_server(*s); break;
    case Step::wait_display: return wait_display(*s);
    case Step::start_recording: return start_recording(*s);
    case Step::pause_recording: pause_recording(*s); break;
    case Step::release: release(*s); break;
    case Step::kill_connections: kill_connections(*s); break;
    case Step::refuse_desktop: refuse_desktop(*s); break;
    case Step::stop_recording: return stop_recording(*s);
    case Step::stop_server: stop_server(*s); break;
    case Step::remove_server: remove_server(*s); break;
    case Step::release_node: release_node(*s); break;
    case Step::finish: finish(*s); break;
    case Step::none: break;
  }
  return std::nullopt;
}

Controller::Delay Controller::failed(const SessionPtr& s, Step step, const Error& error, int attempt) {
  metrics_.step_failures.add();
  std::int64_t delay = std::min(config_.first_retry_ms << std::min(attempt, 10), config_.last_retry_ms);
  log_.warn("a step of a session failed", {{"session_id", s->id.text()}, {"step", name(step)}, {"reason", error.what()}});
  std::lock_guard lock(s->mutex);
  Record& r = s->record;
  if (is_over(r.state)) return delay;
  std::int64_t waited = clock_.steady_ms() - s->step_since_ms;
  if (r.state == State::ending) {
    if (step == Step::kill_connections && waited >= config_.kill_patience_ms) update(*s, [](Record& next) { next.kill_later = true; });
    if (step == Step::stop_recording && waited >= config_.recording_end_ms) update(*s, [](Record& next) { next.recording_later = true; });
    // Its own look at its nodes' sessions frees the place in the end.
    if (step == Step::release_node && waited >= config_.kill_patience_ms) update(*s, [](Record& next) { next.node_released = true; });
    return delay;
  }
  switch (step) {
    case Step::place:
      if (error.kind() == ErrorKind::conflict || waited >= config_.server_patience_ms) end(*s, cause_of(error.code(), error), true);
      break;
    case Step::create_server:
    case Step::start_server:
      if (is_final(error))
        end(*s, cause_of(error.code(), error), true);
      else if (waited >= config_.server_patience_ms)
        end(*s, cause_of("server_unavailable", error), true);
      break;
    case Step::wait_display:
      if (is_final(error))
        end(*s, cause_of(error.kind() == ErrorKind::not_found ? "server_lost" : "display_unavailable", error), true);
      else if (!is_named(r) && waited >= config_.display_timeout_ms)
        end(*s, cause_of("display_unavailable", error), true);
      break;
    case Step::start_recording:
      if (r.request.fail_open) break;  // look_at_limits lets the desktop go when it is time
      if (waited >= config_.recording_timeout_ms) end(*s, cause_of("recording_failed", error), true);
      break;
    case Step::release:
      if (is_final(error)) end(*s, cause_of("server_lost", error), true);
      break;
    default: break;
  }
  return delay;
}

// Which node carries the session. Desktops do not wait for the keeping of scores: where node-management is away they go on without.
void Controller::place(Session& s) {
  std::optional<contracts::Placement> placement;
  try {
    placement = nodes_.place({.session = s.id, .cpu_millicores = kDesktopMillicores, .memory_mb = kDesktopMemoryMb});
  } catch (const Error& e) {
    if (e.code() != "unreachable") throw;
    log_.debug("no node-management to place the session", {{"session_id", s.id.text()}});
  }
  std::lock_guard lock(s.mutex);
  if (s.record.state == State::ending && !placement) return;
  update(s, [&](Record& r) {
    r.placed = true;
    if (placement) r.node = placement->node;
  });
}

void Controller::create_server(Session& s) {
  contracts::ServerRequest request;
  {
    std::lock_guard lock(s.mutex);
    if (s.record.state == State::ending) return;  // stopped before anything was asked for
    if (!s.record.server_asked)
      update(s, [&](Record& r) {
        move(r, Trigger::begin);
        r.server_asked = true;
      });
    const contracts::RdpTarget& target = s.record.request.target;
    request.id = s.id;
    request.account = target.account;
    request.desktop = target.desktop;
    request.width = target.width;
    request.height = target.height;
    request.color_depth = target.color_depth;
  }
  contracts::ServerStatus status = servers_.create(request);
  std::lock_guard lock(s.mutex);
  update(s, [&](Record& r) {
    r.server_created = true;
    r.account = status.account.empty() ? r.request.target.account : status.account;
    r.server_port = status.port;
  });
}

void Controller::start_server(Session& s) {
  contracts::ServerStatus status = servers_.act(s.id, "start");
  std::lock_guard lock(s.mutex);
  update(s, [&](Record& r) {
    r.server_started = true;
    r.server_ready_wall_ms = clock_.wall_ms();
    r.server_port = status.port;
    if (!status.account.empty()) r.account = status.account;
    if (r.state != State::starting_server) return;  // it ends
    if (is_named(r)) {
      move(r, Trigger::login_ready);
      become_ready(s, r);
    } else {
      move(r, Trigger::server_ready);
    }
  });
  metrics_.to_server.observe(static_cast<double>(clock_.steady_ms() - s.created_steady_ms) / 1000.0);
}

Controller::Delay Controller::wait_display(Session& s) {
  bool named = false;
  {
    std::lock_guard lock(s.mutex);
    named = is_named(s.record);
    // X of a named account starts when the client logs in; opened() and the manager's event wake us.
    if (named && s.record.connections == 0) return -1;
  }
  contracts::ServerDisplay display;
  auto asked = std::chrono::steady_clock::now();
  try {
    display = servers_.wait_for_display(s.id, named ? 0 : static_cast<int>(config_.display_wait_ms));
  } catch (const Error& e) {
    if (e.code() != "display_unavailable") throw;
    if (named) {
      std::lock_guard lock(s.mutex);
      return s.record.live ? config_.named_display_ms : -1;
    }
    // An answer that did not wait is a refusal: X failed, and nobody starts it again.
    bool waited = std::chrono::steady_clock::now() - asked >= std::chrono::milliseconds(config_.display_wait_ms / 2);
    std::lock_guard lock(s.mutex);
    s.display_refusals = waited ? 0 : s.display_refusals + 1;
    if (s.display_refusals >= kDisplayRefusals) end(s, cause_of("display_unavailable", e), true);
    throw;
  }
  std::lock_guard lock(s.mutex);
  update(s, [&](Record& r) {
    r.display = display.display;
    r.xauthority = display.xauthority;
    r.display_wall_ms = clock_.wall_ms();
    if (r.state == State::waiting_display) move(r, Trigger::display);
  });
  if (!named) metrics_.to_display.observe(static_cast<double>(clock_.steady_ms() - s.created_steady_ms) / 1000.0);
  return std::nullopt;
}

Controller::Delay Controller::start_recording(Session& s) {
  contracts::RecordingPlan plan;
  {
    std::lock_guard lock(s.mutex);
    if (s.record.state == State::ending) return std::nullopt;
    if (!s.record.recording_asked) update(s, [&](Record& r) { r.recording_asked = true; });
    const Record& r = s.record;
    plan.session = s.id;
    plan.name = r.request.name;
    plan.target = {r.display, r.xauthority};
    plan.options = r.request.recording;
    plan.recipients = r.request.recipients;
    plan.created_wall_ms = r.created_wall_ms;
    if (r.request.fail_open) plan.waits_until_wall_ms = r.display_wall_ms + config_.recording_timeout_ms;
  }
  using PipelineState = contracts::PipelineState;
  contracts::RecordingStatus status = recordings_.create(plan);
  if (status.state == PipelineState::error) status = recordings_.act(s.id, "recover");
  if (status.state == PipelineState::created) status = recordings_.act(s.id, "start");
  switch (status.state) {
    case PipelineState::active: break;
    case PipelineState::created:
    case PipelineState::starting: throw Error(ErrorKind::unavailable, "recording_starting", "the recording has no first frame yet");
    default: {
      std::string what =
          "the recording is " + std::string(contracts::name(status.state)) + (status.cause.empty() ? "" : ": " + status.cause);
      std::lock_guard lock(s.mutex);
      // It will never be active again: no use in asking on.
      if (!s.record.request.fail_open) end(s, to_utf8("recording_failed: " + what, kMaxCause), true);
      if (s.record.released == Released::go) return -1;
      throw Error(ErrorKind::unavailable, "recording_failed", what);
    }
  }
  std::lock_guard lock(s.mutex);
  update(s, [&](Record& r) {
    r.recording_started = true;
    r.first_frame_wall_ms = status.started_wall_ms > 0 ? status.started_wall_ms : clock_.wall_ms();
  });
  s.recording_changed = ++sequence_;
  if (!is_named(s.record)) metrics_.to_first_frame.observe(static_cast<double>(clock_.steady_ms() - s.created_steady_ms) / 1000.0);
  return std::nullopt;
}

void Controller::pause_recording(Session& s) {
  std::lock_guard recording(s.recording_control);
  {
    std::lock_guard lock(s.mutex);
    if (s.record.state != State::paused) return;  // resumed meanwhile
  }
  try {
    recordings_.act(s.id, "pause");
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::conflict) throw;
    auto state = recordings_.status(s.id).state;
    if (state != contracts::PipelineState::paused && state != contracts::PipelineState::pausing) {
      // It ended under our hands: nothing left to pause.
      if (state == contracts::PipelineState::starting || state == contracts::PipelineState::active) throw;
    }
  }
  std::lock_guard lock(s.mutex);
  if (s.record.state == State::paused) update(s, [](Record& r) { r.recording_paused = true; });
}

void Controller::release(Session& s) {
  servers_.release(s.id, true);
  std::lock_guard lock(s.mutex);
  if (s.record.released == Released::go) return;
  update(s, [&](Record& r) {
    r.released = Released::go;
    if (r.state != State::starting_recording) return;
    move(r, Trigger::released);
    become_ready(s, r);
  });
}

// A session that nobody records: is it for a moment, was its pause not taken back, or has its recording ended for good?
void Controller::check_recording(Session& s) {
  using PipelineState = contracts::PipelineState;
  {
    std::lock_guard recording(s.recording_control);
    bool open = false;
    {
      std::lock_guard lock(s.mutex);
      if (!takes_clients(s.record.state)) return;
      open = s.record.request.fail_open;
    }
    PipelineState state = PipelineState::destroyed;
    try {
      state = recordings_.status(s.id).state;
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::not_found) throw;
    }
    if (state == PipelineState::paused) recordings_.act(s.id, "resume");
    bool ended = state == PipelineState::stopped || state == PipelineState::cleanup || state == PipelineState::destroyed ||
                 state == PipelineState::error;
    if (!ended || open) return;
  }
  check_server(s, "display_lost");  // if its display is gone, that is the reason
  std::lock_guard lock(s.mutex);
  end(s, "recording_ended: nobody will record this session any more", true);
}

}  // namespace lucid::controller
