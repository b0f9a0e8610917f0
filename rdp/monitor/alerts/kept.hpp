// How alerts, events, rules and silences stand in documents. The readers answer nothing for what is none of ours. Pure; any thread.
//   alert_rules     by name                what to_json(Rule) makes
//   alert_states    by the alert's id      {"alert", "told", "condition"}: what fires; and "told": {"seq"}, the newest event that was told
//   alert_silences  by id                  what to_json(Silence) makes
//   alert_events    by sortable(seq)       what to_json(AlertEvent) makes
#pragma once

#include <optional>
#include <string>

#include "rdp/monitor/alerts/alerts.hpp"

namespace lucid::monitor {

inline constexpr const char *kRules = "alert_rules", *kStates = "alert_states", *kSilences = "alert_silences", *kEvents = "alert_events";
inline constexpr const char* kToldKey = "told";

struct KeptAlert {
  Alert alert;
  bool told = true;       // its firing was told, or is stored to be
  std::string condition;  // condition_of() of the rule it fired by
};
std::string kept_text(const KeptAlert& kept);
std::optional<KeptAlert> read_kept(const std::string& text);

std::optional<AlertEvent> read_event(const std::string& text);
std::optional<Rule> read_kept_rule(const std::string& name, const std::string& text);
std::optional<Silence> read_kept_silence(const std::string& text);
std::string told_text(std::uint64_t seq);
std::uint64_t read_told(const std::string& text);  // 0 when it is none

// Two rules of one condition are the same to an alert that fires.
std::string condition_of(const Rule& rule);

}  // namespace lucid::monitor
