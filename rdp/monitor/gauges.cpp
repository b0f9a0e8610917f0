#include "rdp/monitor/gauges.hpp"

#include <limits>

namespace lucid::monitor {
namespace {

constexpr std::size_t kMaxGauges = 500;

bool exported(Subject subject) {
  switch (subject) {
    case Subject::none:
    case Subject::core:
    case Subject::mount:
    case Subject::device:
    case Subject::interface:
    case Subject::zone: return true;
    default: return false;
  }
}

}  // namespace

void Gauges::show(std::span<const Reading> readings) {
  for (auto& [key, shown] : shown_) shown.seen = false;
  for (const Reading& reading : readings) {
    const Metric* metric = find_metric(reading.metric);
    if (metric == nullptr || !exported(metric->subject)) continue;
    auto found = shown_.find({metric->name, reading.subject});
    if (found == shown_.end()) {
      if (shown_.size() >= kMaxGauges) continue;
      runtime::Labels labels;
      if (metric->subject != Subject::none) labels[name(metric->subject)] = reading.subject;
      runtime::Gauge& gauge = metrics_.gauge("lucid_" + std::string(metric->name), std::string(metric->meaning), labels);
      found = shown_.emplace(std::pair(metric->name, reading.subject), Shown{&gauge, true}).first;
    }
    found->second.gauge->set(reading.value);
    found->second.seen = true;
  }
  for (auto& [key, shown] : shown_)
    if (!shown.seen) shown.gauge->set(std::numeric_limits<double>::quiet_NaN());
}

}  // namespace lucid::monitor
