// Threads on which handlers run and may block. Owned by one server; everything posted before stop() still runs.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace lucid::net {

class WorkerPool {
 public:
  explicit WorkerPool(int threads);
  ~WorkerPool() { stop(); }
  void post(std::move_only_function<void()> work);  // any thread; `work` must not throw
  void stop();                                      // finishes what was posted, then joins; not from a worker

 private:
  void run();
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<std::move_only_function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lucid::net
