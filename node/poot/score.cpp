#include "node/poot/score.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>

namespace lucid::poot {
namespace {

using Wide = unsigned __int128;

void check_span(Epoch first, Epoch last) {
  if (first > last || last > kMaxEpoch || last - first >= kMaxEpochsAtOnce)
    throw Error(ErrorKind::invalid, "epochs_invalid",
                "score the epochs " + std::to_string(first) + " to " + std::to_string(last) + ": not 1 to 366 epochs in order");
}

using Order = std::vector<const Receipt*>;

// Same key: by node, epoch, kind. Which of two equal keys comes first does not matter: they are the same receipt or refused.
bool before(const Receipt* a, const Receipt* b) {
  if (a->node != b->node) return a->node < b->node;
  if (a->epoch != b->epoch) return a->epoch < b->epoch;
  return a->work.index() < b->work.index();
}

// Puts receipts in order, each once. Checks every one of them.
void settle(Order& order) {
  for (const Receipt* receipt : order)
    if (auto good = check(*receipt); !good) throw good.error();
  if (!std::is_sorted(order.begin(), order.end(), before)) std::sort(order.begin(), order.end(), before);
  auto same = [](const Receipt* a, const Receipt* b) {
    if (before(a, b)) return false;
    if (*a == *b) return true;
    throw Error(ErrorKind::conflict, "receipts_conflict",
                "score receipts: two different " + std::string(name(a->kind())) + " receipts of node " + a->node.text() + " for epoch " +
                    std::to_string(a->epoch));
  };
  order.erase(std::unique(order.begin(), order.end(), same), order.end());
}

// What one epoch says of one node, before windows.
struct EpochWork {
  Credits own;
  std::uint32_t up = 0;
  std::uint64_t distinct = 0;  // sessions whose newest validation so far is of this epoch
};

// `receipts` are one node's, settled, of window_begin(first)…last.
NodeScores score_settled(const Id& node, Epoch first, Epoch last, std::span<const Receipt* const> receipts) {
  const Epoch begin = window_begin(first);
  std::vector<EpochWork> work(last - begin + 1);
  std::unordered_map<Id, Epoch> newest;  // epoch of the newest validation of a session so far
  NodeScores scores{.node = node, .epochs = {}};
  scores.epochs.reserve(last - first + 1);
  std::size_t at = 0;
  for (Epoch epoch = begin; epoch <= last; ++epoch) {
    EpochWork& now = work[epoch - begin];
    for (; at < receipts.size() && receipts[at]->epoch == epoch; ++at) {
      const Receipt& receipt = *receipts[at];
      if (const auto* hosting = std::get_if<Hosting>(&receipt.work)) {
        for (const HostingSlot& slot : hosting->slots) now.own.hosting += hosting_credits(slot);
      } else if (const auto* uptime = std::get_if<Uptime>(&receipt.work)) {
        now.up = uptime->count();
      } else if (const auto* storage = std::get_if<Storage>(&receipt.work)) {
        now.own.storage = storage_credits(*storage);
      } else {
        for (const Id& session : std::get<Validation>(receipt.work).sessions) {
          auto [seen, is_new] = newest.try_emplace(session, epoch);
          if (is_new || seen->second < window_begin(epoch)) now.own.validation += kCreditsPerValidation;
          if (!is_new) --work[seen->second - begin].distinct;
          seen->second = epoch;
          ++now.distinct;
        }
      }
    }
    if (epoch < first) continue;
    EpochScore score{.epoch = epoch, .own = now.own};
    for (Epoch e = window_begin(epoch); e <= epoch; ++e) {
      const EpochWork& one = work[e - begin];
      score.credits += one.own.hosting + one.own.storage + kCreditsPerValidation * one.distinct;
      score.slots_up += one.up;
    }
    scores.epochs.push_back(score);
  }
  return scores;
}

}  // namespace

std::uint64_t hosting_credits(const HostingSlot& slot) {
  if (slot.bytes == 0) return 0;
  return std::max<std::uint64_t>(slot.sessions, (slot.bytes - 1) / kHostingUnit + 1);
}

std::uint64_t storage_credits(const Storage& storage) {
  if (storage.asked == 0) return 0;
  Wide held = (Wide{10} * storage.bytes >> 30) + 2 * Wide{storage.chunks};
  return static_cast<std::uint64_t>(held * storage.passed / storage.asked);
}

std::uint64_t NodeScores::live() const {
  std::uint64_t sum = 0;
  for (const EpochScore& score : epochs) sum += score.earned();
  return sum;
}

NodeScores score_node(const Id& node, Epoch first, Epoch last, std::span<const Receipt> receipts) {
  check_span(first, last);
  Order order;
  order.reserve(receipts.size());
  for (const Receipt& receipt : receipts)
    if (receipt.node == node && receipt.epoch >= window_begin(first) && receipt.epoch <= last) order.push_back(&receipt);
  settle(order);
  return score_settled(node, first, last, order);
}

std::vector<NodeScores> score(Epoch first, Epoch last, std::span<const Receipt> receipts) {
  check_span(first, last);
  Order order;
  order.reserve(receipts.size());
  for (const Receipt& receipt : receipts)
    if (receipt.epoch >= window_begin(first) && receipt.epoch <= last) order.push_back(&receipt);
  settle(order);
  std::vector<NodeScores> all;
  for (std::size_t at = 0; at < order.size();) {
    std::size_t end = at;
    while (end < order.size() && order[end]->node == order[at]->node) ++end;
    all.push_back(score_settled(order[at]->node, first, last, std::span(order).subspan(at, end - at)));
    at = end;
  }
  return all;
}

}  // namespace lucid::poot
