// The work node-management gives to nodes: storage nodes hold chunks of finalised recordings and are challenged on them, validators recompute
// recordings and counter-sign. Owned by the service, which is its WorkHost and outlives it. Everything a restart needs is durable before an
// answer is answered; deadlines are counted by the service's steady clock from the moment the work was handed out, and start anew when the
// service restarts. Any thread; nothing but tick() and chunk() calls another service. docs/services/node-management/agent.md.
//
// How it is used:  declare_work_settings(settings)  …  Work work(documents, host, *recordings, clock, random, work_config(settings));
//                  work.open();   // loads, then plans on a thread of its own until destroyed
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

#include "lib/base/clock.hpp"
#include "lib/base/random.hpp"
#include "lib/runtime/service.hpp"
#include "lib/store/documents.hpp"
#include "node/management/work_host.hpp"
#include "node/management/work_records.hpp"

namespace lucid::node_management {

// Where recordings come from. Each call may throw lucid::Error; not_found stands for "deleted".
class Recordings {
 public:
  virtual ~Recordings() = default;
  struct Page {
    std::vector<Id> finalised;
    std::string next;  // cursor of the following page; empty at the end
  };
  virtual Page page(const std::string& cursor) = 0;  // newest first
  struct Recorded {
    std::uint64_t chunks = 0, bytes = 0;
    Hash32 root{};  // of the tree under the final checkpoint, its signature checked
  };
  virtual Recorded recorded(const Id& session) = 0;
  struct Row {
    std::uint64_t sequence = 0, bytes = 0;
    Hash32 blake3{};
  };
  virtual std::vector<Row> rows(const Id& session, std::uint64_t from, std::size_t limit) = 0;
  virtual Bytes chunk(const Id& session, std::uint64_t sequence) = 0;
};
// From session-pipeline, session-storage and chunk-processor.
std::unique_ptr<Recordings> recordings_of_services(const runtime::Context& context, const std::string& as);

struct WorkConfig {
  std::int64_t challenge_ms = 600'000;  // a storage node is challenged once in this time, at a moment it cannot know
  std::size_t copies = 2;               // storage nodes that hold a recording
  std::size_t validations = 1;          // validators that recompute a recording
};
void declare_work_settings(runtime::Settings& settings);
WorkConfig work_config(const runtime::Settings& settings);

inline constexpr std::size_t kWorkPerBeat = 8;              // handed out with one heartbeat
inline constexpr std::size_t kOpenHolds = 16;               // of one node
inline constexpr std::size_t kOpenWork = 100'000;           // of all nodes
inline constexpr std::uint64_t kChallengeBytes = 64 << 10;  // the longest range asked for
inline constexpr std::int64_t kChallengeDeadlineMs = 20'000;
inline constexpr std::int64_t kFetchDeadlineMs = 60'000;  // hold and validate, and 1 ms for every KiB
inline constexpr std::int64_t kUnfetchedMs = 3'600'000;   // work nobody came for is taken back, and counts for nothing
inline constexpr const char* kLateReason = "the deadline has passed";
inline constexpr std::int64_t kKeptMs = 86'400'000;  // an answer is repeated to whoever asks again

class Work final : public WorkDesk {
 public:
  Work(store::Documents& documents, WorkHost& host, Recordings& recordings, const Clock& clock, RandomSource& random, WorkConfig config);
  ~Work() override;
  void count_in(runtime::Metrics& metrics);  // before open()
  void load();                               // what was left open; before anything else
  void open();                               // load(), then tick() once a second
  void tick();                               // one round of planning, from one thread

  std::vector<contracts::NodeWork> work_for(const Id& node) override;
  Answered answer(const Id& node, const contracts::WorkAnswer& answer) override;
  Bytes chunk(const Id& node, const Id& session, std::uint64_t sequence) override;
  std::map<Id, Held> held() override;

  struct Totals {
    std::size_t open = 0, recordings = 0;
    std::uint64_t passed = 0, wrong = 0, late = 0;  // since the start
  };
  Totals totals();

 private:
  struct Open {
    WorkItem item;
    std::optional<std::int64_t> handed_steady_ms;  // none: nobody came for it yet
    std::int64_t made_steady_ms = 0;
    bool ending = false;  // a thread judges it
  };
  struct Recording {
    RecordingRecord record;
    std::size_t holders = 0;
    std::size_t validating = 0;  // open pieces of work
  };
  using HoldingKey = std::pair<Id, Id>;  // node, session

  // work.cpp
  WorkResult judge(const WorkItem& item, const contracts::WorkAnswer& answer);
  WorkResult end(const WorkItem& item, WorkResult result);  // durable, applied, closed; `item` is claimed
  void unclaim(const Id& work);
  void apply(const WorkItem& item, const WorkResult& result);  // what it changes; safe to repeat
  void issue(std::vector<WorkItem> items);
  void close(const Id& work);
  void save_holding(const HoldingKey& key);
  Id new_id();

  // work_plan.cpp
  using Nodes = std::vector<contracts::NodeStatus>;
  void run();
  void expire();
  void discover();
  void take_up(const std::vector<Id>& finalised);
  void release_gone_nodes();
  void assign(const Nodes& storage);
  void ask_to_hold(const Nodes& storage);
  void ask_to_prove(const Nodes& storage);
  void ask_to_validate();
  void drop(const std::vector<Id>& work);  // open work, uncounted
  void forget(const Id& session);          // it was deleted
  void prune();
  std::uint64_t below(std::uint64_t limit);

  store::Documents& documents_;
  WorkHost& host_;
  Recordings& recordings_;
  const Clock& clock_;
  RandomSource& random_;
  WorkConfig config_;

  std::mutex saving_;  // held over a change of a document and its write; taken before mutex_
  std::mutex mutex_;   // everything below; never held over a call to anyone
  std::condition_variable changed_;
  std::map<Id, Open> open_;
  std::map<Id, std::vector<Id>> open_of_;  // node → its open work, oldest first
  std::map<HoldingKey, HoldingRecord> holdings_;
  std::map<Id, Recording> known_;
  Totals totals_;
  std::array<std::array<runtime::Counter*, 3>, 3> counters_{};  // kind, end
  bool stopping_ = false;

  // Of the planning thread alone.
  std::string cursor_;
  std::set<Id> refused_;                       // finalised, and cannot be taken up
  std::map<Id, std::int64_t> next_challenge_;  // node → steady time
  std::int64_t next_release_ = 0, next_prune_ = 0;
  std::string complaint_;
  runtime::Log log_{"node-management"};
  std::thread planner_;
};

}  // namespace lucid::node_management
