#include "lib/evidence/tree.hpp"

#include <gtest/gtest.h>

#include "lib/base/random.hpp"
#include "lib/crypto/hash.hpp"

namespace lucid::evidence {
namespace {

constexpr std::size_t kMax = 200;

Hash32 leaf_of(std::uint64_t i) {
  Bytes data;
  ByteWriter(data).u64(i);
  return leaf_hash(data);
}

// RFC 9162 section 2.1 word for word, on ranges; every range is computed once.
class Definition {
 public:
  explicit Definition(std::size_t size) : size_(size), known_((size + 1) * (size + 1)) {}

  const Hash32& mth(std::size_t begin, std::size_t end) {
    std::optional<Hash32>& hash = known_[begin * (size_ + 1) + end];
    if (!hash) {
      if (begin == end) {
        hash = crypto::sha256({});
      } else if (end - begin == 1) {
        hash = leaf_of(begin);
      } else {
        std::size_t k = split(end - begin);
        Hash32 left = mth(begin, begin + k), right = mth(begin + k, end);
        Bytes bytes{0x01};
        bytes.insert(bytes.end(), left.begin(), left.end());
        bytes.insert(bytes.end(), right.begin(), right.end());
        hash = crypto::sha256(bytes);
      }
    }
    return *hash;
  }

  Proof path(std::size_t m, std::size_t begin, std::size_t end) {
    std::size_t n = end - begin;
    if (n == 1) return {};
    std::size_t k = split(n);
    Proof proof = m < k ? path(m, begin, begin + k) : path(m - k, begin + k, end);
    proof.push_back(m < k ? mth(begin + k, end) : mth(begin, begin + k));
    return proof;
  }

  Proof subproof(std::size_t m, std::size_t begin, std::size_t end, bool is_known) {
    std::size_t n = end - begin;
    if (m == n) return is_known ? Proof{} : Proof{mth(begin, end)};
    std::size_t k = split(n);
    Proof proof = m <= k ? subproof(m, begin, begin + k, is_known) : subproof(m - k, begin + k, end, false);
    proof.push_back(m <= k ? mth(begin + k, end) : mth(begin, begin + k));
    return proof;
  }

 private:
  static std::size_t split(std::size_t n) {
    std::size_t k = 1;
    while (k * 2 < n) k *= 2;
    return k;
  }
  std::size_t size_;
  std::vector<std::optional<Hash32>> known_;
};

Tree tree_of(std::size_t size) {
  Tree tree;
  for (std::size_t i = 0; i < size; ++i) tree.append(leaf_of(i));
  return tree;
}

Definition& definition() {
  static Definition shared(kMax);
  return shared;
}

TEST(Tree, RootsFollowTheDefinitionForEverySizeUpTo200) {
  Tree tree;
  EXPECT_EQ(tree.root(), empty_root());
  for (std::size_t size = 1; size <= kMax; ++size) {
    tree.append(leaf_of(size - 1));
    EXPECT_EQ(tree.size(), size);
    ASSERT_EQ(tree.root(), definition().mth(0, size)) << size;
  }
  for (std::size_t size = 0; size <= kMax; ++size) ASSERT_EQ(tree.root_at(size), definition().mth(0, size)) << size;
}

TEST(Tree, EveryInclusionProofUpTo200FollowsTheDefinitionAndVerifies) {
  Tree tree = tree_of(kMax);
  for (std::size_t size = 1; size <= kMax; ++size) {
    Hash32 root = tree.root_at(size);
    for (std::size_t i = 0; i < size; ++i) {
      Proof proof = tree.inclusion(i, size);
      ASSERT_EQ(proof, definition().path(i, 0, size)) << i << " of " << size;
      ASSERT_TRUE(verify_inclusion(i, size, tree.leaf(i), proof, root)) << i << " of " << size;
    }
  }
}

TEST(Tree, EveryConsistencyProofUpTo200FollowsTheDefinitionAndVerifies) {
  Tree tree = tree_of(kMax);
  for (std::size_t to = 1; to <= kMax; ++to) {
    Hash32 root = tree.root_at(to);
    for (std::size_t from = 1; from <= to; ++from) {
      Proof proof = tree.consistency(from, to);
      ASSERT_EQ(proof, definition().subproof(from, 0, to, true)) << from << " in " << to;
      ASSERT_TRUE(verify_consistency(from, to, tree.root_at(from), root, proof)) << from << " in " << to;
    }
    EXPECT_TRUE(tree.consistency(0, to).empty());
  }
}

TEST(Tree, AlteredInclusionProofsAreRefused) {
  Tree tree = tree_of(70);
  for (std::size_t size : {1u, 2u, 3u, 7u, 8u, 33u, 64u, 70u}) {
    Hash32 root = tree.root_at(size);
    for (std::size_t i = 0; i < size; ++i) {
      Proof proof = tree.inclusion(i, size);
      Hash32 leaf = tree.leaf(i);
      EXPECT_FALSE(verify_inclusion(i, size, leaf_of(i + 1), proof, root));
      EXPECT_FALSE(verify_inclusion(size, size, leaf, proof, root));
      EXPECT_FALSE(verify_inclusion(i, size, leaf, proof, tree.root_at(size - 1)));
      EXPECT_FALSE(verify_inclusion(~std::uint64_t{0}, size, leaf, proof, root));
      for (std::size_t other = 0; other < size; ++other)
        EXPECT_EQ(verify_inclusion(other, size, leaf, proof, root).has_value(), other == i) << i << other << size;
      for (std::size_t k = 0; k < proof.size(); ++k) {
        Proof altered = proof;
        altered[k][k] ^= 1;
        EXPECT_FALSE(verify_inclusion(i, size, leaf, altered, root));
        altered = proof;
        altered.erase(altered.begin() + static_cast<std::ptrdiff_t>(k));
        EXPECT_FALSE(verify_inclusion(i, size, leaf, altered, root));
      }
      proof.push_back(root);
      EXPECT_FALSE(verify_inclusion(i, size, leaf, proof, root));
    }
  }
}

TEST(Tree, AlteredConsistencyProofsAreRefused) {
  Tree tree = tree_of(70);
  for (std::size_t to : {2u, 3u, 7u, 8u, 33u, 64u, 70u}) {
    Hash32 root2 = tree.root_at(to);
    for (std::size_t from = 1; from < to; ++from) {
      Proof proof = tree.consistency(from, to);
      Hash32 root1 = tree.root_at(from);
      EXPECT_FALSE(verify_consistency(from, to, root2, root2, proof));
      EXPECT_FALSE(verify_consistency(from, to, root1, root1, proof));
      EXPECT_FALSE(verify_consistency(to, from, root2, root1, proof));
      EXPECT_FALSE(verify_consistency(from, to, root1, root2, {}));
      for (std::size_t k = 0; k < proof.size(); ++k) {
        Proof altered = proof;
        altered[k][31 - k] ^= 0x80;
        EXPECT_FALSE(verify_consistency(from, to, root1, root2, altered));
        altered = proof;
        altered.erase(altered.begin() + static_cast<std::ptrdiff_t>(k));
        EXPECT_FALSE(verify_consistency(from, to, root1, root2, altered));
      }
      proof.push_back(root2);
      EXPECT_FALSE(verify_consistency(from, to, root1, root2, proof));
    }
  }
  EXPECT_TRUE(verify_consistency(7, 7, tree.root_at(7), tree.root_at(7), {}));
  EXPECT_FALSE(verify_consistency(7, 7, tree.root_at(7), tree.root_at(6), {}));
  EXPECT_FALSE(verify_consistency(7, 7, tree.root_at(7), tree.root_at(7), {empty_root()}));
  EXPECT_TRUE(verify_consistency(0, 0, empty_root(), empty_root(), {}));
  EXPECT_FALSE(verify_consistency(0, 0, tree.root_at(1), tree.root_at(1), {}));
  EXPECT_FALSE(verify_consistency(0, 0, empty_root(), empty_root(), {empty_root()}));
  EXPECT_FALSE(verify_consistency(0, 7, empty_root(), tree.root_at(7), {})) << "says nothing about the second root";
}

TEST(Tree, TruncatingAndAppendingAgainIsAsIfNothingHadHappened) {
  Tree reference = tree_of(kMax);
  for (std::size_t keep = 0; keep <= kMax; keep += 7) {
    Tree tree = tree_of(kMax);
    tree.truncate(keep);
    ASSERT_EQ(tree.size(), keep);
    ASSERT_EQ(tree.root(), reference.root_at(keep));
    EXPECT_THROW((void)tree.root_at(keep + 1), Error);
    for (std::size_t i = keep; i < kMax; ++i) tree.append(leaf_of(i));
    ASSERT_EQ(tree.root(), reference.root());
    ASSERT_EQ(tree.inclusion(kMax / 2, kMax), reference.inclusion(kMax / 2, kMax));
  }
  Tree tree = tree_of(5);
  tree.truncate(9);
  EXPECT_EQ(tree.size(), 5u);
}

TEST(Tree, AppendingAfterTruncationForgetsTheOldLeaves) {
  Tree tree = tree_of(100), other = tree_of(37);
  tree.truncate(37);
  for (std::size_t i = 0; i < 80; ++i) tree.append(leaf_of(1000 + i)), other.append(leaf_of(1000 + i));
  for (std::size_t size = 0; size <= 117; ++size) ASSERT_EQ(tree.root_at(size), other.root_at(size)) << size;
}

TEST(Tree, AsksBeyondItsSizeAreRefused) {
  Tree tree = tree_of(5);
  EXPECT_THROW((void)tree.root_at(6), Error);
  EXPECT_THROW((void)tree.inclusion(5, 5), Error);
  EXPECT_THROW((void)tree.inclusion(0, 6), Error);
  EXPECT_THROW((void)tree.consistency(4, 3), Error);
  EXPECT_THROW((void)tree.consistency(1, 6), Error);
  EXPECT_THROW((void)Tree().inclusion(0, 0), Error);
}

TEST(Tree, LeafHashIsTheSameAboveAndBelowTheCopyingLimit) {
  for (std::size_t size : {0u, 1u, 510u, 511u, 512u, 513u, 5000u}) {
    Bytes data(size, 7), prefixed(size + 1, 7);
    prefixed[0] = 0;
    EXPECT_EQ(leaf_hash(data), crypto::sha256(prefixed)) << size;
  }
}

// 10 000 tamperings of one log's leaves, each noticed by the root, and as many untouched rebuilds that all agree.
TEST(Tree, TenThousandTamperingsAllChangeTheRootAndNoRebuildDoes) {
  SeededRandom random(99);
  std::vector<Hash32> leaves;
  for (std::size_t i = 0; i < 40; ++i) leaves.push_back(leaf_of(i));
  auto root_of = [](const std::vector<Hash32>& hashes) {
    Tree tree;
    for (const Hash32& hash : hashes) tree.append(hash);
    return tree.root();
  };
  Hash32 root = root_of(leaves);
  int missed = 0, false_alarms = 0;
  for (int i = 0; i < 10'000; ++i) {
    auto dice = random.array<4>();
    std::size_t a = dice[0] % leaves.size(), b = (a + 1 + dice[1] % (leaves.size() - 1)) % leaves.size();
    std::vector<Hash32> altered = leaves;
    switch (dice[2] % 5) {
      case 0: altered[a][dice[3] % 32] ^= static_cast<std::uint8_t>(1 << dice[3] / 32); break;
      case 1: std::swap(altered[a], altered[b]); break;
      case 2: altered.erase(altered.begin() + static_cast<std::ptrdiff_t>(a)); break;
      case 3: altered.insert(altered.begin() + static_cast<std::ptrdiff_t>(a), altered[b]); break;
      default: altered.resize(a);
    }
    missed += root_of(altered) == root;
    if (i % 100 == 0) false_alarms += root_of(leaves) != root;
  }
  EXPECT_EQ(missed, 0);
  EXPECT_EQ(false_alarms, 0);
}

}  // namespace
}  // namespace lucid::evidence
