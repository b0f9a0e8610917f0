// Which node gets a session. Pure; any thread.
#pragma once

#include <map>
#include <span>

#include "node/management/node.hpp"

namespace lucid::node_management {

// What a node has left: what it has, less what is placed on it; and no more than it reports free, less what it has not seen yet.
struct Free {
  std::int64_t cpu_millicores = 0, memory_mb = 0, slots = 0;
};
Free free_of(const Node& node);

struct Choice {
  const Node* node = nullptr;
  std::map<std::string, std::size_t> out;  // why the others were not taken: reason → nodes
  std::string why() const;                 // "3 nodes: 2 offline, 1 without a free slot"
};
// `spread` takes the node that is left least used, `pack` the most used one it fits; equal ones by id. `now_ms` is steady.
Choice choose(std::span<const Node* const> nodes, const contracts::PlaceRequest& request, Policy policy, std::int64_t now_ms);

}  // namespace lucid::node_management
