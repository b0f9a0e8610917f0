#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "rdp/monitor/alerts/alerts.hpp"
#include "rdp/monitor/alerts/values.hpp"

namespace lucid::monitor {
namespace {

constexpr std::size_t kMaxName = 64, kMaxSubject = 255, kMaxSummary = 500;
constexpr double kMaxForSeconds = 86'400;

std::optional<double> number(FieldReader& in, std::string_view key) {
  const json::value* v = in.raw(key);
  if (v == nullptr) return std::nullopt;
  if (!v->is_number()) return in.refuse(key, "must be a number"), std::nullopt;
  double n = v->to_number<double>();
  if (!std::isfinite(n)) return in.refuse(key, "must be a finite number"), std::nullopt;
  return n;
}

std::string checked(FieldReader& in, std::string_view key, std::size_t max, const char* (*problem)(std::string_view)) {
  std::string text = in.text_or(key, "", {.min = 0, .max = max});
  if (const char* reason = problem(text)) in.refuse(key, reason);
  return text;
}

void check_threshold(FieldReader& in, const Rule& rule) {
  auto [least, most] = range_of(rule.metric);
  std::string_view key = rule.above ? "above" : "below";
  double t = rule.threshold;
  if (rule.above ? t >= most : t <= least)
    in.refuse(key, fmt::format("can never be passed: {} is {} to {}", rule.metric, least, most));
  else if (rule.above ? t < least : t > most)
    in.refuse(key, fmt::format("is always passed: {} is {} to {}", rule.metric, least, most));
}

void check_clear(FieldReader& in, const Rule& rule) {
  auto [least, most] = range_of(rule.metric);
  if (rule.above ? rule.clear > rule.threshold : rule.clear < rule.threshold)
    in.refuse("clear", fmt::format("must not be {} the threshold {}", rule.above ? "above" : "below", rule.threshold));
  else if (rule.above ? rule.clear < least : rule.clear > most)
    in.refuse("clear", fmt::format("can never be reached: {} is {} to {}", rule.metric, least, most));
}

json::value seconds_json(std::int64_t ms) {
  if (ms % 1'000 == 0) return ms / 1'000;
  return static_cast<double>(ms) / 1'000;
}

}  // namespace

const char* name(Severity severity) {
  switch (severity) {
    case Severity::info: return "info";
    case Severity::warning: return "warning";
    case Severity::critical: return "critical";
  }
  return "warning";
}

std::optional<Severity> severity(std::string_view name) {
  for (Severity s : {Severity::info, Severity::warning, Severity::critical})
    if (name == monitor::name(s)) return s;
  return std::nullopt;
}

const char* name(AlertState state) {
  switch (state) {
    case AlertState::pending: return "pending";
    case AlertState::firing: return "firing";
    case AlertState::resolved: return "resolved";
  }
  return "pending";
}

json::value to_json(const Rule& rule) {
  return {{"name", rule.name},
          {"metric", rule.metric},
          {"subject", rule.subject},
          {rule.above ? "above" : "below", rule.threshold},
          {"clear", rule.clear},
          {"for_seconds", seconds_json(rule.for_ms)},
          {"severity", name(rule.severity)},
          {"summary", rule.summary},
          {"enabled", rule.enabled},
          {"built_in", rule.built_in}};
}

Rule read_rule(const std::string& name, const json::value& body) {
  FieldReader in(body);
  Rule rule;
  rule.name = name;
  auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  if (name.empty() || name.size() > kMaxName || !std::ranges::all_of(name, plain))
    in.refuse("name", fmt::format("must be 1 to {} of a-z, 0-9 and _", kMaxName));

  rule.metric = in.text("metric", {.min = 1, .max = 100});
  const Metric* metric = find_metric(rule.metric);
  if (metric == nullptr && !rule.metric.empty()) in.refuse("metric", "is none of GET /api/v1/monitor/metrics");
  rule.subject = checked(in, "subject", kMaxSubject, pattern_problem);
  if (rule.subject == "*") rule.subject.clear();
  if (metric != nullptr && metric->subject == Subject::none && !rule.subject.empty())
    in.refuse("subject", "must be left out: there is one " + rule.metric + " only");

  auto above = number(in, "above"), below = number(in, "below");
  if (in.has("above") && in.has("below")) in.refuse("below", "must not stand beside above");
  if (!in.has("above") && !in.has("below")) in.refuse("above", "or below is required");
  rule.above = !in.has("below");
  auto threshold = rule.above ? above : below, clear = number(in, "clear");
  rule.threshold = threshold.value_or(0);
  rule.clear = clear.value_or(rule.threshold);
  if (metric != nullptr && threshold) check_threshold(in, rule);
  if (metric != nullptr && threshold && clear) check_clear(in, rule);

  auto seconds = number(in, "for_seconds");
  if (seconds && (*seconds < 0 || *seconds > kMaxForSeconds))
    in.refuse("for_seconds", fmt::format("must be 0 to {}", kMaxForSeconds));
  else
    rule.for_ms = std::llround(seconds.value_or(0) * 1'000);

  rule.severity =
      static_cast<Severity>(in.word_or("severity", static_cast<std::size_t>(Severity::warning), {"info", "warning", "critical"}));
  rule.summary = checked(in, "summary", kMaxSummary, line_problem);
  if (rule.summary.empty() && metric != nullptr)
    rule.summary =
        fmt::format("{}{} is {{value}}: {}.", metric->name, metric->subject == Subject::none ? "" : " of {subject}", metric->meaning);
  rule.enabled = in.boolean_or("enabled", true);
  in.finish();
  return rule;
}

json::value to_json(const Silence& silence) {
  return {{"id", silence.id.text()},
          {"rule", silence.rule},
          {"subject", silence.subject},
          {"until", to_rfc3339(silence.until_wall_ms)},
          {"reason", silence.reason}};
}

}  // namespace lucid::monitor
