// What a metric's values mean: its unit by its name, the values it can have, and how people read one. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace lucid::monitor {

enum class Unit { flag, share, cores, bytes, bytes_per_second, per_second, seconds, celsius, count };
Unit unit_of(std::string_view metric);

// A rule's threshold outside of it is never passed, or always.
struct ValueRange {
  double least, most;
};
ValueRange range_of(std::string_view metric);

// "93 %", "1.25 cores", "312 MiB", "4.5 MiB/s", "2.5 s", "13.2 days", "76.5 °C", "21".
std::string value_text(std::string_view metric, double value);

// `summary` with {subject} and {value} filled in; what stands in a subject is not filled in again.
std::string filled(std::string_view summary, std::string_view subject, std::string_view value);

// Whether a rule's or silence's pattern (exact, "prefix*", or empty for every one) covers `text`.
inline bool covers(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return true;
  if (pattern.back() == '*') return text.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == text;
}

// Why a text from outside is no such pattern, or not one line; nullptr when it is.
const char* pattern_problem(std::string_view pattern);
const char* line_problem(std::string_view text);

}  // namespace lucid::monitor
