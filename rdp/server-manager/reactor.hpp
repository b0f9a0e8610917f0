// One thread that tells when watched processes end (pidfd_open, so adopted ones too) and when a delay is over. Callbacks run on that thread
// and must be short: they hand work on. Owned by the Manager; watch() and after() from any thread. Ended children of ours are reaped here.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "lib/base/file_ops.hpp"
#include "rdp/server-manager/child.hpp"

namespace lucid::server_manager {

class Reactor {
 public:
  Reactor();
  ~Reactor();  // callbacks that are due no more are dropped
  // `ended` is called once; at once when the process is gone already.
  void watch(const ProcessId& process, std::function<void()> ended);
  void after(std::chrono::milliseconds delay, std::function<void()> due);

 private:
  void run();
  struct Watched {
    File fd;
    ProcessId process;
    std::function<void()> ended;
  };
  File epoll_, wake_;
  std::mutex mutex_;
  std::uint64_t next_ = 1;
  std::map<std::uint64_t, Watched> watched_;
  std::multimap<std::chrono::steady_clock::time_point, std::function<void()>> timers_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace lucid::server_manager
