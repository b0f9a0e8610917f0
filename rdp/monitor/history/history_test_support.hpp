// For the tests of the history: the same appends kept in a plain list, and the answer that list gives.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/file_ops.hpp"
#include "rdp/monitor/history/history.hpp"

namespace lucid::monitor {

inline constexpr std::int64_t kSecond = 1'000, kMinute = 60 * kSecond, kHour = 60 * kMinute, kDay = 24 * kHour;
inline constexpr std::int64_t kStart = 1'700'000'000'000 / kHour * kHour;

class NaiveHistory {
 public:
  void append(std::int64_t wall_ms, std::span<const Reading> readings) {
    last_ = std::max(wall_ms, last_ + 1);
    for (const Reading& r : readings)
      if (std::isfinite(r.value)) all_.push_back({last_, std::string(r.metric), r.subject, r.value});
  }
  std::int64_t last_ms() const { return last_; }

  // By subject, then by step.
  using Lines = std::map<std::string, std::map<std::int64_t, double>>;
  Lines query(const HistoryQuery& q, std::int64_t span, std::int64_t step) const {
    struct Sum {
      double sum = 0, min = 0, max = 0, last = 0;
      int count = 0;
    };
    std::map<std::string, std::map<std::int64_t, Sum>> sums;
    for (const One& one : all_) {
      std::int64_t at = one.at - one.at % span;
      if (one.metric != q.metric || (q.subject && one.subject != *q.subject) || at < q.from_ms - q.from_ms % span || at >= q.to_ms)
        continue;
      Sum& s = sums[one.subject][at - at % step];
      s.min = s.count == 0 ? one.value : std::min(s.min, one.value);
      s.max = s.count == 0 ? one.value : std::max(s.max, one.value);
      s.sum += one.value;
      s.last = one.value;
      ++s.count;
    }
    Lines lines;
    for (const auto& [subject, steps] : sums)
      for (const auto& [at, s] : steps)
        lines[subject][at] = q.aggregate == Aggregate::avg   ? s.sum / s.count
                             : q.aggregate == Aggregate::min ? s.min
                             : q.aggregate == Aggregate::max ? s.max
                                                             : s.last;
    return lines;
  }

 private:
  struct One {
    std::int64_t at;
    std::string metric, subject;
    double value;
  };
  std::vector<One> all_;
  std::int64_t last_ = 0;
};

inline NaiveHistory::Lines lines_of(const HistoryAnswer& answer) {
  NaiveHistory::Lines lines;
  for (const HistoryLine& line : answer.lines)
    for (const HistoryPoint& point : line.points) lines[line.subject][point.at_ms] = point.value;
  return lines;
}

inline std::int64_t span_of(const std::string& tier) { return tier == "raw" ? 1 : tier == "minute" ? kMinute : kHour; }

inline HistoryQuery one_series(const char* metric, std::string subject, std::int64_t from, std::int64_t to, std::int64_t step = 0,
                               Aggregate how = Aggregate::avg) {
  return {.metric = metric, .subject = std::move(subject), .from_ms = from, .to_ms = to, .step_ms = step, .aggregate = how};
}

}  // namespace lucid::monitor
