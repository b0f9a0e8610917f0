// Readings over the last minutes: how much a counter has grown, and how far a figure is above its smallest. Values; one thread.
#pragma once

#include <cmath>
#include <cstdint>
#include <deque>
#include <optional>

namespace lucid::monitor {

// The increase of a counter within a window. A counter that goes back has begun again at nothing.
class RecentIncrease {
 public:
  explicit RecentIncrease(std::int64_t window_ms) : window_ms_(window_ms) {}
  double add(std::int64_t at_ms, double counter) {
    if (!std::isfinite(counter)) return sum();
    double grown = !last_ ? 0 : counter >= *last_ ? counter - *last_ : counter;
    last_ = counter;
    if (grown > 0) steps_.push_back({at_ms, grown});
    while (!steps_.empty() && at_ms - steps_.front().at_ms > window_ms_) steps_.pop_front();
    return sum();
  }

 private:
  struct Step {
    std::int64_t at_ms;
    double grown;
  };
  double sum() const {
    double all = 0;
    for (const Step& step : steps_) all += step.grown;
    return all;
  }
  std::int64_t window_ms_;
  std::optional<double> last_;
  std::deque<Step> steps_;
};

// How far a figure is above the smallest it was within a window. Keeps only those that may yet be the smallest.
class RecentGrowth {
 public:
  explicit RecentGrowth(std::int64_t window_ms) : window_ms_(window_ms) {}
  double add(std::int64_t at_ms, double value) {
    if (!std::isfinite(value)) return 0;
    while (!lows_.empty() && lows_.back().value >= value) lows_.pop_back();
    lows_.push_back({at_ms, value});
    while (at_ms - lows_.front().at_ms > window_ms_) lows_.pop_front();
    return value - lows_.front().value;
  }

 private:
  struct Low {
    std::int64_t at_ms;
    double value;
  };
  std::int64_t window_ms_;
  std::deque<Low> lows_;
};

}  // namespace lucid::monitor
