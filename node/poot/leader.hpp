// The leader schedule. The leader of a slot is the best rank (tally of the epoch before the slot's) that led none of the last 16 slots and was
// up in the slot; at most five fall-backs are tried after the first, else the slot is missed. Which it was and why is in the answer. Pure: who
// was up comes from the uptime receipts (or, while the epoch runs, the same measurement), so anyone can recompute it. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "node/poot/rank.hpp"

namespace lucid::poot {

inline constexpr std::uint32_t kRestSlots = 16;
inline constexpr std::uint32_t kFallBacks = 5;

enum class LeaderReason {
  leads,              // the first choice was up
  fell_back,          // the first `fall_backs` choices were not up
  missed_no_node,     // nobody is admitted
  missed_all_rested,  // every admitted node led one of the last 16 slots
  missed_none_up,     // neither the first choice nor a fall-back was up
};
const char* name(LeaderReason reason);  // "leads", "fell_back", …

struct Leader {
  Slot slot = 0;
  std::optional<Id> node;  // nothing: missed
  std::uint32_t rank = 0;  // of the node; 0 when missed
  LeaderReason reason = LeaderReason::missed_no_node;
  std::uint32_t resting = 0;     // admitted nodes of better rank than the last choice looked at, passed over since they led lately
  std::uint32_t fall_backs = 0;  // choices that were not up
  std::string text() const;      // the reason in words
  bool operator==(const Leader&) const = default;
};

using WasUp = std::function<bool(const Id& node, Slot slot)>;

// `tally` is that of epoch_of(slot) - 1; `last` the leaders of earlier slots (those of the 16 slots before `slot` are looked at, any order).
Leader leader_of(Slot slot, std::span<const Tally> tally, std::span<const Leader> last, const WasUp& was_up);
// All 720 of an epoch, `last` being the leaders of the epoch before (its final 16 slots are enough).
std::vector<Leader> leaders_of_epoch(Epoch epoch, std::span<const Tally> tally, std::span<const Leader> last, const WasUp& was_up);
// Who was up in a slot by the uptime receipts; throws Error{conflict} when two receipts of a node and epoch differ.
WasUp up_by_receipts(std::span<const Receipt> receipts);

}  // namespace lucid::poot
