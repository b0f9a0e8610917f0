// What `lucid top` shows, as lines of text: pure, from the monitor's JSON answers. Every line fits the width given (cut, never wrapped), and
// nothing from outside reaches a terminal but plain characters of one column: names come from users and devices. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/json.hpp"

namespace lucid::cli {

// The answers of GET /api/v1/monitor/{host,services,sessions,alerts}; members that are missing or of another kind show as "-".
struct TopData {
  json::value host, services, sessions, alerts;
  std::string problem;  // why these are not of this moment; empty when they are
};

enum class TopSort { cpu, memory, frames };

struct TopStyle {
  int columns = 80, rows = 24;
  bool colour = false;   // SGR sequences
  bool unicode = false;  // block elements, else ASCII
  TopSort sort = TopSort::cpu;
  bool live = false;  // with a line of keys
};

std::vector<std::string> top_lines(const TopData& data, const TopStyle& style);
// All sessions and services, for pipes and files.
std::string top_report(const TopData& data, bool unicode);
// `text` without anything a terminal acts on: what is no letter or mark of one column becomes "?".
std::string one_column_text(std::string_view text, bool unicode);

}  // namespace lucid::cli
