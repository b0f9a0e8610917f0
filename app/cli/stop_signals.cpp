#include "app/cli/stop_signals.hpp"

#include <thread>

#include <pthread.h>

namespace lucid::cli {

StopSignals::StopSignals() {
  sigemptyset(&set_);
  sigaddset(&set_, SIGINT);
  sigaddset(&set_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set_, &before_);
}

StopSignals::~StopSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

bool StopSignals::wait(std::chrono::milliseconds time) {
  if (seen_) {
    std::this_thread::sleep_for(time);  // the next signal ends the process by its default action
    return true;
  }
  timespec limit{time.count() / 1000, (time.count() % 1000) * 1'000'000};
  if (sigtimedwait(&set_, nullptr, &limit) < 0) return false;
  seen_ = true;
  pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
  return true;
}

}  // namespace lucid::cli
