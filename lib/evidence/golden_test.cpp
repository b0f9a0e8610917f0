// tests/golden/evidence/v1: what version 1 writes, byte for byte. The leaves are the texts "leaf 0", "leaf 1", ...; the
// key's seed is the bytes 0..31. LUCID_WRITE_GOLDEN=1 writes the files anew.
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "lib/base/file_ops.hpp"
#include "lib/evidence/checkpoint.hpp"
#include "lib/evidence/tree.hpp"

namespace lucid::evidence {
namespace {

void expect_golden(const std::string& name, const std::string& made) {
  const std::string folder = "tests/golden/evidence/v1/";
  const char* write = std::getenv("LUCID_WRITE_GOLDEN");
  if (write != nullptr && std::string_view(write) == "1") {
    std::filesystem::create_directories(folder);
    system_files().replace_file(folder + name, as_bytes(made));
  }
  ASSERT_TRUE(std::filesystem::exists(folder + name)) << folder + name << " is missing";
  Bytes stored = system_files().read_file(folder + name);
  EXPECT_EQ(made, as_text(stored)) << folder + name;
}

crypto::SigningKey fixed_key() {
  std::array<std::uint8_t, 32> seed;
  for (std::size_t i = 0; i < seed.size(); ++i) seed[i] = static_cast<std::uint8_t>(i);
  return crypto::SigningKey{crypto::Secret32(std::span<const std::uint8_t, 32>(seed))};
}

Tree fixed_tree() {
  Tree tree;
  for (int i = 0; i < 13; ++i) tree.append(leaf_hash(as_bytes(fmt::format("leaf {}", i))));
  return tree;
}

std::string lines_of(const Proof& proof) {
  std::string text;
  for (const Hash32& hash : proof) text += "  " + to_hex(hash) + "\n";
  return text;
}

TEST(GoldenEvidence, Roots) {
  Tree tree = fixed_tree();
  std::string text;
  for (std::uint64_t size = 0; size <= tree.size(); ++size) text += fmt::format("{} {}\n", size, to_hex(tree.root_at(size)));
  expect_golden("roots.txt", text);
}

TEST(GoldenEvidence, InclusionProofs) {
  Tree tree = fixed_tree();
  std::string text;
  for (std::uint64_t size : {1u, 2u, 7u, 8u, 13u})
    for (std::uint64_t index = 0; index < size; ++index)
      text += fmt::format("leaf {} of {}\n{}", index, size, lines_of(tree.inclusion(index, size)));
  expect_golden("inclusion.txt", text);
}

TEST(GoldenEvidence, ConsistencyProofs) {
  Tree tree = fixed_tree();
  std::string text;
  for (std::uint64_t to : {2u, 7u, 8u, 13u})
    for (std::uint64_t from = 1; from <= to; ++from) text += fmt::format("{} in {}\n{}", from, to, lines_of(tree.consistency(from, to)));
  expect_golden("consistency.txt", text);
}

TEST(GoldenEvidence, Checkpoints) {
  Tree tree = fixed_tree();
  std::string origin = session_origin("node-1", "00000000000000000000000000");
  Checkpoint checkpoint{.origin = origin, .size = tree.size(), .root = tree.root(), .extensions = {}};
  expect_golden("checkpoint.note", sign_checkpoint(checkpoint, fixed_key()));
  checkpoint.extensions = {"first further line", "second \u2713"};
  expect_golden("checkpoint_extended.note", sign_checkpoint(checkpoint, fixed_key()));
  expect_golden("verifier.key", note_verifier_key(origin, fixed_key().verify_key()) + "\n");
}

}  // namespace
}  // namespace lucid::evidence
