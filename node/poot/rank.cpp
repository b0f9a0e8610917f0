#include "node/poot/rank.hpp"

#include <algorithm>
#include <string>

#include "lib/crypto/hash.hpp"

namespace lucid::poot {

Hash32 tie_break(Epoch epoch, const Hash32& previous_log_root, const Id& node) {
  Bytes bytes;
  ByteWriter out(bytes);
  out.u64(epoch);
  out.bytes(previous_log_root);
  out.bytes(node.bytes());
  return crypto::sha256(bytes);
}

std::vector<Tally> rank(Epoch epoch, const Hash32& previous_log_root, std::vector<Scored> scored) {
  struct Entry {
    Scored scored;
    Hash32 tie;
  };
  std::vector<Entry> entries;
  entries.reserve(scored.size());
  for (const Scored& one : scored) {
    if (one.score.epoch != epoch)
      throw Error(ErrorKind::invalid, "epochs_invalid",
                  "rank epoch " + std::to_string(epoch) + ": the score of node " + one.node.text() + " is of another");
    entries.push_back({one, one.score.admitted() ? tie_break(epoch, previous_log_root, one.node) : Hash32{}});
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    bool admitted_a = a.scored.score.admitted(), admitted_b = b.scored.score.admitted();
    if (admitted_a != admitted_b) return admitted_a;
    if (admitted_a) {
      if (a.scored.score.live() != b.scored.score.live()) return a.scored.score.live() > b.scored.score.live();
      if (a.tie != b.tie) return a.tie < b.tie;
    }
    return a.scored.node < b.scored.node;
  });
  std::vector<Tally> tallies;
  tallies.reserve(entries.size());
  for (const Entry& entry : entries)
    tallies.push_back({.node = entry.scored.node,
                       .score = entry.scored.score,
                       .rank = entry.scored.score.admitted() ? static_cast<std::uint32_t>(tallies.size() + 1) : 0});
  return tallies;
}

std::vector<Tally> tally(Epoch epoch, const Hash32& previous_log_root, std::span<const Receipt> receipts) {
  std::vector<Scored> scored;
  for (const NodeScores& scores : score(epoch, epoch, receipts)) scored.push_back({scores.node, scores.epochs.front()});
  return rank(epoch, previous_log_root, std::move(scored));
}

}  // namespace lucid::poot
