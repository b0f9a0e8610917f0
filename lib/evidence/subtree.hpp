// Proofs about a part [start, end) of a Merkle tree (draft-ietf-plants-merkle-tree-certs section 4): that a leaf is in
// the part, and that the part is the tree's. They let a range of a recording be checked against a checkpoint of the
// whole. Pure; any thread.
#pragma once

#include <cstdint>

#include "lib/evidence/tree.hpp"

namespace lucid::evidence {

// Whether [start, end) is a part with a node of its own: not empty, and start a multiple of the smallest power of two
// that is no smaller than end - start.
bool is_subtree(std::uint64_t start, std::uint64_t end);

// Each answers the reason in words when the proof does not hold. `index` counts from the tree's first leaf. A part
// without leaves holds in every tree that reaches as far, with the empty root and the empty proof.
Expected<void> verify_subtree_inclusion(std::uint64_t index, std::uint64_t start, std::uint64_t end, const Hash32& leaf_hash,
                                        const Proof& proof, const Hash32& subtree_root);
Expected<void> verify_subtree_consistency(std::uint64_t start, std::uint64_t end, std::uint64_t size, const Hash32& subtree_root,
                                          const Hash32& root, const Proof& proof);

}  // namespace lucid::evidence
