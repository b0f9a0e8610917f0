#include "node/management/placement.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace lucid::node_management {
namespace {

constexpr std::int64_t kWhole = 1'000'000;

// The largest part of anything that would be in use, in millionths.
std::int64_t use_after(const Node& n, const Free& free, const contracts::PlaceRequest& r) {
  auto part = [](std::int64_t used, std::int64_t all) { return all <= 0 ? kWhole : used * kWhole / all; };
  return std::max({part(n.capacity.cpu_millicores - free.cpu_millicores + r.cpu_millicores, n.capacity.cpu_millicores),
                   part(n.capacity.memory_mb - free.memory_mb + r.memory_mb, n.capacity.memory_mb),
                   part(n.capacity.session_slots - free.slots + 1, n.capacity.session_slots)});
}

const char* reason_out(const Node& n, const Free& free, const contracts::PlaceRequest& r, std::int64_t now_ms) {
  if (n.type != contracts::NodeType::worker) return "not a worker";
  if (n.state != State::active) return contracts::name(n.state);
  if (n.changing) return "changing its state";
  if (n.lease_until_ms < now_ms) return "silent for a lease";
  if (!n.heard) return "not heard since the start";
  if (free.slots < 1) return "without a free slot";
  if (free.cpu_millicores < r.cpu_millicores) return "with too little cpu";
  if (free.memory_mb < r.memory_mb) return "with too little memory";
  return nullptr;
}

}  // namespace

const char* name(Policy policy) { return policy == Policy::spread ? "spread" : "pack"; }

Free free_of(const Node& n) {
  Free f{n.capacity.cpu_millicores, n.capacity.memory_mb, n.capacity.session_slots};
  std::int64_t cpu = n.load.cpu_millicores_free, memory = n.load.memory_mb_free;
  f.slots -= static_cast<std::int64_t>(n.reported.size());
  for (const auto& [session, placed] : n.placed) {
    f.cpu_millicores -= placed.cpu_millicores;
    f.memory_mb -= placed.memory_mb;
    if (n.reported.contains(session)) continue;
    cpu -= placed.cpu_millicores;
    memory -= placed.memory_mb;
    --f.slots;
  }
  f.cpu_millicores = std::min(f.cpu_millicores, cpu);
  f.memory_mb = std::min(f.memory_mb, memory);
  return f;
}

std::string Choice::why() const {
  std::size_t all = 0;
  std::string parts;
  for (const auto& [reason, count] : out) {
    all += count;
    parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", count, reason);
  }
  return all == 0 ? "there is no node" : fmt::format("{} node{}: {}", all, all == 1 ? "" : "s", parts);
}

Choice choose(std::span<const Node* const> nodes, const contracts::PlaceRequest& request, Policy policy, std::int64_t now_ms) {
  Choice choice;
  std::int64_t best = 0;
  for (const Node* node : nodes) {
    Free free = free_of(*node);
    if (const char* reason = reason_out(*node, free, request, now_ms)) {
      ++choice.out[reason];
      continue;
    }
    std::int64_t use = use_after(*node, free, request);
    bool better = policy == Policy::spread ? use < best : use > best;
    if (choice.node == nullptr || better || (use == best && node->id < choice.node->id)) {
      choice.node = node;
      best = use;
    }
  }
  return choice;
}

}  // namespace lucid::node_management
