#include "lib/crypto/signature.hpp"

#include <sodium.h>

#include "lib/crypto/sodium.hpp"
#include "lib/crypto/text_key.hpp"

namespace lucid::crypto {
namespace {

constexpr std::string_view kVerifyPrefix = "lucid-sig-pub:";
constexpr std::string_view kSigningPrefix = "lucid-sig-key:";

// libsodium's form of a signing key: seed, then public key.
struct SodiumKey {
  std::uint8_t bytes[64];
  ~SodiumKey() { sodium_memzero(bytes, sizeof bytes); }
};

}  // namespace

bool VerifyKey::verify(ByteView message, ByteView signature) const {
  sodium_ready();
  return signature.size() == 64 && crypto_sign_verify_detached(signature.data(), message.data(), message.size(), bytes.data()) == 0;
}

std::string VerifyKey::text() const { return key_text(kVerifyPrefix, bytes); }

std::optional<VerifyKey> VerifyKey::parse(std::string_view text) {
  auto bytes = parse_key_text(kVerifyPrefix, text);
  if (!bytes) return std::nullopt;
  return VerifyKey{*bytes};
}

SigningKey SigningKey::make(RandomSource& random) { return SigningKey(Secret32::random(random)); }

SigningKey::SigningKey(Secret32 seed) : seed_(std::move(seed)) {
  sodium_ready();
  SodiumKey key;
  crypto_sign_seed_keypair(verify_.bytes.data(), key.bytes, seed_.bytes().data());
}

Signature SigningKey::sign(ByteView message) const {
  SodiumKey key;
  std::copy(seed_.bytes().begin(), seed_.bytes().end(), key.bytes);
  std::copy(verify_.bytes.begin(), verify_.bytes.end(), key.bytes + 32);
  Signature signature;
  crypto_sign_detached(signature.data(), nullptr, message.data(), message.size(), key.bytes);
  return signature;
}

std::string SigningKey::text() const { return key_text(kSigningPrefix, seed_.bytes()); }

std::optional<SigningKey> SigningKey::parse(std::string_view text) {
  auto seed = parse_secret_text(kSigningPrefix, text);
  if (!seed) return std::nullopt;
  return SigningKey(std::move(*seed));
}

}  // namespace lucid::crypto
