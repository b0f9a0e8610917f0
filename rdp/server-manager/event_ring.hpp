// The newest events of all servers for long polls: the last 4096, in memory. Sequence numbers go on over restarts: they are reserved in
// blocks, durably, before they are given out. Thread-safe.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include "lib/contracts/rdp_server.hpp"
#include "lib/store/documents.hpp"

namespace lucid::server_manager {

class EventRing {
 public:
  explicit EventRing(store::Documents& documents);
  void add(const Id& server, contracts::ServerState state, std::string cause);
  // Those with seq > after, at most 256, oldest first; waits for one. `next` is what to ask `after` the next time.
  contracts::ServerEvents after(std::uint64_t after, std::chrono::milliseconds wait);
  void stop();  // ends every wait

 private:
  void reserve();
  store::Documents& documents_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<contracts::ServerEvent> events_;
  std::uint64_t last_ = 0, reserved_ = 0;
  bool stopping_ = false;
};

}  // namespace lucid::server_manager
