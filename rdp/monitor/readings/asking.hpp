// Asks all our services at once, each by a thread of its own that is kept: however many of them hang, the others answer as if they were alone.
// Made and asked by one thread; its end waits for calls under way, at most the deadline. What cannot be asked is a text in the answer.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/base/json.hpp"
#include "rdp/monitor/readings/services.hpp"

namespace lucid::monitor {

struct PeerAnswer {
  std::int64_t at_ms = 0;  // steady; when its /metrics had come
  double scrape_seconds = 0;
  std::string metrics, metrics_problem;  // a problem: no metrics
  bool healthy = false;
  std::string health_problem;
  bool listed = false;  // its list of servers, recordings or connections has come, in `pages`
  std::vector<json::value> pages;
  std::string list_problem;
};

class Asking {
 public:
  Asking(std::vector<ServiceReader::Peer> peers, const Clock& clock, std::chrono::milliseconds deadline);
  ~Asking();
  // The answers in the order of the peers, valid until the next ask().
  const std::vector<PeerAnswer>& ask();

 private:
  enum class State { idle, asked, done };
  struct Slot {
    ServiceReader::Peer peer;
    State state = State::idle;
    PeerAnswer answer;
    std::thread thread;
  };
  using Deadline = std::chrono::steady_clock::time_point;
  void serve(Slot& slot);
  void ask_one(const ServiceReader::Peer& peer, Deadline until, PeerAnswer& answer) const;

  const Clock& clock_;
  const std::chrono::milliseconds deadline_;
  std::mutex mutex_;
  std::condition_variable asked_, done_;
  bool stopping_ = false;
  Deadline until_;
  std::vector<Slot> slots_;
  std::vector<PeerAnswer> answers_;  // the asker's
};

}  // namespace lucid::monitor
