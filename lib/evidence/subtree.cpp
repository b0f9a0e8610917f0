#include "lib/evidence/subtree.hpp"

#include <bit>

#include <fmt/format.h>

namespace lucid::evidence {
namespace {

std::unexpected<Error> does_not_hold(const std::string& what) { return std::unexpected(Error(ErrorKind::corrupt, "bad_proof", what)); }

}  // namespace

bool is_subtree(std::uint64_t start, std::uint64_t end) {
  if (start >= end) return false;
  std::uint64_t length = end - start;
  // Above 2^63 leaves there is no power of two to round up to in 64 bits; only the start 0 is a multiple of it.
  if (length > std::uint64_t{1} << 63) return start == 0;
  return start % std::bit_ceil(length) == 0;
}

Expected<void> verify_subtree_inclusion(std::uint64_t index, std::uint64_t start, std::uint64_t end, const Hash32& leaf_hash,
                                        const Proof& proof, const Hash32& subtree_root) {
  if (!is_subtree(start, end)) return does_not_hold(fmt::format("[{}, {}) is not a subtree", start, end));
  if (index < start || index >= end) return does_not_hold(fmt::format("leaf {} is not in [{}, {})", index, start, end));
  return verify_inclusion(index - start, end - start, leaf_hash, proof, subtree_root);
}

Expected<void> verify_subtree_consistency(std::uint64_t start, std::uint64_t end, std::uint64_t size, const Hash32& subtree_root,
                                          const Hash32& root, const Proof& proof) {
  if (end > size) return does_not_hold(fmt::format("[{}, {}) is not in a tree of {}", start, end, size));
  if (start == end) {
    // No leaves: part of every tree, whatever its root.
    if (!proof.empty()) return does_not_hold("the proof is too long");
    if (subtree_root != empty_root()) return does_not_hold("the empty tree has another root");
    return {};
  }
  if (!is_subtree(start, end)) return does_not_hold(fmt::format("[{}, {}) is not a subtree", start, end));
  // Positions, level by level, of the part's first node, its last node and the tree's last node.
  std::uint64_t fn = start;
  std::uint64_t sn = end - 1;
  std::uint64_t tn = size - 1;
  auto up = [&] { fn >>= 1, sn >>= 1, tn >>= 1; };
  // Up to the level where the part's last complete node hangs, which is the first one a proof has to name.
  if (sn == tn) {
    while (fn != sn) up();
  } else {
    while (fn != sn && (sn & 1) != 0) up();
  }
  auto p = proof.begin();
  Hash32 part = subtree_root;
  if (fn != sn) {
    if (proof.empty()) return does_not_hold("the proof is too short");
    part = *p++;
  }
  Hash32 whole = part;
  for (; p != proof.end(); ++p) {
    if (tn == 0) return does_not_hold("the proof is too long");
    if ((sn & 1) != 0 || sn == tn) {
      if (fn < sn) part = node_hash(*p, part);
      whole = node_hash(*p, whole);
      while ((sn & 1) == 0 && sn != 0) up();
    } else {
      whole = node_hash(whole, *p);
    }
    up();
  }
  if (tn != 0) return does_not_hold("the proof is too short");
  if (part != subtree_root) return does_not_hold("the proof leads to another root of the part");
  if (whole != root) return does_not_hold("the proof leads to another root of the tree");
  return {};
}

}  // namespace lucid::evidence
