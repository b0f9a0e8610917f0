#include "lib/evidence/tree.hpp"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "lib/crypto/hash.hpp"

namespace lucid::evidence {
namespace {

// The longest prefix that is a complete subtree and leaves something over: the largest power of two below `n` (n > 1).
std::uint64_t split(std::uint64_t n) { return std::bit_floor(n - 1); }

Error bad_proof(const std::string& what) { return Error(ErrorKind::corrupt, "bad_proof", what); }
Error broken_call(const std::string& what) { return Error(ErrorKind::internal, what); }

}  // namespace

Hash32 leaf_hash(ByteView data) {
  // Leaves are small (one chunk's description): a copy costs less than a second call into the hash.
  constexpr std::size_t kSmall = 512;
  constexpr std::uint8_t kPrefix[1] = {0x00};
  if (data.size() < kSmall) {
    std::array<std::uint8_t, kSmall> bytes;
    bytes[0] = kPrefix[0];
    std::copy(data.begin(), data.end(), bytes.begin() + 1);
    return crypto::sha256(ByteView(bytes).first(data.size() + 1));
  }
  crypto::Sha256Hasher hasher;
  hasher.update(kPrefix);
  hasher.update(data);
  return hasher.finish();
}

Hash32 node_hash(const Hash32& left, const Hash32& right) {
  std::array<std::uint8_t, 65> bytes;
  bytes[0] = 0x01;
  std::copy(left.begin(), left.end(), bytes.begin() + 1);
  std::copy(right.begin(), right.end(), bytes.begin() + 33);
  return crypto::sha256(bytes);
}

Hash32 empty_root() { return crypto::sha256({}); }

void Tree::append(const Hash32& leaf_hash) {
  Hash32 hash = leaf_hash;
  for (std::size_t k = 0;; ++k) {
    if (k == levels_.size()) levels_.emplace_back();
    std::vector<Hash32>& level = levels_[k];
    level.push_back(hash);
    if (level.size() % 2 != 0) return;
    hash = node_hash(level[level.size() - 2], level.back());
  }
}

void Tree::truncate(std::uint64_t size) {
  if (size >= this->size()) return;
  for (std::size_t k = 0; k < levels_.size(); ++k) levels_[k].resize(size >> k);
}

Hash32 Tree::subtree(std::uint64_t begin, std::uint64_t end) const {
  std::uint64_t n = end - begin;
  if (std::has_single_bit(n)) {
    int k = std::countr_zero(n);
    if (begin % n == 0) return levels_[static_cast<std::size_t>(k)][begin >> k];
  }
  std::uint64_t middle = begin + split(n);
  return node_hash(subtree(begin, middle), subtree(middle, end));
}

Hash32 Tree::root_at(std::uint64_t size) const {
  if (size > this->size()) throw broken_call(fmt::format("root of {} leaves: the tree has {}", size, this->size()));
  return size == 0 ? empty_root() : subtree(0, size);
}

// PATH(m, D[n]) of RFC 9162 section 2.1.3.1, walked from the root down and turned round.
Proof Tree::inclusion(std::uint64_t index, std::uint64_t size) const {
  if (size > this->size() || index >= size)
    throw broken_call(fmt::format("prove leaf {} of {}: the tree has {}", index, size, this->size()));
  Proof proof;
  for (std::uint64_t begin = 0, end = size; end - begin > 1;) {
    std::uint64_t middle = begin + split(end - begin);
    if (index < middle) {
      proof.push_back(subtree(middle, end));
      end = middle;
    } else {
      proof.push_back(subtree(begin, middle));
      begin = middle;
    }
  }
  std::reverse(proof.begin(), proof.end());
  return proof;
}

// SUBPROOF(m, D[n], true) of RFC 9162 section 2.1.4.1, walked the same way.
Proof Tree::consistency(std::uint64_t from, std::uint64_t to) const {
  if (to > this->size() || from > to)
    throw broken_call(fmt::format("prove {} leaves a prefix of {}: the tree has {}", from, to, this->size()));
  Proof proof;
  if (from == 0 || from == to) return proof;
  std::uint64_t begin = 0;
  std::uint64_t end = to;
  while (end != from) {
    std::uint64_t middle = begin + split(end - begin);
    if (from <= middle) {
      proof.push_back(subtree(middle, end));
      end = middle;
    } else {
      proof.push_back(subtree(begin, middle));
      begin = middle;
    }
  }
  // The verifier knows the smaller tree's root, which is this subtree when it starts at the first leaf.
  if (begin != 0) proof.push_back(subtree(begin, end));
  std::reverse(proof.begin(), proof.end());
  return proof;
}

// RFC 9162 section 2.1.3.2.
Expected<void> verify_inclusion(std::uint64_t index, std::uint64_t size, const Hash32& leaf_hash, const Proof& proof, const Hash32& root) {
  if (index >= size) return std::unexpected(bad_proof(fmt::format("leaf {} is not in a tree of {}", index, size)));
  std::uint64_t fn = index;
  std::uint64_t sn = size - 1;
  Hash32 hash = leaf_hash;
  for (const Hash32& p : proof) {
    if (sn == 0) return std::unexpected(bad_proof("the proof is too long"));
    if ((fn & 1) != 0 || fn == sn) {
      hash = node_hash(p, hash);
      while ((fn & 1) == 0 && fn != 0) fn >>= 1, sn >>= 1;
    } else {
      hash = node_hash(hash, p);
    }
    fn >>= 1, sn >>= 1;
  }
  if (sn != 0) return std::unexpected(bad_proof("the proof is too short"));
  if (hash != root) return std::unexpected(bad_proof("the proof leads to another root"));
  return {};
}

// RFC 9162 section 2.1.4.2. It leaves out equal sizes, and the empty tree, which is a prefix of every tree: a proof of
// that says nothing about the second root and is refused, except from the empty tree to itself.
Expected<void> verify_consistency(std::uint64_t size1, std::uint64_t size2, const Hash32& root1, const Hash32& root2, const Proof& proof) {
  if (size1 > size2) return std::unexpected(bad_proof(fmt::format("{} leaves cannot precede {}", size1, size2)));
  if (size1 == 0 && size2 != 0) return std::unexpected(bad_proof("consistency with the empty tree says nothing"));
  if (size1 == 0 && root1 != empty_root()) return std::unexpected(bad_proof("the empty tree has another root"));
  if (size1 == size2) {
    if (!proof.empty()) return std::unexpected(bad_proof("the proof is too long"));
    if (root1 != root2) return std::unexpected(bad_proof("trees of one size have different roots"));
    return {};
  }
  if (proof.empty()) return std::unexpected(bad_proof("the proof is too short"));

  std::uint64_t fn = size1 - 1;
  std::uint64_t sn = size2 - 1;
  while ((fn & 1) != 0) fn >>= 1, sn >>= 1;
  auto p = proof.begin();
  // A complete first tree is its own subtree: its root stands for the proof's first element.
  const Hash32& first = std::has_single_bit(size1) ? root1 : *p++;
  Hash32 hash1 = first;
  Hash32 hash2 = first;
  for (; p != proof.end(); ++p) {
    if (sn == 0) return std::unexpected(bad_proof("the proof is too long"));
    if ((fn & 1) != 0 || fn == sn) {
      hash1 = node_hash(*p, hash1);
      hash2 = node_hash(*p, hash2);
      while ((fn & 1) == 0 && fn != 0) fn >>= 1, sn >>= 1;
    } else {
      hash2 = node_hash(hash2, *p);
    }
    fn >>= 1, sn >>= 1;
  }
  if (sn != 0) return std::unexpected(bad_proof("the proof is too short"));
  if (hash1 != root1) return std::unexpected(bad_proof("the proof leads to another root of the first tree"));
  if (hash2 != root2) return std::unexpected(bad_proof("the proof leads to another root of the second tree"));
  return {};
}

}  // namespace lucid::evidence
