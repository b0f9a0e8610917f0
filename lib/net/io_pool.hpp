// The process's io threads: one io_context run by one thread per core, shared by all servers and ended with the last of them. Whoever
// holds the pointer must let go of it on a thread that is not one of the pool's.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "lib/net/asio.hpp"

namespace lucid::net {

class IoPool {
 public:
  // The running pool, or a new one of `threads` (0: the number of cores). A running pool keeps its size.
  static std::shared_ptr<IoPool> shared(int threads);
  explicit IoPool(int threads);
  ~IoPool();
  asio::io_context& context() { return context_; }

 private:
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::vector<std::thread> threads_;
};

}  // namespace lucid::net
