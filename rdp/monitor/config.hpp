// Settings of resource-monitor. The common ones (port, host, log) are runtime's.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "lib/runtime/settings.hpp"
#include "rdp/monitor/history/history.hpp"
#include "rdp/monitor/readings/host.hpp"

namespace lucid::monitor {

inline constexpr const char* kServiceName = "resource-monitor";

struct Config {
  std::chrono::milliseconds interval{5'000};
  HostPlaces places;
  std::string cgroups;
  HistoryLimits history;
  std::vector<std::string> services;  // asked every interval
  std::string alert_command;          // empty: none
};

void declare_settings(runtime::Settings& settings);
// Error{invalid} naming the setting.
Config config_from(const runtime::Settings& settings);

}  // namespace lucid::monitor
