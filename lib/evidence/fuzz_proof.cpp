// Hostile proofs: two sizes and a part's bounds, then hashes. The verifiers must end, and agree where they overlap.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "lib/evidence/subtree.hpp"

using namespace lucid;
using namespace lucid::evidence;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader in({data, size});
  std::uint64_t a = in.u64(), b = in.u64(), c = in.u64();
  Hash32 first = in.array<32>(), second = in.array<32>();
  if (!in.ok()) return 0;
  Proof proof;
  while (in.remaining() >= 32 && proof.size() < 256) proof.push_back(in.array<32>());

  (void)verify_inclusion(a, b, first, proof, second);
  (void)verify_subtree_inclusion(a, b, c, first, proof, second);
  (void)verify_subtree_consistency(a, b, c, first, second, proof);
  bool plain = verify_consistency(a, b, first, second, proof).has_value();
  bool part = verify_subtree_consistency(0, a, b, first, second, proof).has_value();
  if (a > 0 && plain != part) std::abort();
  return 0;
}
