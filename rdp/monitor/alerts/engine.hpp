// What Alerts is made of; its own header because reading, judging and asking are files of their own. Two locks: `work` is held by whoever changes
// anything, over the writes too; `memory` guards the members below it and is held for moments only, so lists never wait for a disk. Order:
// work, then memory. Nothing is held while telling.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <unordered_map>

#include "lib/runtime/log.hpp"
#include "rdp/monitor/alerts/alerts.hpp"
#include "rdp/monitor/alerts/kept.hpp"
#include "rdp/monitor/alerts/states.hpp"

namespace lucid::monitor {

// A pending or firing alert.
struct Track {
  Alert alert;
  bool told = false;  // its firing was told, or is stored to be
  std::int64_t since_steady_ms = 0;
  std::uint64_t seen_tick = 0, resolves_tick = 0;
  int missed_ticks = 0;
  std::int64_t missed_since_steady_ms = 0;
};
using Tracks = std::unordered_map<std::string, Track>;

// A rule with its alerts by subject.
struct Watch {
  Rule rule;
  std::string condition;
  bool holds = false;  // without any value of the metric what fires is held for kHoldMs
  std::uint64_t seen_tick = 0;
  bool said_full = false;
  Tracks tracks;
};

// What a tick changes durably. Without a watch the track is one of State::orphans.
struct Change {
  enum class Kind { fire, tell_late, resolve };
  Kind kind;
  Watch* watch;
  Track* track;
  std::string cause = {};
};

struct Alerts::State {
  State(store::Documents& documents, const Clock& clock, RandomSource& random, Tell tell);

  // loading.cpp. Under `work`.
  void load_rules();
  void load_silences();
  void load_alerts();
  void place(KeptAlert kept);                  // under `memory` too
  void index_rules();                          // under `memory` too
  void replace_rule(Watch& watch, Rule rule);  // under `memory` too
  // Firing alerts of the rule will resolve as rule_changed, pending ones are dropped. Under `memory` too.
  void orphan(Watch& watch);

  // judging.cpp. Under `work`, but for the first and the last.
  void judge(std::span<const Reading> readings);
  std::vector<Change> look(std::span<const Reading> readings);  // under `memory` too
  void see(Watch& watch, const std::string& subject, double value, std::vector<Change>& changes);
  void miss(Watch& watch, std::vector<Change>& changes);
  void resolve(Watch& watch, Track& track, const char* cause, std::vector<Change>& changes);
  void commit(std::vector<Change>& changes);
  void forget_old_silences();
  void trim_events();
  bool is_silenced(const Alert& alert) const;  // under `memory`
  void tell_all();

  store::Documents& documents;
  const Clock& clock;
  RandomSource& random;
  const Tell tell;
  const runtime::Log log{"resource-monitor"};

  std::mutex work;
  bool reload = false;  // a write failed: what is stored has to be looked at
  std::uint64_t first_seq = 1;

  mutable std::mutex memory;
  std::map<std::string, std::unique_ptr<Watch>> watches;
  std::unordered_map<std::string_view, std::vector<Watch*>> by_metric;  // enabled ones
  std::vector<Track> orphans;                                           // firing by a rule that is no more
  std::vector<Silence> silences;
  std::deque<AlertEvent> untold;
  std::uint64_t tick = 0, last_seq = 0, told_seq = 0, stored_told_seq = 0, left_out = 0;
  bool telling = false;
};

}  // namespace lucid::monitor
