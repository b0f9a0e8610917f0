// The work the service asks for, done one piece after another on a thread of its own, so that it never holds up a heartbeat. Bounded: at most
// kQueued pieces wait, more are offered again with a later heartbeat. An answer that could not be delivered is kept and delivered when the work
// is offered again. take() from any thread; the destructor waits for the piece in hand.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <thread>
#include <vector>

#include "lib/base/clock.hpp"
#include "node/agent/link.hpp"
#include "node/agent/shelf.hpp"

namespace lucid::node_agent {

inline constexpr std::size_t kQueued = 32;
inline constexpr std::size_t kAnswersKept = 1'024;
inline constexpr std::int64_t kAgainMs = 5'000;             // after a piece of work could not be done
inline constexpr std::uint64_t kMaxValidated = 50'000'000;  // chunks of one recording

class Chores {
 public:
  struct Parts {
    Link& link;
    Identity& identity;
    Shelf& shelf;
    const Clock& clock;
    std::function<void(const std::string&)> say;
  };
  explicit Chores(Parts parts);
  ~Chores();
  void take(const std::vector<contracts::NodeWork>& work);
  void wait_until_idle();  // nothing waits and nothing is in hand

 private:
  void run();
  void settle(const contracts::NodeWork& work);
  contracts::WorkAnswer answer_to(const contracts::NodeWork& work);
  Bytes fetch(const Id& session, std::uint64_t sequence);
  Hash32 prove(const contracts::NodeWork& work);
  Hash32 recompute(const contracts::NodeWork& work);

  Parts parts_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<contracts::NodeWork> queue_;
  Id in_hand_;
  std::map<Id, contracts::WorkAnswer> answers_;
  std::map<Id, std::int64_t> not_before_;  // work that failed → steady time
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace lucid::node_agent
