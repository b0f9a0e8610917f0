// Alert events for those who wait: long polls and event streams. Any thread; the alerts outlive it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <vector>

#include "rdp/monitor/alerts/alerts.hpp"

namespace lucid::monitor {

class Feed {
 public:
  explicit Feed(const Alerts& alerts) : alerts_(alerts) {}
  // Events after `seq`, oldest first, at most 100; waits up to `wait` for one. Empty: none came. nullopt: the service is stopping.
  std::optional<std::vector<AlertEvent>> after(std::uint64_t seq, std::chrono::milliseconds wait);
  std::uint64_t newest() const { return alerts_.last_seq(); }
  // An event was told: waiters look again.
  void notify();
  // Every wait ends, now and from here on.
  void stop();

 private:
  const Alerts& alerts_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t told_ = 0;
  bool stopping_ = false;
};

}  // namespace lucid::monitor
