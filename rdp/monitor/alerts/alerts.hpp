// Alert rules and what has become of them. judge() holds every rule against the readings of a tick; an alert is one rule about one subject:
//   (nothing) → pending (the condition holds) → firing (it held for the rule's `for`) → resolved (it no longer holds, with hysteresis) → (gone)
// Each firing and each resolution is told once, whatever the number of ticks, also across a restart: what fires is kept in documents, with the
// events. Durations are counted on the steady clock (a jump of the wall clock fires nothing early); what is pending is kept in memory only and
// begins anew after a restart, what fires goes on firing without being told again. A reading that is not finite counts as none.
//   Without a value an alert resolves as "gone" after kGoneTicks ticks. Where the metric has no subjects, and for certificates, a missing value
// more likely means that whom we ask is silent: while there is none at all, what fires is held for kHoldMs first. A rule that is changed (in more
// than its summary), disabled or removed resolves its alerts as "rule_changed" at the next judge().
//   Silences keep an alert's firing from being told; when one ends while the alert still fires, it is told then; an alert whose firing was never
// told makes no event when it resolves.
//   An event is stored before it is told, in one step with the alert's state, and marked as told after it. After a crash in between it is told
// again at the first judge(): at least once, receivers drop a `seq` they have seen. When `tell` throws, judge() throws that, and this event and
// those after it are told at the next judge(). When the store fails, judge() throws its Error naming the alerts that could not be stored, nothing
// of that tick is told, and the next judge() takes up what is stored. A tick in which nothing changes writes nothing.
// Thread-safe; one Alerts a set of documents. `tell` is called by the thread that calls judge().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/base/id.hpp"
#include "lib/base/json.hpp"
#include "lib/base/random.hpp"
#include "lib/store/documents.hpp"
#include "rdp/monitor/reading.hpp"

namespace lucid::monitor {

enum class Severity { info, warning, critical };
const char* name(Severity severity);
std::optional<Severity> severity(std::string_view name);
enum class AlertState { pending, firing, resolved };
const char* name(AlertState state);

struct Rule {
  std::string name;  // [a-z0-9_]{1,64}, unique
  std::string metric;
  std::string subject;  // exact, or "prefix*"; empty: every subject
  bool above = true;    // fires above the threshold; else below
  double threshold = 0;
  double clear = 0;         // resolves at or below (above: at or above) this; equal to the threshold: no hysteresis
  std::int64_t for_ms = 0;  // how long the condition must hold, 0–86 400 000
  Severity severity = Severity::warning;
  std::string summary;  // one sentence; "{subject}" and "{value}" are filled in
  bool enabled = true;
  bool built_in = false;  // of default_rules(); may be changed, not deleted (disabled instead)
};
json::value to_json(const Rule& rule);
// A body {metric, subject?, above|below, clear?, for_seconds?, severity?, summary?, enabled?}. Throws Error{invalid} naming every wrong field:
// unknown metric, non-finite threshold, clear on the wrong side, bad pattern, a ratio's threshold that can never be passed …
Rule read_rule(const std::string& name, const json::value& body);
std::vector<Rule> default_rules();

inline constexpr int kGoneTicks = 3;
inline constexpr std::int64_t kHoldMs = 300'000;
inline constexpr std::size_t kMaxRules = 500, kMaxSilences = 500, kMaxLivePerRule = 1'000;
inline constexpr std::uint64_t kKeptEvents = 10'000;

struct Alert {
  Id id;  // new for every pending → firing; nil (null in JSON) while pending
  std::string rule, metric, subject, summary;
  Severity severity = Severity::warning;
  AlertState state = AlertState::pending;
  double value = 0, threshold = 0;  // the newest value
  std::int64_t since_wall_ms = 0, fired_wall_ms = 0, resolved_wall_ms = 0;
  bool silenced = false;  // a silence covers it now
  std::string cause;      // of a resolution: "cleared", "gone", "rule_changed"
};
json::value to_json(const Alert& alert);

struct Silence {
  Id id;
  std::string rule, subject;  // each exact, or "prefix*"; empty: every one
  std::int64_t until_wall_ms = 0;
  std::string reason;
};
json::value to_json(const Silence& silence);

// Told once per firing and once per resolution, outside of any lock, in order.
struct AlertEvent {
  std::uint64_t seq = 0;  // grows by one; durable
  Alert alert;
};
json::value to_json(const AlertEvent& event);

class Alerts {
 public:
  using Tell = std::function<void(const AlertEvent&)>;
  // `documents`: collections alert_rules (those put), alert_states (what fires, and the told mark), alert_silences, alert_events (the newest
  // kKeptEvents). Reads them; tells nothing yet. What cannot be read of them is left out and said in the log.
  Alerts(store::Documents& documents, const Clock& clock, RandomSource& random, Tell tell);
  ~Alerts();
  void judge(std::span<const Reading> readings);

  std::vector<Rule> rules() const;
  Rule put_rule(const Rule& rule);                                                  // at most 500 rules: Error{conflict, "limit_reached"}
  void remove_rule(const std::string& name);                                        // Error{not_found}; Error{conflict} for a built-in one
  std::vector<Alert> live() const;                                                  // pending and firing, newest first
  std::vector<AlertEvent> past(std::uint64_t before_seq, std::size_t limit) const;  // newest first; 0: from the newest
  std::vector<AlertEvent> after(std::uint64_t seq, std::size_t limit) const;        // oldest first
  std::uint64_t last_seq() const;
  // How often a subject past its threshold was left out because its rule had kMaxLivePerRule alerts.
  std::uint64_t left_out() const;
  std::vector<Silence> silences() const;
  // Throws Error{invalid} naming every wrong field: patterns, a reason of one line, until.
  Silence silence(Silence silence);  // id is given here; until: within a year. At most kMaxSilences
  void end_silence(const Id& id);    // Error{not_found}

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lucid::monitor
