#include "rdp/controller/controller.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "lib/contracts/fields.hpp"
#include "rdp/controller/session.hpp"

namespace lucid::controller {
namespace {

Error not_found(const Id& session) { return Error(ErrorKind::not_found, "session_not_found", "there is no session " + session.text()); }

Error illegal(State state, std::string_view action) {
  return Error(ErrorKind::conflict, "illegal_transition", fmt::format("cannot {} a session that is {}", action, contracts::name(state)));
}

std::string request_text(const contracts::RdpSessionRequest& request) { return json::serialize(contracts::to_json(request)); }

contracts::RdpSession describe_record(const Record& r) {
  contracts::RdpSession out;
  out.id = r.request.id;
  out.state = r.state;
  out.cause = r.cause;
  out.frozen = r.frozen;
  out.account = r.account.empty() ? r.request.target.account : r.account;
  out.display = r.display;
  if (r.node) out.node = r.node->text();
  out.server_port = r.server_port;
  out.created_wall_ms = r.created_wall_ms;
  out.ready_wall_ms = r.ready_wall_ms;
  out.connected_wall_ms = r.connected_wall_ms;
  out.ended_wall_ms = r.ended_wall_ms;
  out.connections = r.connections;
  out.client_address = r.client_address;
  out.bytes_up = r.closed_up;
  out.bytes_down = r.closed_down;
  return out;
}

}  // namespace

Controller::Controller(Config config, Parts parts)
    : config_(std::move(config)),
      documents_(parts.documents),
      clock_(parts.clock),
      random_(parts.random),
      servers_(parts.peers.servers),
      recordings_(parts.peers.recordings),
      gateway_(parts.peers.gateway),
      nodes_(parts.peers.nodes),
      key_(std::move(parts.key)),
      metrics_(parts.metrics),
      exposure_(parts.metrics, [this] { update_gauges(); }) {}

Controller::~Controller() {
  stopping_ = true;
  { std::scoped_lock lock(work_mutex_, rest_mutex_); }
  work_changed_.notify_all();
  rest_changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Controller::open() {
  opened_steady_ms_ = clock_.steady_ms();
  std::string from;
  for (;;) {
    auto page = documents_.scan(kLive, {.from = from, .to = "", .limit = 500, .order = store::Order::ascending});
    for (const store::Document& document : page) {
      auto id = Id::parse(document.key);
      auto record = id ? stored(*id) : std::nullopt;
      if (!record || is_over(record->state)) {  // it ended just before the last stop
        documents_.remove(kLive, document.key);
        continue;
      }
      auto s = std::make_shared<Session>(std::move(*record), clock_.steady_ms());
      sessions_.emplace(*id, s);
      wake(*id);
    }
    if (page.size() < 500) break;
    from = page.back().key + '\0';
  }
  for (int i = 0; i < config_.workers; ++i) threads_.emplace_back([this] { work_loop(); });
  start_watching();
}

std::optional<Record> Controller::stored(const Id& session) {
  auto document = documents_.get(kSessions, session.text());
  if (!document) return std::nullopt;
  return from_stored(document->json);
}

Controller::SessionPtr Controller::find(const Id& session) {
  std::lock_guard lock(mutex_);
  auto it = sessions_.find(session);
  return it == sessions_.end() ? nullptr : it->second;
}

Controller::SessionPtr Controller::live(const Id& session) {
  if (auto s = find(session)) return s;
  if (!stored(session)) throw not_found(session);
  throw Error(ErrorKind::conflict, "session_ended", "session " + session.text() + " has ended");
}

std::vector<Controller::SessionPtr> Controller::all() {
  std::lock_guard lock(mutex_);
  std::vector<SessionPtr> out;
  out.reserve(sessions_.size());
  for (const auto& [id, s] : sessions_) out.push_back(s);
  return out;
}

void Controller::update(Session& s, const Change& change) {
  Record next = s.record;
  change(next);
  documents_.put(kSessions, s.id.text(), to_stored(next));
  s.record = std::move(next);
  s.changed.notify_all();
}

void Controller::move(Record& r, Trigger trigger, const std::string& cause) {
  auto to = next(r.state, trigger);
  if (!to) throw illegal(r.state, name(trigger));
  r.history.push_back(json::object{{"at", to_rfc3339(clock_.wall_ms())},
                                   {"from", contracts::name(r.state)},
                                   {"to", contracts::name(*to)},
                                   {"trigger", name(trigger)},
                                   {"cause", cause}});
  if (r.history.size() > kMaxHistory) r.history.erase(r.history.begin());
  r.state = *to;
}

bool Controller::end(Session& s, const std::string& cause, bool failing) {
  if (!next(s.record.state, Trigger::end)) return false;
  update(s, [&](Record& r) {
    move(r, Trigger::end, cause);
    r.cause = cause;
    r.failing = failing;
    // Nobody was ever let in: there is nothing to kill.
    r.killed = !r.opening && !r.live && r.connections == 0 && !r.ever_closed;
  });
  log_.info("session ends", {{"session_id", s.id.text()}, {"cause", cause}});
  wake(s.id);
  return true;
}

void Controller::become_ready(Session& s, Record& r) {
  r.ready_wall_ms = r.active_wall_ms = clock_.wall_ms();
  metrics_.to_ready.observe(static_cast<double>(clock_.steady_ms() - s.created_steady_ms) / 1000.0);
}

contracts::RdpSession Controller::describe(const Session& s) {
  contracts::RdpSession out = describe_record(s.record);
  out.bytes_up += s.live_up;
  out.bytes_down += s.live_down;
  return out;
}

Controller::Created Controller::create(const contracts::RdpSessionRequest& request) {
  std::lock_guard one(create_mutex_);
  if (auto there = find(request.id)) {
    std::lock_guard lock(there->mutex);
    if (request_text(there->record.request) != request_text(request))
      throw Error(ErrorKind::conflict, "session_exists", "session " + request.id.text() + " exists with another request");
    return {describe(*there), false};
  }
  if (auto over = stored(request.id)) {
    if (request_text(over->request) != request_text(request))
      throw Error(ErrorKind::conflict, "session_exists", "session " + request.id.text() + " exists with another request");
    return {describe_record(*over), false};
  }
  std::size_t total = 0, own = 0;
  for (const SessionPtr& s : all()) {
    ++total;
    own += s->owner == request.owner ? 1 : 0;
    // Both would land on the one X display of that account.
    if (!request.target.account.empty() && s->named_account == request.target.account)
      throw Error(ErrorKind::conflict, "account_in_use", "account " + request.target.account + " has a live session: " + s->id.text());
  }
  if (total >= config_.max_sessions)
    throw Error(ErrorKind::conflict, "limit_exceeded", fmt::format("{} sessions are live, the most this machine takes", total));
  if (own >= config_.max_sessions_per_user)
    throw Error(ErrorKind::conflict, "limit_exceeded", fmt::format("{} sessions of this user are live, the most one may have", own));
  Record record;
  record.request = request;
  record.created_wall_ms = request.created_wall_ms > 0 ? request.created_wall_ms : clock_.wall_ms();
  auto s = std::make_shared<Session>(std::move(record), clock_.steady_ms());
  std::vector<store::Documents::Insert> inserts{{kSessions, s->id.text(), to_stored(s->record)}, {kLive, s->id.text(), "{}"}};
  documents_.insert_many(inserts);
  contracts::RdpSession answer = describe(*s);
  {
    std::lock_guard lock(mutex_);
    sessions_.emplace(s->id, s);
  }
  wake(s->id);
  return {std::move(answer), true};
}

contracts::RdpSession Controller::status(const Id& session) {
  if (auto s = find(session)) {
    std::lock_guard lock(s->mutex);
    return describe(*s);
  }
  if (auto record = stored(session)) return describe_record(*record);
  throw not_found(session);
}

json::value Controller::history(const Id& session) {
  json::array history;
  if (auto s = find(session)) {
    std::lock_guard lock(s->mutex);
    history = s->record.history;
  } else if (auto record = stored(session)) {
    history = record->history;
  } else {
    throw not_found(session);
  }
  return json::object{{"id", session.text()}, {"history", std::move(history)}};
}

Controller::Page Controller::list(const std::string& cursor, std::size_t limit) {
  auto documents = documents_.scan(kSessions, {.from = "", .to = cursor, .limit = limit + 1, .order = store::Order::descending});
  Page page;
  if (documents.size() > limit) {
    documents.resize(limit);
    page.next = documents.back().key;
  }
  for (const store::Document& d : documents)
    if (auto id = Id::parse(d.key)) page.sessions.push_back(status(*id));
  return page;
}

contracts::RdpSession Controller::act(const Id& session, std::string_view action) {
  auto s = find(session);
  if (!s) {
    auto record = stored(session);
    if (!record) throw not_found(session);
    if (action == "stop" || action == "terminate") return describe_record(*record);
    throw illegal(record->state, action);
  }
  if (action == "stop")
    stop(s, "stopped");
  else if (action == "terminate")
    stop(s, "terminated");
  else if (action == "pause")
    pause(s);
  else if (action == "resume")
    resume(s);
  else
    throw Error(ErrorKind::not_found, "unknown_action", "there is no action of that name");
  std::lock_guard lock(s->mutex);
  return describe(*s);
}

void Controller::stop(const SessionPtr& s, const std::string& cause) {
  {
    std::lock_guard lock(s->mutex);
    end(*s, cause, false);
    if (s->record.killed || is_over(s->record.state)) return;
  }
  // Asked from here, not from a worker: bytes stop now, whatever the workers wait for.
  try {
    kill_connections(*s);
    return;
  } catch (const Error& e) {
    log_.warn("connections of a session that ends not killed yet", {{"session_id", s->id.text()}, {"reason", e.what()}});
  }
  // Without the gateway it is the end of xrdp that ends the relay.
  std::unique_lock lock(s->mutex);
  bool quiet = s->changed.wait_for(lock, std::chrono::milliseconds(config_.quiet_ms),
                                   [&] { return s->record.killed || s->record.server_stopped || is_over(s->record.state); });
  if (!quiet)
    throw Error(ErrorKind::unavailable, "gateway_unreachable",
                "session " + s->id.text() + " is ending, but neither the gateway nor its server answers: bytes may still pass");
}

void Controller::pause(const SessionPtr& s) {
  std::lock_guard control(s->control);
  {
    std::lock_guard lock(s->mutex);
    if (s->record.state != State::paused) {
      if (!takes_clients(s->record.state)) throw illegal(s->record.state, "pause");
      update(*s, [&](Record& r) { move(r, Trigger::pause); });
    }
  }
  set_gate_now(*s);
  wake(s->id);  // the recording follows, however often it takes
  std::unique_lock lock(s->mutex);
  s->changed.wait_for(lock, std::chrono::milliseconds(config_.quiet_ms),
                      [&] { return s->record.state != State::paused || s->record.recording_paused || !s->record.recording_started; });
}

void Controller::resume(const SessionPtr& s) {
  using PipelineState = contracts::PipelineState;
  std::lock_guard control(s->control);
  std::lock_guard recording(s->recording_control);
  bool recorded = false;
  {
    std::lock_guard lock(s->mutex);
    if (takes_clients(s->record.state)) return;
    if (s->record.state != State::paused) throw illegal(s->record.state, "resume");
    recorded = s->record.recording_started;  // whether it was paused yet, only the pipeline knows
  }
  // Recorded first, relayed then.
  if (recorded) {
    try {
      recordings_.act(s->id, "resume");
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::conflict) throw;
      auto state = recordings_.status(s->id).state;
      if (state == PipelineState::pausing || state == PipelineState::paused)
        throw Error(ErrorKind::unavailable, "recording_pausing", "the recording is still being paused; try again in a moment");
    }
  }
  {
    std::lock_guard lock(s->mutex);
    if (s->record.state != State::paused) return;
    update(*s, [&](Record& r) {
      move(r, Trigger::resume);
      if (r.live) move(r, Trigger::opened);
      r.recording_paused = false;
      r.active_wall_ms = clock_.wall_ms();
      r.disconnected_wall_ms = clock_.wall_ms();
    });
    s->recording_changed = ++sequence_;
  }
  set_gate_now(*s);
  wake(s->id);
}

Controller::Totals Controller::totals() {
  Totals t;
  std::array<std::size_t, 10> by_state{};
  std::size_t unrecorded = 0;
  for (const SessionPtr& s : all()) {
    std::lock_guard lock(s->mutex);
    ++t.live;
    ++by_state[static_cast<std::size_t>(s->record.state)];
    if (s->record.frozen) ++t.frozen;
    if (s->record.request.fail_open && s->record.released == Released::go && !s->recorded) ++unrecorded;
  }
  for (std::size_t i = 0; i < by_state.size(); ++i) metrics_.by_state[i]->set(static_cast<double>(by_state[i]));
  metrics_.frozen.set(static_cast<double>(t.frozen));
  metrics_.unrecorded.set(static_cast<double>(unrecorded));
  metrics_.servers_away.set(servers_away_ ? 1 : 0);
  metrics_.recorder_away.set(recorder_away_ ? 1 : 0);
  metrics_.gateway_away.set(gateway_away_ ? 1 : 0);
  if (servers_away_)
    t.problem = "rdp-server-manager cannot be reached: live sessions go on, new ones wait";
  else if (gateway_away_)
    t.problem = "xrdp-integration cannot be reached: nobody can connect";
  else if (recorder_away_)
    t.problem = fmt::format("session-recorder cannot be reached: {} sessions are frozen", t.frozen);
  return t;
}

void Controller::update_gauges() {
  totals();
  std::lock_guard lock(work_mutex_);
  metrics_.driven.set(static_cast<double>(work_.size()));
}

}  // namespace lucid::controller
