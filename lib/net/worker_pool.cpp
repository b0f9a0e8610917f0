#include "lib/net/worker_pool.hpp"

#include <algorithm>

#include <pthread.h>
#include <signal.h>

namespace lucid::net {

WorkerPool::WorkerPool(int threads) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int i = 0; i < std::max(1, threads); ++i) threads_.emplace_back([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  std::lock_guard lock(mutex_);
  size_ = threads_.size();
}

WorkerPool::Load WorkerPool::load() const {
  std::lock_guard lock(mutex_);
  return {size_, busy_, queue_.size()};
}

void WorkerPool::post(std::move_only_function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
  }
  more_.notify_one();
}

void WorkerPool::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  more_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  std::lock_guard lock(mutex_);
  size_ = 0;
}

void WorkerPool::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    more_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    std::move_only_function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    ++busy_;
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
    --busy_;
  }
}

}  // namespace lucid::net
