// The registry: invitations, nodes, their states, signatures and leases, pools and placements. What it answers is durable (survives power loss):
// invitations, activated nodes, every change of state (an event each), pools, placements, releases, and a ceiling under each node's sequences.
// Not durable: pending registrations (a restart forgets them, the node registers again), loads, and leases: after a restart every node has one
// whole lease before it counts as offline. Only this process writes these documents (its data directory is locked), so names and keys are
// unique by its memory. Thread-safe; no lock is held over a disk write or a signature check but those that serialise one node's or the pools'
// own writes. Throws lucid::Error with the codes of lib/contracts/nodes.hpp.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <unordered_map>

#include "lib/base/random.hpp"
#include "lib/store/documents.hpp"
#include "node/management/metrics.hpp"
#include "node/management/node.hpp"
#include "node/management/service_time.hpp"

namespace lucid::node_management {

inline constexpr std::int64_t kChallengeMs = 120'000;
inline constexpr std::int64_t kBeatsPerSecond = 50;  // all nodes together
inline constexpr std::int64_t kShortestBeatMs = 1'000;
inline constexpr std::int64_t kShortestLeaseMs = 4'000;  // a killed node is avoided within 5 s
inline constexpr std::uint64_t kSequenceStep = 1'000;    // sequences accepted for one durable write
inline constexpr int kMaxPoolMembers = 1'000;
inline constexpr std::size_t kMaxPools = 1'000;
inline constexpr std::size_t kMaxNodes = 100'000;

class Registry {
 public:
  struct Parts {
    store::Documents& documents;
    const Clock& clock;
    const ServiceTime& time;
    RandomSource& random;
    NodeMetrics& metrics;
    // Called with every heartbeat: the node was there from the first to the second time (service wall clock). Must not block.
    std::function<void(std::uint32_t ordinal, std::int64_t from_wall_ms, std::int64_t to_wall_ms)> up;
  };
  explicit Registry(Parts parts);
  void open();  // Error{corrupt} for a document that cannot be read
  void stop();  // long polls answer at once from now on

  struct Invitation {
    std::string secret;
    std::int64_t expires_wall_ms = 0;
  };
  Invitation invite(std::int64_t uses, std::int64_t valid_seconds);
  struct Registered {
    Id id;
    std::array<std::uint8_t, 32> challenge{};
    std::int64_t expires_wall_ms = 0;
  };
  Registered register_node(const contracts::NodeRegistration& registration);
  contracts::NodeStatus activate(const Id& id, ByteView signature);

  // The node that signed this request with a sequence larger than all before; uses the sequence up, whatever comes of the request.
  Id authenticate(std::string_view header, std::string_view method, std::string_view target, ByteView body);
  contracts::BeatReply beat(const Id& id, const contracts::NodeLoad& load);  // without work

  contracts::NodeStatus act(const Id& id, Trigger trigger, const std::string& cause);
  contracts::NodeStatus status(const Id& id);
  std::optional<contracts::NodeStatus> find(const Id& id);
  std::vector<contracts::NodeStatus> active(contracts::NodeType type);
  struct Page {
    std::vector<contracts::NodeStatus> nodes;
    std::string next;
  };
  struct Filter {
    std::optional<State> state;
    std::optional<Id> pool;
  };
  Page list(const std::optional<Id>& before, std::size_t limit, const Filter& filter);  // newest first
  // Every node that was ever active, by id, with its ordinal.
  std::vector<std::pair<Id, std::uint32_t>> ordinals();

  // Nodes that were ever active and how they stand: true in `left` for those that retired, in `struck` for those that were banned.
  struct Stand {
    bool left = false, struck = false;
  };
  std::map<Id, Stand> stands();

  void expire();   // nodes whose lease is over go offline; about four times a second
  void compact();  // keeps the log of events bounded; now and then
  contracts::NodeEvents events(std::uint64_t after, std::int64_t wait_ms);

  struct PoolView {
    Pool pool;
    std::size_t active = 0;  // members that are
  };
  PoolView make_pool(const std::string& name, Policy policy, int min_members, int max_members);
  PoolView pool(const Id& id);
  std::vector<PoolView> pools();
  void remove_pool(const Id& id);
  void add_member(const Id& pool, const Id& node);
  void remove_member(const Id& pool, const Id& node);

  contracts::Placement place(const std::optional<Id>& pool, const contracts::PlaceRequest& request);
  void release(const Id& session);
  std::map<Id, Placed> placements();             // by session; with the released ones that are not measured yet
  void forget(const std::vector<Id>& measured);  // released sessions whose last bytes are counted

  struct Totals {
    std::array<std::size_t, kAllStates.size()> by_state{};
    std::size_t placements = 0;
  };
  Totals totals();

 private:
  struct InvitationState {
    std::uint64_t uses = 0;
    std::int64_t until_ms = 0;  // steady
    std::uint64_t used = 0;     // by nodes that are active or were
  };
  struct Change {
    Id node;
    Trigger trigger;
    std::string cause;
    std::optional<Error> refusal;
    std::exception_ptr failure;
    bool done = false;
  };
  struct Stored {  // an event as it is kept
    contracts::NodeEvent event;
    std::int64_t wall_ms = 0;
  };
  using Lock = std::unique_lock<std::mutex>;

  // registry.cpp; with mutex_ held
  Node& get(const Id& id);
  contracts::NodeStatus describe(const Node& n) const;
  void forget_pending(const Id& id);
  bool over(const Node& n) const { return n.state == State::pending && n.challenge_until_ms < parts_.time.steady_ms(); }
  std::int64_t beat_every_ms() const;
  std::int64_t lease_ms() const;
  void load_nodes();
  void load_events();
  void raise_ceiling(const Id& id, std::uint64_t sequence);  // without mutex_

  // transitions.cpp
  void commit(std::span<Change* const> changes);
  std::optional<store::Documents::Insert> prepare(Change& change, std::vector<store::Documents::Insert>& inserts,
                                                  std::vector<Stored>& events);
  void apply(const Stored& stored);
  static std::string event_json(const Stored& stored);

  // pools.cpp
  void load_pools();
  void keep_pool(const Pool& pool);
  PoolView view(const Pool& pool) const;
  void leave_pools(const Id& node);
  Pool& pool_at(const Id& id);
  Node& pick(const std::optional<Id>& pool, const contracts::PlaceRequest& request);

  static std::string node_json(const Node& n);

  Parts parts_;
  std::mutex mutex_;  // guards all below
  std::map<Id, std::unique_ptr<Node>> nodes_;
  std::unordered_map<std::string, Id> names_, keys_;              // lower-case name of all that are not retired; key text of all
  std::unordered_map<std::string, InvitationState> invitations_;  // by hex of the hash
  std::set<Id> pending_;                                          // few: each holds a use of an invitation
  std::uint32_t next_ordinal_ = 0;
  std::array<std::size_t, kAllStates.size()> by_state_{};

  std::deque<Stored> events_;
  std::uint64_t next_event_ = 1;
  std::condition_variable event_added_;
  bool stopping_ = false;
  std::vector<Change*> waiting_;
  bool leading_ = false;
  std::condition_variable committed_;

  std::map<Id, Pool> pools_;
  std::map<Id, Placed> placements_;
  std::condition_variable placed_;

  std::mutex pools_write_mutex_;                // one writer of pools; taken before mutex_
  std::array<std::mutex, 16> ceiling_mutexes_;  // one writer of a node's ceiling; taken before mutex_
};

}  // namespace lucid::node_management
