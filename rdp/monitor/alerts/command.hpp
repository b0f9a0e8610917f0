// Tells alerts to a program of the operator: started without a shell or arguments, the event's JSON on stdin, LUCID_ALERT_STATE, _RULE,
// _SEVERITY and _SUBJECT beside PATH and nothing else in its environment, output to /dev/null. One at a time, in order, on a thread of its own;
// whoever takes longer than the deadline is killed with its process group. At most kMaxWaiting events wait, the newest beyond are left out,
// counted and said in the log. Nothing survives the process: what waits when it ends is lost (webhooks are the durable way). The destructor
// kills a running program. notify() is thread-safe and never waits for a program.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "rdp/monitor/alerts/alerts.hpp"

namespace lucid::monitor {

class CommandNotifier {
 public:
  static constexpr std::size_t kMaxWaiting = 100;

  // Error{invalid} when `program` is no absolute path. Whether it can be started shows when it is: in the log.
  explicit CommandNotifier(std::string program, std::chrono::milliseconds deadline = std::chrono::seconds(10));
  ~CommandNotifier();
  void notify(const AlertEvent& event);

  struct Counts {
    std::uint64_t done = 0;      // ended with status 0
    std::uint64_t failed = 0;    // could not be started, ended otherwise, or was killed
    std::uint64_t left_out = 0;  // too many waited
  };
  Counts counts() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lucid::monitor
