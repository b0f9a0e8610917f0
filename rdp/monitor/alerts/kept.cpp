#include "rdp/monitor/alerts/kept.hpp"

#include <fmt/format.h>

namespace lucid::monitor {
namespace {

constexpr std::size_t kMaxText = 1 << 20;

json::value time_json(std::int64_t wall_ms) { return wall_ms == 0 ? json::value(nullptr) : json::value(to_rfc3339(wall_ms)); }

// Our own texts: a member of another type throws, which the readers below turn into nothing.
std::string text_of(const json::value& v, const char* key) {
  const json::string& s = v.at(key).as_string();
  return {s.data(), s.size()};
}

std::int64_t time_of(const json::value& v, const char* key) {
  if (v.at(key).is_null()) return 0;
  auto at = from_rfc3339(text_of(v, key));
  if (!at) throw Error(ErrorKind::corrupt, "no time");
  return *at;
}

Id id_of(const json::value& v) {
  auto id = Id::parse(text_of(v, "id"));
  if (!id) throw Error(ErrorKind::corrupt, "no id");
  return *id;
}

Alert alert_of(const json::value& v) {
  Alert a;
  a.id = id_of(v);
  a.rule = text_of(v, "rule");
  a.metric = text_of(v, "metric");
  a.subject = text_of(v, "subject");
  a.summary = text_of(v, "summary");
  a.severity = severity(text_of(v, "severity")).value_or(Severity::warning);
  a.state = text_of(v, "state") == "resolved" ? AlertState::resolved : AlertState::firing;
  a.value = v.at("value").to_number<double>();
  a.threshold = v.at("threshold").to_number<double>();
  a.since_wall_ms = time_of(v, "since");
  a.fired_wall_ms = time_of(v, "fired_at");
  a.resolved_wall_ms = time_of(v, "resolved_at");
  a.silenced = v.at("silenced").as_bool();
  if (!v.at("cause").is_null()) a.cause = text_of(v, "cause");
  return a;
}

template <class F>
auto read_or_nothing(const std::string& text, F make) -> std::optional<decltype(make(json::value()))> {
  auto value = parse_json(text, kMaxText);
  if (!value) return std::nullopt;
  try {
    return make(*value);
  } catch (const std::exception&) { return std::nullopt; }
}

}  // namespace

json::value to_json(const Alert& alert) {
  return {{"id", alert.id.is_nil() ? json::value(nullptr) : json::value(alert.id.text())},
          {"rule", alert.rule},
          {"metric", alert.metric},
          {"subject", alert.subject},
          {"summary", alert.summary},
          {"severity", name(alert.severity)},
          {"state", name(alert.state)},
          {"value", alert.value},
          {"threshold", alert.threshold},
          {"since", time_json(alert.since_wall_ms)},
          {"fired_at", time_json(alert.fired_wall_ms)},
          {"resolved_at", time_json(alert.resolved_wall_ms)},
          {"silenced", alert.silenced},
          {"cause", alert.cause.empty() ? json::value(nullptr) : json::value(alert.cause)}};
}

json::value to_json(const AlertEvent& event) { return {{"seq", event.seq}, {"alert", to_json(event.alert)}}; }

std::string kept_text(const KeptAlert& kept) {
  return json::serialize(json::value{{"alert", to_json(kept.alert)}, {"told", kept.told}, {"condition", kept.condition}});
}

std::optional<KeptAlert> read_kept(const std::string& text) {
  return read_or_nothing(
      text, [](const json::value& v) { return KeptAlert{alert_of(v.at("alert")), v.at("told").as_bool(), text_of(v, "condition")}; });
}

std::optional<AlertEvent> read_event(const std::string& text) {
  return read_or_nothing(text,
                         [](const json::value& v) { return AlertEvent{v.at("seq").to_number<std::uint64_t>(), alert_of(v.at("alert"))}; });
}

std::optional<Rule> read_kept_rule(const std::string& name, const std::string& text) {
  return read_or_nothing(text, [&name](const json::value& v) {
    json::object body = v.as_object();
    body.erase("name");
    body.erase("built_in");
    json::value of_rule = std::move(body);
    return read_rule(name, of_rule);
  });
}

std::optional<Silence> read_kept_silence(const std::string& text) {
  return read_or_nothing(text, [](const json::value& v) {
    return Silence{id_of(v), text_of(v, "rule"), text_of(v, "subject"), time_of(v, "until"), text_of(v, "reason")};
  });
}

std::string told_text(std::uint64_t seq) { return json::serialize(json::value{{"seq", seq}}); }

std::uint64_t read_told(const std::string& text) {
  return read_or_nothing(text, [](const json::value& v) { return v.at("seq").to_number<std::uint64_t>(); }).value_or(0);
}

std::string condition_of(const Rule& rule) {
  return fmt::format("{} {} {} clear {} for {} {} {} {}", rule.metric, rule.above ? "above" : "below", rule.threshold, rule.clear,
                     rule.for_ms, name(rule.severity), rule.enabled ? "enabled" : "disabled", rule.subject);
}

}  // namespace lucid::monitor
