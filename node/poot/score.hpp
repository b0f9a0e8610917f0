// What receipts are worth. Pure functions: the same receipts give the same figures in any order; an exact duplicate counts once; two different
// receipts of one epoch, node and kind throw Error{conflict, "receipts_conflict"} naming them, whatever their order. Receipts outside the
// epochs a figure is about are not looked at, so more receipts than needed do no harm. Everything is a whole number: credits are whole, and
// uptime is a number of slots out of the 5040 of the window, so every `live` is a multiple of 1/5040 and is kept as its numerator. Bounds of
// receipt.hpp keep all of it below 2^63. Throws Error{invalid} for a receipt check() refuses. Any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "node/poot/receipt.hpp"

namespace lucid::poot {

inline constexpr std::uint64_t kHostingUnit = 5u << 20;  // bytes that earn one credit in a slot
inline constexpr std::uint64_t kCreditsPerValidation = 5;
inline constexpr std::uint32_t kAdmittedFromSlots = kSlotsPerWindow / 5;  // uptime of 0.2: 1008 slots of 5040

// max(S, ceil(B / 5 MiB)); 0 when B = 0.
std::uint64_t hosting_credits(const HostingSlot& slot);
// floor((floor(10 · GiB) + 2 · chunks) · passed / asked); 0 when nothing was asked.
std::uint64_t storage_credits(const Storage& storage);

// Credits of one epoch by where they come from. `validation` counts a session once for a node in any seven epochs: not in an epoch when a
// validation receipt of the same node in the six epochs before names it too.
struct Credits {
  std::uint64_t hosting = 0, storage = 0, validation = 0;
  std::uint64_t sum() const { return hosting + storage + validation; }
  bool operator==(const Credits&) const = default;
};

// One node seen at the end of one epoch.
struct EpochScore {
  Epoch epoch = 0;
  Credits own;                 // of this epoch alone
  std::uint64_t credits = 0;   // of the window; a session validated several times in it counts once
  std::uint32_t slots_up = 0;  // of the 5040 of the window
  bool admitted() const { return credits > 0 && slots_up >= kAdmittedFromSlots; }
  std::uint64_t live() const { return credits * slots_up; }                       // in 1/5040
  std::uint64_t earned() const { return admitted() ? own.sum() * slots_up : 0; }  // what this epoch adds to `live` of a period, in 1/5040
  bool operator==(const EpochScore&) const = default;
};

struct NodeScores {
  Id node;
  std::vector<EpochScore> epochs;  // one for each epoch asked for, ascending
  std::uint64_t live() const;      // of the period: the sum of earned(), in 1/5040
  bool operator==(const NodeScores&) const = default;
};

inline constexpr std::uint32_t kMaxEpochsAtOnce = 366;

// The scores of one node for the epochs first…last (at most 366) from its receipts of window_begin(first)…last; receipts of other nodes are
// not looked at. The whole month of a large deployment is scored node by node with this, holding one node's receipts at a time.
NodeScores score_node(const Id& node, Epoch first, Epoch last, std::span<const Receipt> receipts);
// The same for every node that has a receipt in window_begin(first)…last, ascending by node id.
std::vector<NodeScores> score(Epoch first, Epoch last, std::span<const Receipt> receipts);

}  // namespace lucid::poot
