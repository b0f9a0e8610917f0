// A node, a pool and a placement in the registry's memory. Guarded by the registry's mutex.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "node/management/states.hpp"

namespace lucid::node_management {

// What is reserved for a session on its node from the moment it was placed.
struct Placed {
  Id node;
  int cpu_millicores = 0;
  std::int64_t memory_mb = 0;
  std::int64_t placed_wall_ms = 0;
  bool durable = false;
  bool released = false;  // ended; kept until its last bytes are measured
};

struct Node {
  Id id;
  std::string name;
  contracts::NodeType type = contracts::NodeType::worker;
  crypto::VerifyKey key;
  contracts::NodeCapacity capacity;
  std::vector<std::string> capabilities;
  Hash32 invitation{};        // hash of the one it came by
  std::uint32_t ordinal = 0;  // its bit in the uptime maps; given at activation, for good
  std::int64_t registered_wall_ms = 0;

  State state = State::pending;  // these five follow from its last event
  std::string cause = "registered";
  std::int64_t since_wall_ms = 0;
  bool was_draining = false;     // when it went offline
  bool struck = false;           // it was banned; stays when it is retired then
  std::uint64_t event = 0;       // sequence of that event
  std::uint64_t kept_event = 0;  // the one its own document knows
  bool changing = false;         // an event is being made durable: nothing is placed on it now

  std::uint64_t last_sequence = 0;  // of its signed requests
  std::uint64_t ceiling = 0;        // durable: none above it has been accepted

  std::array<std::uint8_t, 32> challenge{};
  std::int64_t challenge_until_ms = 0;  // steady, as the next two

  contracts::NodeLoad load;
  std::set<Id> reported;  // load.sessions
  std::int64_t last_beat_ms = 0, lease_until_ms = 0;
  std::int64_t last_beat_wall_ms = 0;
  bool heard = false;  // since this process started

  std::map<Id, Placed> placed;  // durable or about to be, not released
};

enum class Policy { spread, pack };
const char* name(Policy policy);

struct Pool {
  Id id;
  std::string name;
  Policy policy = Policy::spread;
  int min_members = 3, max_members = 100;
  std::set<Id> members;
  std::int64_t created_wall_ms = 0;
};

}  // namespace lucid::node_management
