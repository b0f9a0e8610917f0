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
  struct Load {
    std::size_t threads, busy, queued;
  };
  Load load() const;  // any thread
  void stop();        // finishes what was posted, then joins; not from a worker

 private:
  void run();
  mutable std::mutex mutex_;
  std::condition_variable more_;
  std::deque<std::move_only_function<void()>> queue_;
  bool stopping_ = false;
  std::size_t size_ = 0, busy_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace lucid::net
