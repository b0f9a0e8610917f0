// The monitor's beat: every interval it looks at services, sessions, host and containers, keeps the readings, holds them against the alert
// rules and shows the newest as gauges and as a snapshot. One thread of its own from start() to the destructor; latest() and healthy() from any
// thread. A look that fails is said in the log and in /health, and the next one comes all the same.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "lib/runtime/log.hpp"
#include "lib/runtime/metrics.hpp"
#include "rdp/monitor/alerts/alerts.hpp"
#include "rdp/monitor/config.hpp"
#include "rdp/monitor/gauges.hpp"
#include "rdp/monitor/readings/containers.hpp"
#include "rdp/monitor/readings/services.hpp"

namespace lucid::monitor {

// Everything of one look.
struct Snapshot {
  std::int64_t at_wall_ms = 0;
  Host host;
  std::vector<Container> containers;
  std::vector<Service> services;
  std::vector<Session> sessions;
};

class Monitor {
 public:
  struct Parts {
    History& history;
    Alerts& alerts;
    const Clock& clock;
    runtime::Metrics& metrics;
    // Asked at the first look, when every service of this process listens.
    std::function<std::vector<ServiceReader::Peer>()> peers;
  };
  Monitor(Config config, Parts parts);
  ~Monitor();
  void start();
  // Null before the first look.
  std::shared_ptr<const Snapshot> latest() const;
  // Why the newest look failed or is overdue, or nothing.
  std::optional<std::string> problem() const;
  std::chrono::milliseconds interval() const { return config_.interval; }

 private:
  void run();
  void look();
  ServiceReader& services();

  const Config config_;
  const Parts parts_;
  const runtime::Log log_{kServiceName};
  HostReader host_;
  ContainerReader containers_;
  ProcessReader processes_;
  std::unique_ptr<ServiceReader> services_;
  Gauges gauges_;
  runtime::Histogram& seconds_;
  std::vector<Reading> readings_;  // of the look under way; kept for its memory

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<const Snapshot> latest_;
  std::string failure_;
  std::int64_t looked_steady_ms_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace lucid::monitor
