#include <algorithm>
#include <cmath>
#include <exception>
#include <utility>

#include <fmt/format.h>

#include "lib/base/bytes.hpp"
#include "rdp/monitor/alerts/engine.hpp"
#include "rdp/monitor/alerts/values.hpp"

namespace lucid::monitor {
namespace {

constexpr std::uint64_t kTrimEvery = 100;

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

Life life_of(const Track& track) { return track.alert.state == AlertState::firing ? Life::firing : Life::pending; }

}  // namespace

void Alerts::judge(std::span<const Reading> readings) {
  std::exception_ptr problem;
  try {
    state_->judge(readings);
  } catch (...) { problem = std::current_exception(); }
  // Also what was stored before and is not told yet.
  state_->tell_all();
  if (problem != nullptr) std::rethrow_exception(problem);
}

void Alerts::State::judge(std::span<const Reading> readings) {
  std::lock_guard working(work);
  if (reload) load_alerts();
  std::vector<Change> changes;
  {
    std::lock_guard lock(memory);
    changes = look(readings);
  }
  reload = true;  // should a write fail, the store is what counts
  commit(changes);
  forget_old_silences();
  trim_events();
  reload = false;
}

std::vector<Change> Alerts::State::look(std::span<const Reading> readings) {
  std::vector<Change> changes;
  ++tick;
  for (Track& track : orphans) changes.push_back({Change::Kind::resolve, nullptr, &track, "rule_changed"});
  for (const Reading& r : readings) {
    if (!std::isfinite(r.value)) continue;
    auto found = by_metric.find(r.metric);
    if (found == by_metric.end()) continue;
    // What goes into documents and JSON is UTF-8; a mount point may be anything.
    std::string clean;
    const std::string* subject = &r.subject;
    if (!is_ascii(r.subject)) subject = &(clean = to_utf8(r.subject, r.subject.size() * 3));
    for (Watch* watch : found->second) {
      watch->seen_tick = tick;
      if (covers(watch->rule.subject, *subject)) see(*watch, *subject, r.value, changes);
    }
  }
  for (auto& [name, watch] : watches)
    if (!watch->tracks.empty()) miss(*watch, changes);
  return changes;
}

void Alerts::State::see(Watch& watch, const std::string& subject, double value, std::vector<Change>& changes) {
  Sight seen = sight(watch.rule, value);
  auto found = watch.tracks.find(subject);
  std::int64_t now = clock.steady_ms();
  if (found == watch.tracks.end()) {
    if (next(Life::quiet, seen, false) != Move::begin) return;
    if (watch.tracks.size() >= kMaxLivePerRule) {
      ++left_out;
      if (!std::exchange(watch.said_full, true))
        log.warn("an alert rule has as many alerts as may be; further subjects are left out",
                 {{"rule", watch.rule.name}, {"subject", subject}});
      return;
    }
    Track track;
    track.alert.rule = watch.rule.name;
    track.alert.metric = watch.rule.metric;
    track.alert.subject = subject;
    track.alert.severity = watch.rule.severity;
    track.alert.threshold = watch.rule.threshold;
    track.alert.since_wall_ms = clock.wall_ms();
    track.since_steady_ms = now;
    found = watch.tracks.emplace(subject, std::move(track)).first;
  }
  Track& track = found->second;
  if (track.seen_tick == tick) return;  // the first value of a tick counts
  track.seen_tick = tick;
  track.missed_ticks = 0;
  track.alert.value = value;
  switch (next(life_of(track), seen, now - track.since_steady_ms >= watch.rule.for_ms)) {
    case Move::stay:
    case Move::begin: break;
    case Move::drop: watch.tracks.erase(found); break;
    case Move::fire: changes.push_back({Change::Kind::fire, &watch, &track}); break;
    case Move::resolve: resolve(watch, track, "cleared", changes); break;
  }
}

void Alerts::State::resolve(Watch& watch, Track& track, const char* cause, std::vector<Change>& changes) {
  track.resolves_tick = tick;
  changes.push_back({Change::Kind::resolve, &watch, &track, cause});
}

// What was not seen in this tick; and firings nobody was told of because of a silence that is over.
void Alerts::State::miss(Watch& watch, std::vector<Change>& changes) {
  std::int64_t now = clock.steady_ms();
  for (auto it = watch.tracks.begin(); it != watch.tracks.end();) {
    Track& track = it->second;
    if (track.seen_tick != tick) {
      if (track.missed_ticks++ == 0) track.missed_since_steady_ms = now;
      bool unanswered = watch.holds && watch.seen_tick != tick && life_of(track) == Life::firing;
      bool gone = track.missed_ticks >= kGoneTicks && (!unanswered || now - track.missed_since_steady_ms >= kHoldMs);
      Move move = next(life_of(track), gone ? Sight::gone : Sight::absent, false);
      if (move == Move::drop) {
        it = watch.tracks.erase(it);
        continue;
      }
      if (move == Move::resolve) resolve(watch, track, "gone", changes);
    }
    bool late = life_of(track) == Life::firing && !track.told && track.resolves_tick != tick;
    if (late && !is_silenced(track.alert)) changes.push_back({Change::Kind::tell_late, &watch, &track});
    ++it;
  }
  if (watch.tracks.size() < kMaxLivePerRule / 2) watch.said_full = false;
}

bool Alerts::State::is_silenced(const Alert& alert) const {
  std::int64_t now = clock.wall_ms();
  return std::ranges::any_of(
      silences, [&](const Silence& s) { return s.until_wall_ms > now && covers(s.rule, alert.rule) && covers(s.subject, alert.subject); });
}

// Events and new states in one step; then what follows from them, which load_alerts() makes up for after a crash; then memory.
void Alerts::State::commit(std::vector<Change>& changes) {
  if (changes.empty()) return;
  std::vector<store::Documents::Insert> inserts;
  std::vector<KeptAlert> becomes;
  std::vector<AlertEvent> events;
  std::uint64_t seq = last_seq;  // written by us only, who hold `work`
  for (Change& c : changes) {
    KeptAlert kept{c.track->alert, c.track->told, c.watch != nullptr ? c.watch->condition : ""};
    Alert& a = kept.alert;
    {
      std::lock_guard lock(memory);
      a.silenced = is_silenced(a);
    }
    if (c.watch != nullptr) a.summary = filled(c.watch->rule.summary, a.subject, value_text(a.metric, a.value));
    switch (c.kind) {
      case Change::Kind::fire:
        a.id = Id::make(clock, random);
        a.state = AlertState::firing;
        a.fired_wall_ms = clock.wall_ms();
        kept.told = !a.silenced;
        inserts.push_back({kStates, a.id.text(), kept_text(kept)});
        break;
      case Change::Kind::tell_late: kept.told = true; break;
      case Change::Kind::resolve:
        a.state = AlertState::resolved;
        a.resolved_wall_ms = clock.wall_ms();
        a.cause = c.cause;
        break;
    }
    if (kept.told) {
      events.push_back({++seq, a});
      inserts.push_back({kEvents, store::sortable(seq), json::serialize(to_json(events.back()))});
    }
    becomes.push_back(std::move(kept));
  }

  try {
    auto stored = documents.insert_many(inserts);
    if (std::ranges::count(stored, false) > 0) throw Error(ErrorKind::corrupt, "an alert of this number is there already");
    for (std::size_t i = 0; i < changes.size(); ++i) {
      if (changes[i].kind == Change::Kind::tell_late) documents.put(kStates, becomes[i].alert.id.text(), kept_text(becomes[i]));
      if (changes[i].kind == Change::Kind::resolve) documents.remove(kStates, becomes[i].alert.id.text());
    }
  } catch (const Error& e) {
    const Alert& a = becomes.front().alert;
    std::string more = becomes.size() > 1 ? fmt::format(" and {} more", becomes.size() - 1) : "";
    throw Error(e.kind(), e.code(), fmt::format("store the alert {} {} ({}){}: {}", a.rule, name(a.state), a.summary, more, e.what()));
  }

  std::lock_guard lock(memory);
  for (std::size_t i = 0; i < changes.size(); ++i) {
    auto& [kind, watch, track, cause] = changes[i];
    if (kind == Change::Kind::resolve) {
      if (watch != nullptr) watch->tracks.erase(becomes[i].alert.subject);
    } else {
      track->alert = std::move(becomes[i].alert);
      track->told = becomes[i].told;
    }
  }
  orphans.clear();
  for (AlertEvent& e : events) untold.push_back(std::move(e));
  last_seq = seq;
}

void Alerts::State::forget_old_silences() {
  std::int64_t now = clock.wall_ms();
  std::vector<Id> over;
  {
    std::lock_guard lock(memory);
    for (const Silence& s : silences)
      if (s.until_wall_ms <= now) over.push_back(s.id);
  }
  for (const Id& id : over) {
    documents.remove(kSilences, id.text());
    std::lock_guard lock(memory);
    std::erase_if(silences, [&](const Silence& s) { return s.id == id; });
  }
}

void Alerts::State::trim_events() {
  if (last_seq < first_seq + kKeptEvents + kTrimEvery - 1) return;
  std::uint64_t keep_from = last_seq - kKeptEvents + 1;
  documents.remove_range(kEvents, "", store::sortable(keep_from));
  first_seq = keep_from;
}

void Alerts::State::tell_all() {
  std::unique_lock lock(memory);
  if (telling) return;
  if (untold.empty() && stored_told_seq == told_seq) return;
  telling = true;
  std::exception_ptr problem;
  while (!untold.empty() && problem == nullptr) {
    AlertEvent event = untold.front();
    lock.unlock();
    try {
      tell(event);
    } catch (...) { problem = std::current_exception(); }
    lock.lock();
    if (problem != nullptr) break;
    told_seq = event.seq;
    if (!untold.empty() && untold.front().seq == event.seq) untold.pop_front();
  }
  std::uint64_t told = told_seq;
  if (told != stored_told_seq) {
    lock.unlock();
    try {
      documents.put(kStates, kToldKey, told_text(told));
      lock.lock();
      stored_told_seq = told;
    } catch (...) {
      lock.lock();
      if (problem == nullptr) problem = std::current_exception();
    }
  }
  telling = false;
  lock.unlock();
  if (problem != nullptr) std::rethrow_exception(problem);
}

}  // namespace lucid::monitor
