// The published proofs of transparency-dev/merkle, good and bad, through our verifiers.
#include <algorithm>
#include <functional>

#include "lib/crypto/hash.hpp"
#include "lib/crypto/test_vectors.hpp"
#include "lib/evidence/subtree.hpp"

namespace lucid::evidence {
namespace {

// Fields are base64. One that is not 32 bytes cannot be written down in our types: a SHA-256 of its own kind stands for
// it, which is equal to another's exactly when the two are, and to no hash of a tree; an empty one equals nothing.
Hash32 hash_of(const json::value& value) {
  Bytes bytes = from_base64(std::string_view(value.as_string())).value();
  if (bytes.size() != 32) {
    static std::uint8_t empty_ones = 0;
    if (bytes.empty()) bytes.push_back(++empty_ones);
    bytes.insert(bytes.begin(), 0xff);
    return crypto::sha256(bytes);
  }
  Hash32 hash;
  std::copy(bytes.begin(), bytes.end(), hash.begin());
  return hash;
}

struct Case {
  const json::object& fields;

  std::uint64_t number(std::string_view key) const {
    const json::value& value = fields.at(key);
    return value.is_uint64() ? value.as_uint64() : static_cast<std::uint64_t>(value.as_int64());
  }
  Hash32 hash(std::string_view key) const { return hash_of(fields.at(key)); }
  Proof proof() const {
    Proof proof;
    if (fields.at("proof").is_null()) return proof;
    for (const json::value& value : fields.at("proof").as_array()) proof.push_back(hash_of(value));
    return proof;
  }
};

struct Counts {
  int good = 0;
  int bad = 0;
};

Counts run(const std::string& folder, const std::function<Expected<void>(const Case&)>& verify) {
  Counts counts;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    json::value file = test::load_vectors(entry.path().string());
    const json::object& fields = file.as_object();
    bool good = verify(Case{fields}).has_value();
    bool expected = !fields.at("wantErr").as_bool();
    EXPECT_EQ(good, expected) << entry.path().string() << ": " << fields.at("desc").as_string();
    ++(expected ? counts.good : counts.bad);
  }
  return counts;
}

TEST(MerkleVectors, Inclusion) {
  LUCID_NEED_VECTORS(folder)
  Counts counts = run(*folder + "/merkle/inclusion", [](const Case& c) {
    return verify_inclusion(c.number("leafIdx"), c.number("treeSize"), c.hash("leafHash"), c.proof(), c.hash("root"));
  });
  EXPECT_GE(counts.good, 6);
  EXPECT_GE(counts.bad, 92);
}

TEST(MerkleVectors, Consistency) {
  LUCID_NEED_VECTORS(folder)
  Counts counts = run(*folder + "/merkle/consistency", [](const Case& c) {
    return verify_consistency(c.number("size1"), c.number("size2"), c.hash("root1"), c.hash("root2"), c.proof());
  });
  EXPECT_GE(counts.good, 6);
  EXPECT_GE(counts.bad, 92);
}

TEST(MerkleVectors, SubtreeInclusion) {
  LUCID_NEED_VECTORS(folder)
  Counts counts = run(*folder + "/merkle/subtreeinclusion", [](const Case& c) {
    return verify_subtree_inclusion(c.number("leafIdx"), c.number("start"), c.number("end"), c.hash("leafHash"), c.proof(), c.hash("root"));
  });
  EXPECT_GE(counts.good, 12);
  EXPECT_GE(counts.bad, 192);
}

TEST(MerkleVectors, SubtreeConsistency) {
  LUCID_NEED_VECTORS(folder)
  Counts counts = run(*folder + "/merkle/subtreeconsistency", [](const Case& c) {
    return verify_subtree_consistency(c.number("start"), c.number("end"), c.number("size"), c.hash("root1"), c.hash("root2"), c.proof());
  });
  EXPECT_GE(counts.good, 12);
  EXPECT_GE(counts.bad, 106);
}

// The subtree verifier with start 0 has to agree with the ordinary one, whose proofs we can make.
TEST(Subtree, ConsistencyFromTheFirstLeafIsOrdinaryConsistency) {
  Tree tree;
  for (std::uint8_t i = 0; i < 70; ++i) tree.append(leaf_hash(Bytes{i}));
  for (std::uint64_t size = 1; size <= tree.size(); ++size)
    for (std::uint64_t end = 1; end <= size; ++end) {
      Proof proof = tree.consistency(end, size);
      ASSERT_TRUE(verify_subtree_consistency(0, end, size, tree.root_at(end), tree.root_at(size), proof)) << end << " " << size;
      proof.push_back(tree.root_at(end));
      ASSERT_FALSE(verify_subtree_consistency(0, end, size, tree.root_at(end), tree.root_at(size), proof));
    }
}

TEST(Subtree, IsAPartWithANodeOfItsOwn) {
  EXPECT_TRUE(is_subtree(0, 1) && is_subtree(0, 7) && is_subtree(4, 8) && is_subtree(8, 13) && is_subtree(7, 8));
  EXPECT_FALSE(is_subtree(0, 0) || is_subtree(3, 2) || is_subtree(1, 3) || is_subtree(2, 5) || is_subtree(4, 9));
  EXPECT_TRUE(is_subtree(0, ~std::uint64_t{0}));
  EXPECT_FALSE(is_subtree(1, ~std::uint64_t{0}));
}

}  // namespace
}  // namespace lucid::evidence
