// Runs a service's health checks on a thread of its own, so that a hanging dependency makes /health say so instead of hanging with it.
// Answers within a second whatever the checks do; a result is shown for up to half a second. Any thread; owned by the service's routes.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "lib/runtime/service.hpp"

namespace lucid::runtime {

class HealthBoard {
 public:
  explicit HealthBoard(std::vector<HealthCheck> checks);
  ~HealthBoard();  // waits for a running check
  struct Result {
    std::string name;
    bool ok = true;
    std::string detail;
  };
  std::vector<Result> look();

 private:
  void run();
  const std::vector<HealthCheck> checks_;
  std::mutex mutex_;
  std::condition_variable wanted_, done_;
  std::vector<Result> results_;
  std::chrono::steady_clock::time_point finished_;
  std::uint64_t asked_ = 0, answered_ = 0;
  std::size_t running_ = 0;  // index of the check under way
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace lucid::runtime
