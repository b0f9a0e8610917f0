#include <benchmark/benchmark.h>

#include "lib/evidence/checkpoint.hpp"
#include "lib/evidence/tree.hpp"

namespace lucid::evidence {
namespace {

constexpr std::uint64_t kSession = 100'000;  // leaves: a day and more of one session at one chunk a second

Bytes leaf_data(std::uint64_t i) {
  Bytes data(100);
  data[0] = static_cast<std::uint8_t>(i);
  data[1] = static_cast<std::uint8_t>(i >> 8);
  return data;
}

void BM_AppendLeaf(benchmark::State& state) {
  Tree tree;
  Bytes data = leaf_data(7);
  for (auto _ : state) {
    if (tree.size() == kSession) tree = Tree();
    tree.append(leaf_hash(data));
  }
  state.SetItemsProcessed(state.iterations());
}

void BM_AppendLeafAndSignCheckpoint(benchmark::State& state) {
  crypto::SigningKey key{crypto::Secret32()};
  std::string origin = session_origin("node-1", "00000000000000000000000000");
  Tree tree;
  Bytes data = leaf_data(7);
  for (auto _ : state) {
    if (tree.size() == kSession) tree = Tree();
    tree.append(leaf_hash(data));
    benchmark::DoNotOptimize(sign_checkpoint({.origin = origin, .size = tree.size(), .root = tree.root(), .extensions = {}}, key));
  }
  state.SetItemsProcessed(state.iterations());
}

Tree session_tree() {
  Tree tree;
  for (std::uint64_t i = 0; i < kSession; ++i) tree.append(leaf_hash(leaf_data(i)));
  return tree;
}

void BM_ProveAndVerifyInclusion(benchmark::State& state) {
  Tree tree = session_tree();
  Hash32 root = tree.root();
  std::uint64_t i = 0;
  for (auto _ : state) {
    i = (i + 7919) % kSession;
    if (!verify_inclusion(i, kSession, tree.leaf(i), tree.inclusion(i, kSession), root)) state.SkipWithError("refused");
  }
  state.SetItemsProcessed(state.iterations());
}

void BM_OpenCheckpoint(benchmark::State& state) {
  crypto::SigningKey key{crypto::Secret32()};
  std::string note = sign_checkpoint({.origin = "lucid/n/session/a", .size = 5, .root = {}, .extensions = {}}, key);
  for (auto _ : state) benchmark::DoNotOptimize(open_checkpoint(note, key.verify_key()));
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(BM_AppendLeaf);
BENCHMARK(BM_AppendLeafAndSignCheckpoint);
BENCHMARK(BM_ProveAndVerifyInclusion);
BENCHMARK(BM_OpenCheckpoint);

}  // namespace
}  // namespace lucid::evidence

BENCHMARK_MAIN();
