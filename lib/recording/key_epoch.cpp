#include "lib/recording/key_epoch.hpp"

#include <fmt/format.h>

#include "lib/base/error.hpp"
#include "lib/crypto/kdf.hpp"

namespace lucid::recording {

void Ratchet::move_to(std::uint64_t i) {
  if (i < position_)
    throw Error(ErrorKind::invalid, "ratchet_passed", fmt::format("the key of chunk {} is gone: the ratchet stands at {}", i, position_));
  if (i - position_ > kMaxSteps)
    throw Error(ErrorKind::invalid, "ratchet_gap", fmt::format("the ratchet stands at {}, chunk {} is too far ahead", position_, i));
  // Assignment wipes the state that is left behind.
  for (; position_ < i; ++position_) state_ = crypto::derive(state_, "next");
}

crypto::Secret32 Ratchet::chunk_key(std::uint64_t i) {
  move_to(i);
  return crypto::derive(state_, "chunk");
}

void Ratchet::advance_past(std::uint64_t i) {
  if (i >= position_) move_to(i + 1);
}

NewEpoch start_epoch(std::uint32_t number, std::uint64_t first_sequence, const std::vector<crypto::BoxPublicKey>& recipients,
                     RandomSource& random) {
  crypto::Secret32 k0 = crypto::Secret32::random(random);
  KeyEpoch epoch{number, first_sequence, {}};
  for (const auto& recipient : recipients) epoch.keys.push_back({recipient.fingerprint(), crypto::seal_to(recipient, k0.bytes(), random)});
  return {std::move(epoch), Ratchet(std::move(k0))};
}

std::optional<Ratchet> recover_ratchet(const KeyEpoch& epoch, const crypto::BoxKey& key) {
  const std::string fingerprint = key.public_key().fingerprint();
  for (const SealedKey& sealed : epoch.keys) {
    if (sealed.recipient != fingerprint) continue;
    auto k0 = key.open(sealed.sealed_k0);
    if (!k0 || k0->size() != 32) continue;
    crypto::Secret32 secret{std::span<const std::uint8_t, 32>(k0->data(), 32)};
    crypto::wipe(*k0);
    return Ratchet(std::move(secret));
  }
  return std::nullopt;
}

std::optional<crypto::Secret32> recover_chunk_key(const KeyEpoch& epoch, std::uint64_t sequence, const crypto::BoxKey& key) {
  if (sequence < epoch.first_sequence || sequence - epoch.first_sequence > Ratchet::kMaxSteps) return std::nullopt;
  auto ratchet = recover_ratchet(epoch, key);
  if (!ratchet) return std::nullopt;
  return ratchet->chunk_key(sequence - epoch.first_sequence);
}

}  // namespace lucid::recording
