// Three threads that look at what may change by itself: the recorder (is every live session recorded?) with the limits of sessions, the
// gateway (who is connected, does every relay stand still that must?), and the server manager's events. A peer that is away is asked
// again; nothing happens to live sessions because of it, except that nobody who may only work recorded goes on unrecorded.
#include <algorithm>

#include "rdp/controller/session.hpp"

namespace lucid::controller {
namespace {

constexpr std::int64_t kKeepActivityMs = 15'000;  // how stale the stored last input may be
constexpr std::int64_t kRecheckMs = 1'000;
constexpr std::int64_t kManagerAwayMs = 500;
constexpr std::int64_t kMinPollMs = 20;  // between two answers without events

// Words of the manager for a desktop that its user left; anything else that ends a display is a loss.
bool is_orderly(const std::string& cause) { return cause == "logged_out" || cause == "client"; }

}  // namespace

bool Controller::rest(std::int64_t ms) {
  std::unique_lock lock(rest_mutex_);
  rest_changed_.wait_for(lock, std::chrono::milliseconds(ms), [&] { return stopping_.load(); });
  return !stopping_;
}

void Controller::gateway_due() {
  {
    std::lock_guard lock(rest_mutex_);
    gateway_due_ = true;
  }
  rest_changed_.notify_all();
}

void Controller::start_watching() {
  threads_.emplace_back([this] { watch_recorder(); });
  threads_.emplace_back([this] { watch_gateway(); });
  threads_.emplace_back([this] { watch_servers(); });
}

void Controller::watch_recorder() {
  do {
    try {
      look_at_recorder();
    } catch (const std::exception& e) { log_.error("sessions could not be looked at", {{"reason", e.what()}}); }
  } while (rest(config_.poll_ms));
}

void Controller::look_at_recorder() {
  std::uint64_t asked = ++sequence_;
  std::map<Id, contracts::RecorderView> held;
  bool away = false;
  try {
    for (contracts::RecorderView& view : recordings_.held()) held.emplace(view.session, std::move(view));
  } catch (const Error& e) {
    away = true;
    if (!recorder_away_) log_.warn("session-recorder does not answer", {{"reason", e.what()}});
  }
  recorder_away_ = away;
  if (!away) recorder_seen_ = true;
  for (const SessionPtr& s : all()) {
    judge_recording(*s, away ? nullptr : &held, asked);
    look_at_limits(*s);
  }
  totals();
}

void Controller::judge_recording(Session& s, const std::map<Id, contracts::RecorderView>* held, std::uint64_t asked) {
  std::lock_guard lock(s.mutex);
  if (!takes_clients(s.record.state) || !s.record.recording_started) return;
  const contracts::RecorderView* view = nullptr;
  if (held != nullptr)
    if (auto it = held->find(s.id); it != held->end()) view = &it->second;
  if (view != nullptr && view->last_input_wall_ms > s.record.active_wall_ms) {
    s.record.active_wall_ms = view->last_input_wall_ms;
    if (s.record.active_wall_ms - s.stored_active_wall_ms >= kKeepActivityMs) {
      update(s, [](Record&) {});
      s.stored_active_wall_ms = s.record.active_wall_ms;
    }
  }
  if (asked < s.recording_changed) return;
  s.recorded = view != nullptr && view->state == "recording" && view->alarm.empty();
  std::int64_t now = clock_.steady_ms();
  if (s.recorded) s.unrecorded_since_ms = now;
  // The recorder answers and does not record it: perhaps for good.
  if (!s.recorded && held != nullptr && now - s.unrecorded_since_ms >= kRecheckMs) {
    s.unrecorded_since_ms = now;
    s.check_recording = true;
    wake(s.id);
  }
  if (s.record.request.fail_open) return;
  if (!s.recorded && !s.record.frozen) {
    s.frozen_steady_ms = now;
    update(s, [](Record& r) { r.frozen = true; });
    metrics_.freezes.add();
    log_.warn("nobody records the session: its relay stands still", {{"session_id", s.id.text()}});
    gateway_due();
  } else if (s.recorded && s.record.frozen) {
    update(s, [&](Record& r) {
      r.frozen = false;
      r.active_wall_ms = clock_.wall_ms();  // nobody could do anything meanwhile
      if (!r.live) r.disconnected_wall_ms = clock_.wall_ms();
    });
    log_.info("the session is recorded again", {{"session_id", s.id.text()}});
    gateway_due();
  }
}

void Controller::look_at_limits(Session& s) {
  std::lock_guard lock(s.mutex);
  const Record& r = s.record;
  if (r.state == State::ending || is_over(r.state)) return;
  s.let_go = r.request.fail_open && s.step == Step::start_recording && r.released == Released::none &&
             clock_.steady_ms() - s.step_since_ms >= config_.recording_timeout_ms;
  std::int64_t now = clock_.wall_ms();
  auto passed = [&](std::int64_t since, std::int64_t ms) { return since > 0 && now - since >= ms; };
  std::int64_t began = r.first_frame_wall_ms > 0 ? r.first_frame_wall_ms : r.released == Released::go ? r.ready_wall_ms : 0;
  if (r.request.max_duration > 0 && passed(began, r.request.max_duration * 1000)) {
    end(s, "max_duration", false);
    return;
  }
  // Whoever is kept out or held still can neither come back nor do anything.
  if (!takes_clients(r.state) || r.frozen) return;
  std::int64_t active = std::max(r.active_wall_ms, r.ready_wall_ms);
  if (!s.recorded) active = std::max(active, s.last_up_wall_ms);
  bool known = recorder_seen_ || !r.recording_started;
  bool nobody = !r.live && !r.opening;
  if (r.request.idle_timeout > 0 && known && passed(active, r.request.idle_timeout * 1000))
    end(s, "idle_timeout", false);
  else if (nobody && r.connections == 0 && passed(r.ready_wall_ms, config_.connect_timeout_ms))
    end(s, "connect_timeout", false);
  else if (nobody && r.connections > 0 && passed(r.disconnected_wall_ms, config_.disconnect_grace_ms))
    end(s, "client", false);
}

void Controller::watch_gateway() {
  while (!stopping_) {
    try {
      look_at_gateway();
    } catch (const std::exception& e) { log_.error("connections could not be looked at", {{"reason", e.what()}}); }
    std::unique_lock lock(rest_mutex_);
    rest_changed_.wait_for(lock, std::chrono::milliseconds(config_.poll_ms), [&] { return stopping_ || gateway_due_; });
    gateway_due_ = false;
  }
}

void Controller::look_at_gateway() {
  std::uint64_t asked = ++sequence_;
  std::map<Id, std::vector<contracts::Connection>> by_session;
  try {
    for (contracts::Connection& c : gateway_.connections()) by_session[c.session].push_back(std::move(c));
    gateway_away_ = false;
  } catch (const Error& e) {
    if (!gateway_away_.exchange(true)) log_.warn("xrdp-integration does not answer", {{"reason", e.what()}});
    return;
  }
  for (const SessionPtr& s : all()) {
    auto mine = by_session.extract(s->id);
    judge_connections(*s, mine.empty() ? std::vector<contracts::Connection>{} : mine.mapped(), asked);
  }
  // What is left belongs to no live session: nobody answers for it.
  for (const auto& [id, connections] : by_session) {
    if (find(id)) continue;  // created meanwhile
    for (const contracts::Connection& c : connections) {
      try {
        gateway_.kill(c.id, "session_ended");
      } catch (const Error& e) { log_.warn("a connection without session not killed", {{"reason", e.what()}}); }
    }
  }
}

void Controller::judge_connections(Session& s, const std::vector<contracts::Connection>& mine, std::uint64_t asked) {
  std::vector<Id> strays;
  std::string cause = "session_ended";
  {
    std::lock_guard lock(s.mutex);
    const Record& r = s.record;
    if (is_over(r.state)) return;
    bool ending = r.state == State::ending;
    if (ending) cause = short_cause(r.cause);  // the same reason as the end itself gives, whichever comes first
    bool settled = asked > s.connection_changed;
    bool live_listed = false, opening_listed = false;
    for (const contracts::Connection& c : mine) {
      bool is_closed = std::find(r.closed.begin(), r.closed.end(), c.id) != r.closed.end();
      if (ending) {
        strays.push_back(c.id);
      } else if (r.opening && r.opening->connection == c.id) {
        opening_listed = true;
        opened(s, c.id, c.client_address);
      } else if (!r.live && !is_closed) {
        opened(s, c.id, c.client_address);  // its report was lost, or came while we were away
      } else if (r.live != c.id && settled) {
        strays.push_back(c.id);  // one client a session
      }
      if (r.live == c.id) {
        live_listed = true;
        s.live_up = c.bytes_up;
        s.live_down = c.bytes_down;
        s.last_up_wall_ms = c.last_up_wall_ms;
      }
    }
    std::int64_t now = clock_.steady_ms();
    if (live_listed || !settled)
      s.missing_since_ms = 0;
    else if (r.live && s.missing_since_ms == 0)
      s.missing_since_ms = now;
    if (r.live && s.missing_since_ms != 0 && now - s.missing_since_ms >= config_.vanished_ms) {
      s.missing_since_ms = 0;
      closed(s, *r.live, s.live_up, s.live_down);
    }
    if (r.opening && !opening_listed && settled && now - s.admitted_steady_ms >= config_.opening_ms)
      update(s, [&](Record& next) {
        next.opening.reset();
        next.ever_closed = true;
        if (!next.live) next.disconnected_wall_ms = clock_.wall_ms();
      });
  }
  for (const Id& id : strays) {
    try {
      gateway_.kill(id, cause);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::not_found) log_.warn("a connection not killed yet", {{"session_id", s.id.text()}, {"reason", e.what()}});
    }
  }
  set_gate(s, mine);
}

void Controller::set_gate(Session& s, const std::vector<contracts::Connection>& mine) {
  std::lock_guard gate(s.gate);
  bool still = false;
  std::int64_t since = 0;
  {
    std::lock_guard lock(s.mutex);
    if (s.record.state == State::ending || is_over(s.record.state)) return;
    still = s.record.frozen || s.record.state == State::paused;
    since = std::exchange(s.frozen_steady_ms, 0);
    if (!s.record.frozen) since = 0;
  }
  for (const contracts::Connection& c : mine) {
    if (c.frozen == still) continue;
    try {
      if (still)
        gateway_.freeze(c.id);
      else
        gateway_.resume(c.id);
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::not_found) continue;
      log_.warn("a relay not switched yet", {{"session_id", s.id.text()}, {"reason", e.what()}});
      gateway_away_ = true;
    }
  }
  if (since > 0) metrics_.freeze_seconds.observe(static_cast<double>(clock_.steady_ms() - since) / 1000.0);
}

void Controller::set_gate_now(Session& s) {
  try {
    std::vector<contracts::Connection> mine;
    for (contracts::Connection& c : gateway_.connections())
      if (c.session == s.id) mine.push_back(std::move(c));
    set_gate(s, mine);
  } catch (const Error& e) { log_.warn("relay not switched yet", {{"session_id", s.id.text()}, {"reason", e.what()}}); }
}

void Controller::watch_servers() {
  std::uint64_t after = 0;
  bool check_all = true, loaded = false;
  while (!stopping_) {
    try {
      if (!loaded) {
        if (auto mark = documents_.get(kMarks, kEventMark)) after = std::stoull(mark->json);
        loaded = true;
      }
      if (check_all) check_all_servers();
      auto asked = std::chrono::steady_clock::now();
      contracts::ServerEvents news = servers_.events(after, static_cast<int>(config_.event_wait_ms));
      servers_away_ = false;
      let_go_desktops();
      check_all = news.next < after;  // a manager that lost its history
      for (const contracts::ServerEvent& event : news.events) {
        auto s = find(event.server);
        if (!s) continue;
        check_server(*s, event.cause);
        wake(event.server);  // what it waited for may be there, such as its display
      }
      if (news.next != after) documents_.put(kMarks, kEventMark, std::to_string(news.next));
      after = news.next;
      if (news.events.empty() && std::chrono::steady_clock::now() - asked < std::chrono::milliseconds(kMinPollMs)) rest(kMinPollMs);
    } catch (const std::exception& e) {
      if (!servers_away_.exchange(true)) log_.warn("rdp-server-manager does not answer", {{"reason", e.what()}});
      check_all = true;
      rest(std::min(kManagerAwayMs, config_.poll_ms * 2));
    }
  }
}

// Here, where the manager is asked anyway: nobody who watches the recorder may wait for it.
void Controller::let_go_desktops() {
  for (const SessionPtr& s : all()) {
    {
      std::lock_guard lock(s->mutex);
      if (!s->let_go || s->record.released != Released::none || s->record.state == State::ending) continue;
    }
    log_.warn("no recorder in time: the desktop goes on without", {{"session_id", s->id.text()}});
    release(*s);
  }
}

void Controller::check_all_servers() {
  for (const SessionPtr& s : all()) check_server(*s, "");
}

void Controller::check_server(Session& s, const std::string& event_cause) {
  {
    std::lock_guard lock(s.mutex);
    if (!s.record.server_started || s.record.state == State::ending || is_over(s.record.state)) return;
  }
  std::optional<contracts::ServerStatus> status;
  try {
    status = servers_.status(s.id);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::not_found) throw;
  }
  using contracts::ServerState;
  std::lock_guard lock(s.mutex);
  const Record& r = s.record;
  if (!status || status->state == ServerState::deleted) {
    end(s, "server_lost", true);
  } else if (status->state == ServerState::failed) {
    end(s, to_utf8("server_failed" + (status->cause.empty() ? "" : ": " + status->cause), 600), true);
  } else if (status->state == ServerState::stopped) {
    end(s, "server_stopped", false);
  } else if (!r.display.empty() && !event_cause.empty() && (!status->display || status->display->display != r.display)) {
    // Only an event says that X ended; that a manager does not know the display (yet) says nothing.
    bool orderly = is_orderly(event_cause);
    if (orderly || event_cause == "display_lost") end(s, orderly ? "client" : "display_lost", !orderly);
  } else if (status->port != 0 && status->port != r.server_port) {
    update(s, [&](Record& next) { next.server_port = status->port; });
  }
}

}  // namespace lucid::controller
