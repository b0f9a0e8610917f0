#include "node/poot/leader.hpp"

#include <map>
#include <memory>
#include <unordered_set>
#include <utility>

namespace lucid::poot {

const char* name(LeaderReason reason) {
  switch (reason) {
    case LeaderReason::leads: return "leads";
    case LeaderReason::fell_back: return "fell_back";
    case LeaderReason::missed_no_node: return "missed_no_node";
    case LeaderReason::missed_all_rested: return "missed_all_rested";
    case LeaderReason::missed_none_up: return "missed_none_up";
  }
  return "unknown";
}

std::string Leader::text() const {
  auto count = [](std::uint32_t n) { return std::to_string(n); };
  std::string rested = count(resting) + " of better rank led one of the last " + count(kRestSlots) + " slots";
  switch (reason) {
    case LeaderReason::leads: return "rank " + count(rank) + ": " + rested;
    case LeaderReason::fell_back: return "rank " + count(rank) + ": " + rested + ", " + count(fall_backs) + " before it were not up";
    case LeaderReason::missed_no_node: return "missed: no node is admitted";
    case LeaderReason::missed_all_rested:
      return "missed: every admitted node (" + count(resting) + ") led one of the last " + count(kRestSlots) + " slots";
    case LeaderReason::missed_none_up:
      return "missed: the first choice and every fall-back (" + count(fall_backs) + " nodes) were not up; " + rested;
  }
  return "unknown";
}

Leader leader_of(Slot slot, std::span<const Tally> tally, std::span<const Leader> last, const WasUp& was_up) {
  std::unordered_set<Id> resting;
  for (const Leader& leader : last)
    if (leader.node && leader.slot < slot && slot - leader.slot <= kRestSlots) resting.insert(*leader.node);
  Leader answer;
  answer.slot = slot;
  bool any = false;
  for (const Tally& one : tally) {
    if (one.rank == 0) break;  // the admitted stand in front
    any = true;
    if (answer.fall_backs > kFallBacks) break;
    if (resting.contains(one.node)) {
      ++answer.resting;
      continue;
    }
    if (was_up(one.node, slot)) {
      answer.node = one.node;
      answer.rank = one.rank;
      answer.reason = answer.fall_backs == 0 ? LeaderReason::leads : LeaderReason::fell_back;
      return answer;
    }
    ++answer.fall_backs;
  }
  answer.reason = !any                     ? LeaderReason::missed_no_node
                  : answer.fall_backs == 0 ? LeaderReason::missed_all_rested
                                           : LeaderReason::missed_none_up;
  return answer;
}

std::vector<Leader> leaders_of_epoch(Epoch epoch, std::span<const Tally> tally, std::span<const Leader> last, const WasUp& was_up) {
  std::vector<Leader> recent;
  for (const Leader& leader : last)
    if (leader.slot < first_slot(epoch) && first_slot(epoch) - leader.slot <= kRestSlots) recent.push_back(leader);
  std::size_t earlier = recent.size();
  recent.reserve(earlier + kSlotsPerEpoch);
  for (Slot slot = first_slot(epoch); slot < first_slot(epoch + 1); ++slot) {
    std::size_t from = recent.size() > earlier + kRestSlots ? recent.size() - kRestSlots : 0;
    recent.push_back(leader_of(slot, tally, std::span<const Leader>(recent).subspan(from), was_up));
  }
  recent.erase(recent.begin(), recent.begin() + static_cast<std::ptrdiff_t>(earlier));
  return recent;
}

WasUp up_by_receipts(std::span<const Receipt> receipts) {
  auto maps = std::make_shared<std::map<std::pair<Epoch, Id>, Uptime>>();
  for (const Receipt& receipt : receipts) {
    const auto* uptime = std::get_if<Uptime>(&receipt.work);
    if (uptime == nullptr) continue;
    auto [at, is_new] = maps->try_emplace({receipt.epoch, receipt.node}, *uptime);
    if (!is_new && at->second != *uptime)
      throw Error(
          ErrorKind::conflict, "receipts_conflict",
          "read who was up: two different uptime receipts of node " + receipt.node.text() + " for epoch " + std::to_string(receipt.epoch));
  }
  return [maps](const Id& node, Slot slot) {
    auto at = maps->find({epoch_of(slot), node});
    return at != maps->end() && at->second.up(slot_in_epoch(slot));
  };
}

}  // namespace lucid::poot
