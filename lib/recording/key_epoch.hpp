// Key epochs: a random k0 sealed to every recipient, and the one-way ratchet that turns it into chunk keys.
//   chunk_key_i = KDF(k_i, "chunk"), k_{i+1} = KDF(k_i, "next"); i = sequence - first_sequence of the epoch.
// A Ratchet only moves forward; whoever opens k0 anew can reach every key. Owned by one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/random.hpp"
#include "lib/crypto/sealed_box.hpp"

namespace lucid::recording {

class Ratchet {
 public:
  // The farthest a ratchet moves in one call; farther is a hostile or broken sequence number, not a recording.
  static constexpr std::uint64_t kMaxSteps = 1ull << 26;

  explicit Ratchet(crypto::Secret32 k0) : state_(std::move(k0)) {}
  std::uint64_t position() const { return position_; }
  // The key of chunk `i`: wipes what came before, so earlier keys are gone. Throws Error{invalid}: "ratchet_passed" when
  // i < position(), "ratchet_gap" when more than kMaxSteps lie between.
  crypto::Secret32 chunk_key(std::uint64_t i);
  // Forgets chunk i as well (call once it is committed). Nothing to do when it already has.
  void advance_past(std::uint64_t i);

 private:
  void move_to(std::uint64_t i);
  crypto::Secret32 state_;
  std::uint64_t position_ = 0;
};

struct SealedKey {
  std::string recipient;  // fingerprint of the recipient's public key
  Bytes sealed_k0;        // crypto::seal_to(recipient, k0)
};
struct KeyEpoch {
  std::uint32_t epoch = 0;
  std::uint64_t first_sequence = 0;
  std::vector<SealedKey> keys;
};

// Starts an epoch: its public part and the ratchet at position 0.
struct NewEpoch {
  KeyEpoch epoch;
  Ratchet ratchet;
};
NewEpoch start_epoch(std::uint32_t number, std::uint64_t first_sequence, const std::vector<crypto::BoxPublicKey>& recipients,
                     RandomSource& random);
// The ratchet of an epoch from its start, when `key` is one of the epoch's recipients: for reading chunks in order.
// Its chunk i is the chunk of sequence epoch.first_sequence + i.
std::optional<Ratchet> recover_ratchet(const KeyEpoch& epoch, const crypto::BoxKey& key);
// The chunk key of `sequence`, when `key` is one of the epoch's recipients.
std::optional<crypto::Secret32> recover_chunk_key(const KeyEpoch& epoch, std::uint64_t sequence, const crypto::BoxKey& key);

}  // namespace lucid::recording
