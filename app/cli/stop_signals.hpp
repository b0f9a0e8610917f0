// SIGINT and SIGTERM as something to wait for. Blocked from construction to destruction, and for every thread started
// meanwhile; after one was seen, a second ends the process at once. Main thread.
#pragma once

#include <chrono>
#include <csignal>

namespace lucid::cli {

class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  // Waits up to `time`; true when asked to stop.
  bool wait(std::chrono::milliseconds time);
  bool seen() const { return seen_; }

 private:
  sigset_t set_, before_;
  bool seen_ = false;
};

}  // namespace lucid::cli
