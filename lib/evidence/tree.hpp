// Merkle trees by RFC 9162 section 2.1 (SHA-256, 0x00 before leaves, 0x01 before nodes, no duplicated nodes): an
// append-only tree that answers roots and proofs of every past size, and the verifiers. Pure; a Tree is owned by one
// thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"

namespace lucid::evidence {

Hash32 leaf_hash(ByteView data);
Hash32 node_hash(const Hash32& left, const Hash32& right);
Hash32 empty_root();

using Proof = std::vector<Hash32>;

class Tree {
 public:
  void append(const Hash32& leaf_hash);
  void truncate(std::uint64_t size);  // forgets leaves beyond `size`
  std::uint64_t size() const { return levels_.empty() ? 0 : levels_[0].size(); }
  Hash32 leaf(std::uint64_t index) const { return levels_[0].at(index); }
  Hash32 root() const { return root_at(size()); }
  Hash32 root_at(std::uint64_t size) const;                        // size <= this->size()
  Proof inclusion(std::uint64_t index, std::uint64_t size) const;  // index < size <= this->size()
  Proof consistency(std::uint64_t from, std::uint64_t to) const;   // from <= to <= this->size()

 private:
  Hash32 subtree(std::uint64_t begin, std::uint64_t end) const;
  std::vector<std::vector<Hash32>> levels_;  // levels_[k][i]: complete subtree of 2^k leaves
};

// Each answers the reason in words when the proof does not hold. Consistency of a tree with the empty one says nothing
// about it, so size1 == 0 is refused unless size2 is 0 too; who starts at 0 has nothing to verify.
Expected<void> verify_inclusion(std::uint64_t index, std::uint64_t size, const Hash32& leaf_hash, const Proof& proof, const Hash32& root);
Expected<void> verify_consistency(std::uint64_t size1, std::uint64_t size2, const Hash32& root1, const Hash32& root2, const Proof& proof);

}  // namespace lucid::evidence
