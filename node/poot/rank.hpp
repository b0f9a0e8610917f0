// The tally of an epoch: its nodes in order of rank. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "node/poot/score.hpp"

namespace lucid::poot {

// What decides between equal `live` (the smaller digest ranks first): SHA-256(u64 epoch, little-endian ‖ log root of the epoch before, 32 bytes
// ‖ node id, 16 bytes). Nobody can choose a node id for a root that is not yet known. The root before the first epoch is 32 zero bytes.
Hash32 tie_break(Epoch epoch, const Hash32& previous_log_root, const Id& node);

struct Tally {
  Id node;
  EpochScore score;
  std::uint32_t rank = 0;  // from 1; 0: not admitted
  bool operator==(const Tally&) const = default;
};

// Every node with a receipt in the window: the admitted by rank (largest live first), then the others ascending by node id.
// Throws as score() does.
std::vector<Tally> tally(Epoch epoch, const Hash32& previous_log_root, std::span<const Receipt> receipts);
// The same from scores of that one epoch, for who streams receipts node by node through score_node().
struct Scored {
  Id node;
  EpochScore score;
};
std::vector<Tally> rank(Epoch epoch, const Hash32& previous_log_root, std::vector<Scored> scored);

}  // namespace lucid::poot
