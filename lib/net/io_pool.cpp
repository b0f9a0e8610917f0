#include "lib/net/io_pool.hpp"

#include <algorithm>
#include <mutex>

#include <pthread.h>
#include <signal.h>

namespace lucid::net {

std::shared_ptr<IoPool> IoPool::shared(int threads) {
  static std::mutex mutex;
  static std::weak_ptr<IoPool> running;
  std::lock_guard lock(mutex);
  std::shared_ptr<IoPool> pool = running.lock();
  if (!pool) running = pool = std::make_shared<IoPool>(threads);
  return pool;
}

IoPool::IoPool(int threads) : work_(asio::make_work_guard(context_)) {
  int count = threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  // Signals are the main thread's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int i = 0; i < count; ++i) threads_.emplace_back([this] { context_.run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

IoPool::~IoPool() {
  // All servers have stopped, so what is still queued runs out by itself.
  work_.reset();
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace lucid::net
