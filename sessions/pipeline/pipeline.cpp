#include "sessions/pipeline/pipeline.hpp"

#include <fmt/format.h>

#include "lib/contracts/fields.hpp"
#include "lib/recording/chunk.hpp"
#include "sessions/pipeline/recording.hpp"

namespace lucid::pipeline {
namespace {

constexpr std::int64_t kStartPatienceMs = 30'000;

Error not_found(const Id& session) { return Error(ErrorKind::not_found, "recording_not_found", "there is no recording " + session.text()); }

Error illegal(State state, std::string_view action) {
  return Error(ErrorKind::conflict, "illegal_transition", fmt::format("cannot {} a recording that is {}", action, name(state)));
}

}  // namespace

Pipeline::Pipeline(store::Documents& documents, store::Leases& leases, const Clock& clock, runtime::Metrics& metrics, Outside outside)
    : documents_(documents), leases_(leases), clock_(clock), outside_(std::move(outside)), metrics_(metrics), exposure_(metrics, [this] {
        update_gauges();
      }) {}

Pipeline::~Pipeline() {
  {
    std::lock_guard lock(work_mutex_);
    stopping_ = true;
  }
  work_changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Pipeline::open() {
  std::string from;
  for (;;) {
    auto page = documents_.scan(kRecordings, {.from = from, .to = "", .limit = 500, .order = store::Order::ascending});
    for (const store::Document& document : page) {
      auto id = Id::parse(document.key);
      if (!id) continue;
      auto r = find(*id);
      std::lock_guard lock(r->mutex);
      bool settled = r->state == State::created || r->state == State::error || r->state == State::destroyed ||
                     (r->state == State::stopped && r->finalised);
      if (!settled) wake(*id);
    }
    if (page.size() < 500) break;
    from = page.back().key + '\0';
  }
  thread_ = std::thread([this] { follow_up_loop(); });
}

std::shared_ptr<Pipeline::Recording> Pipeline::find(const Id& session) {
  {
    std::lock_guard lock(mutex_);
    if (auto it = recordings_.find(session); it != recordings_.end()) return it->second;
  }
  auto document = documents_.get(kRecordings, session.text());
  if (!document) throw not_found(session);
  auto value = parse_json(document->json);
  if (!value) throw value.error();
  auto r = std::make_shared<Recording>();
  contracts::Fields in(*value);
  r->plan = contracts::read_recording_plan(in.value("plan"));
  if (auto state = contracts::pipeline_state(in.text("state")))
    r->state = *state;
  else
    in.refuse("state");
  r->cause = in.text("cause");
  r->since_wall_ms = in.number<std::int64_t>("since_wall_ms");
  r->history = in.array("history");
  r->holder = in.text("holder");
  r->fencing_token = in.number<std::uint64_t>("fencing_token");
  r->oldest_valid_token = in.number<std::uint64_t>("oldest_valid_token");
  r->finalised = in.boolean("finalised");
  if (!in.ok())
    throw Error(ErrorKind::corrupt, "recording_document", "pipeline.db: " + std::string(in.error("recording " + session.text()).what()));
  if (auto progress = documents_.get(kProgress, session.text())) {
    auto pv = parse_json(progress->json);
    if (!pv) throw pv.error();
    contracts::Fields p(*pv);
    r->next_sequence = p.number<std::uint64_t>("next_sequence");
    r->committed_bytes = p.number<std::uint64_t>("committed_bytes");
    r->gaps = p.number<std::uint64_t>("gaps");
    r->last_commit_wall_ms = p.number<std::int64_t>("last_commit_wall_ms");
    r->duration_ms = p.number<std::int64_t>("duration_ms");
    r->ended = p.boolean("ended");
    if (!p.ok())
      throw Error(ErrorKind::corrupt, "progress_document", "pipeline.db: " + std::string(p.error("progress of " + session.text()).what()));
  }
  std::lock_guard lock(mutex_);
  return recordings_.emplace(session, r).first->second;
}

void Pipeline::save(Recording& r) {
  json::object o{{"plan", contracts::to_json(r.plan)},
                 {"state", contracts::name(r.state)},
                 {"cause", r.cause},
                 {"since_wall_ms", r.since_wall_ms},
                 {"history", r.history},
                 {"holder", r.holder},
                 {"fencing_token", r.fencing_token},
                 {"oldest_valid_token", r.oldest_valid_token},
                 {"finalised", r.finalised}};
  documents_.put(kRecordings, r.plan.session.text(), json::serialize(o));
}

void Pipeline::save_progress(Recording& r) {
  json::object o{{"next_sequence", r.next_sequence},
                 {"committed_bytes", r.committed_bytes},
                 {"gaps", r.gaps},
                 {"last_commit_wall_ms", r.last_commit_wall_ms},
                 {"duration_ms", r.duration_ms},
                 {"ended", r.ended}};
  documents_.put(kProgress, r.plan.session.text(), json::serialize(o));
}

void Pipeline::move(Recording& r, Trigger trigger, const std::string& cause) {
  auto to = next(r.state, trigger);
  if (!to) throw illegal(r.state, name(trigger));
  std::int64_t now = clock_.wall_ms();
  r.history.push_back(json::object{{"at", to_rfc3339(now)},
                                   {"from", contracts::name(r.state)},
                                   {"to", contracts::name(*to)},
                                   {"trigger", name(trigger)},
                                   {"cause", cause}});
  if (r.history.size() > kMaxHistory) r.history.erase(r.history.begin());
  r.state = *to;
  r.cause = cause;
  r.since_wall_ms = now;
  save(r);
  metrics_.transitions[static_cast<std::size_t>(*to)]->add();
}

contracts::RecordingStatus Pipeline::describe(Recording& r) {
  contracts::RecordingStatus s;
  s.session = r.plan.session;
  s.state = r.state;
  s.cause = r.cause;
  s.since_wall_ms = r.since_wall_ms;
  s.committed_chunks = s.next_sequence = r.next_sequence;
  s.committed_bytes = r.committed_bytes;
  s.retries = r.stats.errors();
  s.gaps = r.gaps;
  s.last_commit_wall_ms = r.last_commit_wall_ms;
  s.last_beat_wall_ms = r.last_beat_wall_ms;
  s.duration_ms = r.duration_ms;
  s.started_wall_ms = r.plan.started_wall_ms;
  s.ended = r.ended;
  s.finalised = r.finalised;
  s.stalled = (r.state == State::active || r.state == State::paused) && !leases_.current(r.plan.session.text());
  s.backlog = r.backlog;
  s.alarm = r.alarm.empty() ? r.failure : r.alarm;
  s.stages = r.stats.counts();
  return s;
}

Pipeline::Created Pipeline::create(const contracts::RecordingPlan& plan) {
  auto r = std::make_shared<Recording>();
  r->plan = plan;
  r->since_wall_ms = clock_.wall_ms();
  json::object o{{"plan", contracts::to_json(plan)},
                 {"state", contracts::name(r->state)},
                 {"cause", ""},
                 {"since_wall_ms", r->since_wall_ms},
                 {"history", json::array{}},
                 {"holder", ""},
                 {"fencing_token", 0},
                 {"oldest_valid_token", 0},
                 {"finalised", false}};
  bool created = documents_.insert(kRecordings, plan.session.text(), json::serialize(o));
  auto stored = find(plan.session);
  std::lock_guard lock(stored->mutex);
  if (!created) {
    contracts::RecordingPlan same = stored->plan;  // the clocks are ours, not the caller's
    same.started_wall_ms = plan.started_wall_ms;
    same.started_steady_ms = plan.started_steady_ms;
    same.waits_until_wall_ms = plan.waits_until_wall_ms;  // the first one stands
    if (json::serialize(contracts::to_json(same)) != json::serialize(contracts::to_json(plan)))
      throw Error(ErrorKind::conflict, "recording_exists", "recording " + plan.session.text() + " exists with another plan");
  }
  return {describe(*stored), created};
}

contracts::RecordingStatus Pipeline::start(const std::shared_ptr<Recording>& r) {
  contracts::Granted lease;
  contracts::RecordingPlan plan;
  {
    std::lock_guard lock(r->mutex);
    plan = r->plan;
  }
  try {
    lease = acquire(plan.session, "session-recorder");
    contracts::Started started = outside_.start(plan, lease);
    std::lock_guard lock(r->mutex);
    r->plan.started_wall_ms = started.started_wall_ms;
    r->plan.started_steady_ms = started.started_steady_ms;
    r->alarm.clear();
    if (r->state == State::starting)
      move(*r, Trigger::first_frame, "");
    else
      save(*r);  // stopped or ended meanwhile
    return describe(*r);
  } catch (const Error& e) {
    std::lock_guard lock(r->mutex);
    // A recorder that is away for a moment (restarted, upgraded) is waited for; one that refuses is believed.
    if (e.code() == "unreachable" && r->state == State::starting && clock_.wall_ms() - r->since_wall_ms < kStartPatienceMs) {
      wake(plan.session);
      return describe(*r);
    }
    if (r->state == State::starting) move(*r, Trigger::fail, e.what());
    throw;
  }
}

contracts::RecordingStatus Pipeline::act(const Id& session, std::string_view action) {
  auto r = find(session);
  std::unique_lock lock(r->mutex);
  if (action == "start") {
    if (!next(r->state, Trigger::start)) throw illegal(r->state, action);
    move(*r, Trigger::start, "");
    lock.unlock();
    return start(r);
  }
  if (action == "pause") {
    move(*r, Trigger::pause, "");
    lock.unlock();
    try {
      outside_.pause(session);
    } catch (const Error&) {
      wake(session);  // the recorder is away: paused as soon as it is back
      lock.lock();
      return describe(*r);
    }
    lock.lock();
    if (r->state == State::pausing) move(*r, Trigger::paused, "");
  } else if (action == "resume") {
    if (!next(r->state, Trigger::resume)) throw illegal(r->state, action);
    lock.unlock();
    outside_.resume(session);
    lock.lock();
    if (r->state == State::paused) move(*r, Trigger::resume, "");
  } else if (action == "stop") {
    move(*r, Trigger::stop, "");
    lock.unlock();
    wake(session);  // the follow-up thread tells the recorder, however often it takes
    lock.lock();
  } else if (action == "recover") {
    move(*r, Trigger::recover, "");
  } else if (action == "cleanup") {
    if (r->state == State::stopped && !r->finalised)
      throw Error(ErrorKind::conflict, "illegal_transition", "the recording is still being finished; try again in a moment")
          .with_retry_after(std::chrono::seconds(1));
    if (r->state != State::cleanup) move(*r, Trigger::cleanup, "");
    move(*r, Trigger::destroyed, "");
  } else {
    throw Error(ErrorKind::not_found, "unknown_action", "there is no action of that name");
  }
  return describe(*r);
}

contracts::RecordingStatus Pipeline::status(const Id& session) {
  auto r = find(session);
  std::lock_guard lock(r->mutex);
  return describe(*r);
}

contracts::RecordingPlan Pipeline::plan(const Id& session) {
  auto r = find(session);
  std::lock_guard lock(r->mutex);
  return r->plan;
}

json::value Pipeline::history(const Id& session) {
  auto r = find(session);
  std::lock_guard lock(r->mutex);
  return json::object{{"session_id", session.text()}, {"history", r->history}};
}

Pipeline::Page Pipeline::list(const std::string& cursor, std::size_t limit) {
  store::Scan scan{.from = "", .to = cursor, .limit = limit + 1, .order = store::Order::descending};
  auto documents = documents_.scan(kRecordings, scan);
  Page page;
  if (documents.size() > limit) {
    documents.resize(limit);
    page.next = documents.back().key;
  }
  for (const store::Document& d : documents)
    if (auto id = Id::parse(d.key)) page.recordings.push_back(status(*id));
  return page;
}

void Pipeline::remove(const Id& session) {
  auto r = find(session);
  std::lock_guard lock(r->mutex);
  if (r->state != State::destroyed) throw illegal(r->state, "remove");
  documents_.remove(kProgress, session.text());
  documents_.remove(kRecordings, session.text());
  r->removed = true;
  std::lock_guard map_lock(mutex_);
  recordings_.erase(session);
}

contracts::Granted Pipeline::acquire(const Id& session, const std::string& holder) {
  auto r = find(session);
  std::lock_guard lock(r->mutex);
  if (!is_live(r->state)) throw illegal(r->state, "take the lease of");
  auto lease = leases_.acquire(session.text(), holder);
  if (!lease) throw Error(ErrorKind::conflict, "lease_held", "recording " + session.text() + " is held by another recorder");
  if (r->holder != holder) r->oldest_valid_token = lease->fencing_token;  // a recorder that restarts keeps its old tokens
  r->holder = holder;
  r->fencing_token = lease->fencing_token;
  save(*r);
  return {lease->fencing_token, r->next_sequence};
}

void Pipeline::check_token(const Recording& r, std::uint64_t token) const {
  if (token < r.oldest_valid_token || token > r.fencing_token)
    throw Error(ErrorKind::conflict, "lease_lost", "another recorder has taken over recording " + r.plan.session.text());
}

contracts::BeatAnswer Pipeline::beat(const std::vector<contracts::Beat>& beats) {
  contracts::BeatAnswer answer;
  for (const contracts::Beat& beat : beats) {
    std::shared_ptr<Recording> r;
    try {
      r = find(beat.session);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::not_found) throw;
      answer.unknown.push_back(beat.session);
      continue;
    }
    std::lock_guard lock(r->mutex);
    if (beat.fencing_token < r->oldest_valid_token || beat.fencing_token > r->fencing_token) {
      answer.lost.push_back(beat.session);
      continue;
    }
    leases_.renew(beat.session.text(), r->fencing_token);
    r->last_beat_wall_ms = clock_.wall_ms();
    r->backlog = beat.backlog;
    r->alarm = beat.alarm;
  }
  return answer;
}

std::uint64_t Pipeline::begin(const Id& session, std::uint64_t sequence, std::uint64_t fencing_token) {
  auto r = find(session);
  std::lock_guard lock(r->mutex);
  check_token(*r, fencing_token);
  if (sequence >= r->next_sequence) r->stats.item(Stage::recorded, 0);
  return r->next_sequence;
}

void Pipeline::commit(const Id& session, const contracts::Commit& commit) {
  auto r = find(session);
  std::lock_guard lock(r->mutex);
  check_token(*r, commit.fencing_token);
  if (commit.sequence < r->next_sequence) return;  // told before
  if (commit.sequence > r->next_sequence)
    throw Error(ErrorKind::conflict, "out_of_order",
                fmt::format("chunk {} was committed, {} is expected", commit.sequence, r->next_sequence));
  r->stats.item(Stage::compressed, commit.compress_us);
  r->stats.item(Stage::encrypted, commit.encrypt_us);
  r->stats.item(Stage::hashed, commit.hash_us);
  r->stats.item(Stage::stored, commit.store_us);
  r->stats.item(Stage::committed, commit.total_us);
  r->failure.clear();
  r->next_sequence = commit.sequence + 1;
  r->committed_bytes += commit.stored_size;
  r->last_commit_wall_ms = clock_.wall_ms();
  r->duration_ms = std::max(r->duration_ms, commit.last_ms);
  if ((commit.flags & recording::kGap) != 0) ++r->gaps;
  if ((commit.flags & recording::kEnd) != 0) r->ended = true;
  save_progress(*r);
  metrics_.chunks.add();
  metrics_.bytes.add(static_cast<double>(commit.stored_size));
  if ((commit.flags & recording::kGap) != 0) metrics_.gaps.add();
  if (r->ended && next(r->state, Trigger::ended)) {
    move(*r, Trigger::ended, r->state == State::stopping ? "" : "ended by the recorder");
    wake(session);
  }
}

void Pipeline::failure(const Id& session, std::uint64_t sequence, Stage stage, const std::string& reason) {
  auto r = find(session);
  std::lock_guard lock(r->mutex);
  r->stats.error(stage);
  metrics_.retries[static_cast<std::size_t>(stage)]->add();
  r->failure = fmt::format("chunk {} failed at {}: {}", sequence, name(stage), to_utf8(reason, 300));
}

void Pipeline::report(const Id& session, const std::string& event, const std::string& detail) {
  auto r = find(session);
  std::lock_guard lock(r->mutex);
  if (event == "resumed") r->alarm.clear();
  if (event == "paused_disk_full") r->alarm = "disk_full";  // the word its heartbeats use as well
  if (event == "display_lost") r->alarm = detail.empty() ? event : event + ": " + to_utf8(detail, 300);
}

Pipeline::Totals Pipeline::totals() {
  std::vector<std::shared_ptr<Recording>> all;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, r] : recordings_) all.push_back(r);
  }
  Totals t;
  for (const auto& r : all) {
    std::lock_guard lock(r->mutex);
    if (!is_live(r->state)) continue;
    ++t.live;
    t.backlog += r->backlog;
    if (!r->alarm.empty() || !r->failure.empty()) ++t.alarms;
    if ((r->state == State::active || r->state == State::paused) && !leases_.current(r->plan.session.text())) ++t.stalled;
  }
  return t;
}

void Pipeline::update_gauges() {
  Totals t = totals();
  metrics_.live.set(static_cast<double>(t.live));
  metrics_.stalled.set(static_cast<double>(t.stalled));
  metrics_.backlog.set(static_cast<double>(t.backlog));
  metrics_.alarms.set(static_cast<double>(t.alarms));
  std::lock_guard lock(work_mutex_);
  metrics_.follow_ups.set(static_cast<double>(work_.size()));
}

}  // namespace lucid::pipeline
