// Prints logs of several sizes as JSON, with signed checkpoints and every kind of proof, for programs that are not ours
// to check (tests/interop/tlog).
#include <cstdio>

#include <fmt/format.h>

#include "lib/base/json.hpp"
#include "lib/evidence/checkpoint.hpp"
#include "lib/evidence/tree.hpp"

using namespace lucid;
using namespace lucid::evidence;

namespace {

json::array proof_json(const Proof& proof) {
  json::array out;
  for (const Hash32& hash : proof) out.emplace_back(to_base64(hash));
  return out;
}

json::object log_json(std::uint64_t size, RandomSource& random) {
  crypto::SigningKey key = crypto::SigningKey::make(random);
  std::string origin = session_origin("node-1", fmt::format("log-of-{}", size));
  Tree tree;
  json::array leaves, inclusion, consistency;
  for (std::uint64_t i = 0; i < size; ++i) {
    // Leaves of every length from nothing to more than a hash block.
    Bytes data(i * 7 % 150);
    random.fill(data);
    leaves.emplace_back(to_hex(data));
    tree.append(leaf_hash(data));
  }
  Checkpoint checkpoint{.origin = origin, .size = size, .root = tree.root(), .extensions = {}};
  if (size % 2 == 0) checkpoint.extensions = {"an extension line"};
  std::string note = sign_checkpoint(checkpoint, key);
  // Another signer's line beside ours, which a reader has to ignore.
  std::string witness =
      sign_checkpoint({.origin = "witness.example", .size = size, .root = tree.root(), .extensions = {}}, crypto::SigningKey::make(random));
  if (size % 3 == 0) note += witness.substr(witness.find("\n\n") + 2);
  for (std::uint64_t i = 0; i < size; ++i) {
    inclusion.push_back(json::object{{"index", i}, {"proof", proof_json(tree.inclusion(i, size))}});
    consistency.push_back(json::object{{"from", i + 1}, {"proof", proof_json(tree.consistency(i + 1, size))}});
  }
  return {{"origin", origin},
          {"note", note},
          {"verifier_key", note_verifier_key(origin, key.verify_key())},
          {"leaves", std::move(leaves)},
          {"inclusion", std::move(inclusion)},
          {"consistency", std::move(consistency)}};
}

}  // namespace

int main() {
  SeededRandom random(2026);
  json::array logs;
  for (std::uint64_t size : {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 31, 32, 33, 100, 257}) logs.push_back(log_json(size, random));
  std::string text = json::serialize(logs);
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0 ? 0 : 1;
}
