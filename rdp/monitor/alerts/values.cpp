#include "rdp/monitor/alerts/values.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace lucid::monitor {
namespace {

constexpr double kMiB = 1 << 20;

// As many decimals as say something.
std::string short_number(double v) {
  double size = std::abs(v);
  if (v == std::round(v) && size < 1e15) return fmt::format("{:.0f}", v);
  if (size >= 100) return fmt::format("{:.0f}", v);
  return size >= 1 ? fmt::format("{:.1f}", v) : fmt::format("{:.2g}", v);
}

std::string time_text(double seconds) {
  double size = std::abs(seconds);
  if (size < 120) return short_number(seconds) + " s";
  if (size < 2 * 3'600) return short_number(seconds / 60) + " min";
  if (size < 2 * 86'400) return short_number(seconds / 3'600) + " h";
  return fmt::format("{:.1f} days", seconds / 86'400);
}

}  // namespace

Unit unit_of(std::string_view metric) {
  if (metric == "host_throttled" || metric == "host_undervoltage" || metric == "service_up" || metric == "service_healthy")
    return Unit::flag;
  if (metric.ends_with("_cpu_ratio")) return Unit::cores;
  if (metric.ends_with("_ratio")) return Unit::share;
  if (metric.ends_with("_bytes_per_second")) return Unit::bytes_per_second;
  if (metric.ends_with("_per_second")) return Unit::per_second;
  if (metric.ends_with("_bytes")) return Unit::bytes;
  if (metric.ends_with("_seconds")) return Unit::seconds;
  if (metric.ends_with("_celsius")) return Unit::celsius;
  return Unit::count;
}

ValueRange range_of(std::string_view metric) {
  constexpr double kEndless = std::numeric_limits<double>::infinity();
  Unit unit = unit_of(metric);
  if (unit == Unit::flag || unit == Unit::share) return {0, 1};
  if (unit == Unit::celsius || metric == "certificate_expires_seconds" || metric == "host_clock_jump_seconds") return {-kEndless, kEndless};
  return {0, kEndless};
}

std::string value_text(std::string_view metric, double value) {
  switch (unit_of(metric)) {
    case Unit::share: return short_number(std::round(value * 1'000) / 10) + " %";
    case Unit::cores: return fmt::format("{:.2f} cores", value);
    case Unit::bytes: return short_number(value / kMiB) + " MiB";
    case Unit::bytes_per_second: return short_number(value / kMiB) + " MiB/s";
    case Unit::per_second: return short_number(value) + "/s";
    case Unit::seconds: return time_text(value);
    case Unit::celsius: return fmt::format("{:.1f} °C", value);
    case Unit::flag:
    case Unit::count: return short_number(value);
  }
  return short_number(value);
}

std::string filled(std::string_view summary, std::string_view subject, std::string_view value) {
  std::string out;
  while (!summary.empty()) {
    if (summary.starts_with("{subject}")) {
      out += subject;
      summary.remove_prefix(std::string_view("{subject}").size());
    } else if (summary.starts_with("{value}")) {
      out += value;
      summary.remove_prefix(std::string_view("{value}").size());
    } else {
      out += summary.front();
      summary.remove_prefix(1);
    }
  }
  return out;
}

const char* line_problem(std::string_view text) {
  bool control = std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  return control ? "must not contain control characters" : nullptr;
}

const char* pattern_problem(std::string_view pattern) {
  if (auto star = pattern.find('*'); star != std::string_view::npos && star + 1 != pattern.size()) return "may have one '*', at its end";
  return line_problem(pattern);
}

}  // namespace lucid::monitor
