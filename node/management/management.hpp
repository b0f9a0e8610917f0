// The service: registry, epochs, and the two threads that move them (leases, four times a second; epochs, once a second). Owned by the module;
// thread-safe; stops its threads when destroyed. A desk is attached once, before start(), and outlives everything but this.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "node/management/epochs.hpp"
#include "node/management/registry.hpp"
#include "node/management/work_host.hpp"
#include "node/payout-runs/payout_runs.hpp"

namespace lucid::node_management {

class Management final : public WorkHost, public payout_runs::Source {
 public:
  struct Parts {
    store::Documents& documents;
    const Clock& clock;
    RandomSource& random;
    runtime::Metrics& metrics;
    crypto::SigningKey key;
    std::string node;  // the deployment's name
    MeasureHosting measure;
  };
  explicit Management(Parts parts);
  ~Management() override;
  void open();                                   // loads; before anything else
  void attach(WorkDesk* desk) { desk_ = desk; }  // null: none any more
  void start();                                  // the threads
  void stop();                                   // and waits for them; long polls answer

  Registry& registry() { return registry_; }
  Epochs& epochs() { return epochs_; }
  const ServiceTime& time() const { return time_; }
  WorkDesk* desk() { return desk_; }
  std::optional<std::string> problem();

  // What the threads do, once. Throw lucid::Error.
  void tend_leases();
  void tend_epochs();

  std::vector<contracts::NodeStatus> active(contracts::NodeType type) override { return registry_.active(type); }
  std::optional<contracts::NodeStatus> node(const Id& id) override { return registry_.find(id); }
  void challenged(const Id& node, const Id& work, bool passed) override { epochs_.challenged(node, work, passed, time_.wall_ms()); }
  void validated(const Id& node, const Id& work, const Id& session) override { epochs_.validated(node, work, session, time_.wall_ms()); }

  poot::Epoch open_epoch() override { return epochs_.open_epoch(); }
  Hash32 log_root(poot::Epoch epoch) override { return epochs_.log_root(epoch); }
  std::map<Id, payouts::Standing> standings() override;
  bool knows(const Id& node) override { return registry_.stands().contains(node); }
  void each_node(poot::Epoch first, poot::Epoch last, const EachNode& each) override;

 private:
  void loop(std::chrono::milliseconds every, const char* what, void (Management::*step)());

  ServiceTime time_;
  NodeMetrics metrics_;
  std::atomic<WorkDesk*> desk_{nullptr};
  Epochs epochs_;
  Registry registry_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::map<std::string, std::string> problems_;  // of the threads, by what they do
  std::thread leases_, epoch_thread_;
};

}  // namespace lucid::node_management
