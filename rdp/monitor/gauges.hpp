// The readings of the host and of recording health as Prometheus gauges of this service: lucid_<metric>, with the subject as a label named by
// its kind. What has a subject that comes and goes without bound (sessions, containers) or that its own service exports (services,
// certificates) is not shown. One thread.
#pragma once

#include <map>
#include <span>
#include <string>
#include <utility>

#include "lib/runtime/metrics.hpp"
#include "rdp/monitor/reading.hpp"

namespace lucid::monitor {

class Gauges {
 public:
  explicit Gauges(runtime::Metrics& metrics) : metrics_(metrics) {}
  // A gauge whose reading is no longer there becomes NaN. At most 500 gauges; subjects beyond are not shown.
  void show(std::span<const Reading> readings);

 private:
  struct Shown {
    runtime::Gauge* gauge = nullptr;
    bool seen = false;
  };
  runtime::Metrics& metrics_;
  std::map<std::pair<std::string_view, std::string>, Shown> shown_;
};

}  // namespace lucid::monitor
