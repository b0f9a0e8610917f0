// What the monitor wants to know from one service's exposition. Private to ServiceReader; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/error.hpp"

namespace lucid::monitor {

struct ServiceFigures {
  std::string version;
  std::optional<double> cpu_seconds, resident_bytes, open_files, started_s;
  double requests = 0, errors = 0;                                              // errors: of a status of 500 or more
  std::optional<double> gaps, spool_bytes, backlog_segments, oldest_segment_s;  // session-recorder
  std::optional<double> stalled;                                                // session-pipeline
  std::optional<double> checkpoint_age_s;                                       // chunk-processor
  std::optional<double> storage_errors;                                         // session-storage: errors and corrupt chunks
  std::optional<double> nodes_offline;                                          // node-management
  std::vector<std::pair<std::string, double>> certificates;                     // name and end, seconds since 1970
};
// Other series are not looked at. Error{malformed} naming the line when one of these is wrong.
Expected<ServiceFigures> read_figures(std::string_view exposition);

}  // namespace lucid::monitor
