// An epoll thread and the connections it owns. Everything of a connection happens on its loop's thread, so nothing of it is locked; other
// threads send work with post() and ask(). Sockets are registered edge-triggered once, and deadlines exist only while something is
// awaited: an idle relay costs no wake-up. The Gateway owns the loops.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/base/file_ops.hpp"
#include "lib/runtime/log.hpp"
#include "lib/runtime/metrics.hpp"
#include "rdp/gateway/admissions.hpp"
#include "rdp/gateway/config.hpp"
#include "rdp/gateway/guard.hpp"
#include "rdp/gateway/relay.hpp"
#include "rdp/gateway/reporter.hpp"

namespace lucid::gateway {

class Link;
enum class Which { client = 0, upstream = 1 };

struct Counters {
  explicit Counters(runtime::Metrics& metrics);
  runtime::Counter& refused(Refusal refusal);
  runtime::Metrics& metrics;
  runtime::Gauge &open, &banned, &waiting_reports, &waiting_admissions;
  runtime::Counter &relayed, &refused_connections, &gone, &bans, &up, &down;
  runtime::Histogram &handshake, &admission;
};

// Connections that are neither reading their first packet nor relaying: a hand-over waits for them.
class Busy {
 public:
  void add(int n);
  bool wait_for_none(std::chrono::milliseconds patience);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

// What every connection needs; outlives the loops.
struct Surroundings {
  const Config& config;
  const Clock& clock;
  const runtime::Log& log;
  Guard& guard;
  Reporter& reporter;
  Counters& counters;
  Busy& busy;
  std::function<bool(contracts::AdmissionRequest, std::function<void(Decision)>)> submit;
  // Ends a connection wherever it lives; does not wait.
  std::function<void(const Id&, std::string cause)> replace;
};

class Loop {
 public:
  explicit Loop(Surroundings& around);
  ~Loop();
  void start();
  void stop();  // joins the thread; connections stay as they are until the destructor
  std::size_t size() const { return size_; }

  void post(std::function<void()> work);
  // Runs `work` on the loop's thread and answers its result.
  template <class Work>
  auto ask(Work work) -> decltype(work()) {
    std::packaged_task<decltype(work())()> task(std::move(work));
    auto result = task.get_future();
    post([&task] { task(); });
    return result.get();
  }

  // The rest: on the loop's thread only.
  void watch_listener(int fd, std::function<void()> ready);
  void forget_listener(int fd);
  Link& adopt(std::unique_ptr<Link> link);
  Link* find(const Id& id);
  void each(const std::function<void(Link&)>& visit);
  bool watch(Link& link, Which which, int fd);  // false: the system allows no more
  void forget(int fd);
  void set_deadline(Link& link, std::int64_t steady_ms);
  void clear_deadline(Link& link);
  void again(Link& link);  // its go_on() is called after others had their turn
  void bury(Link& link);   // destroyed once nothing of this turn can refer to it
  PipePool& pipes() { return pipes_; }
  Surroundings& around() { return around_; }
  std::int64_t wall_ms() const { return wall_ms_; }  // as of this turn
  std::uint64_t moved_up = 0, moved_down = 0;        // bytes since the metrics were told

 private:
  void run();
  int wait_ms() const;
  void dispatch(std::uint64_t tag, std::uint32_t events);
  void run_posted();
  void run_deadlines();
  void run_again();
  void tell_metrics();

  Surroundings& around_;
  File epoll_, wake_;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;
  std::atomic<bool> stopping_ = false;
  std::atomic<std::size_t> size_ = 0;
  std::function<void()> accept_;
  std::unordered_map<Id, std::unique_ptr<Link>> links_;
  std::set<std::pair<std::int64_t, Link*>> deadlines_;
  std::deque<Link*> again_;
  std::vector<std::unique_ptr<Link>> buried_;
  PipePool pipes_;
  std::int64_t wall_ms_ = 0;
  std::thread thread_;
};

}  // namespace lucid::gateway
