#include "rdp/monitor/feed.hpp"

namespace lucid::monitor {

std::optional<std::vector<AlertEvent>> Feed::after(std::uint64_t seq, std::chrono::milliseconds wait) {
  auto until = std::chrono::steady_clock::now() + wait;
  while (true) {
    std::uint64_t told;
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return std::nullopt;
      told = told_;
    }
    std::vector<AlertEvent> events = alerts_.after(seq, 100);
    if (!events.empty()) return events;
    std::unique_lock lock(mutex_);
    if (!changed_.wait_until(lock, until, [&] { return stopping_ || told_ != told; })) return events;
  }
}

void Feed::notify() {
  {
    std::lock_guard lock(mutex_);
    ++told_;
  }
  changed_.notify_all();
}

void Feed::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
}

}  // namespace lucid::monitor
