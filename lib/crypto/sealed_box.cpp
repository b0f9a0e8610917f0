#include "lib/crypto/sealed_box.hpp"

#include <sodium.h>

#include "lib/base/error.hpp"
#include "lib/crypto/hash.hpp"
#include "lib/crypto/sodium.hpp"
#include "lib/crypto/text_key.hpp"

namespace lucid::crypto {
namespace {

constexpr std::string_view kPublicPrefix = "lucid-box-pub:";
constexpr std::string_view kSecretPrefix = "lucid-box-key:";

// Whether `key` is a point anybody may seal to: the one encoding of its coordinate (below 2^255 - 19; another encoding
// seals under other bytes than its holder opens with) and not of low order (whose shared secret everybody knows).
bool is_usable(const std::array<std::uint8_t, 32>& key) {
  constexpr std::uint8_t kPrime[32] = {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
  if (sodium_compare(key.data(), kPrime, 32) >= 0) return false;
  constexpr std::uint8_t kAnyScalar[32] = {8};
  std::uint8_t shared[32];
  return crypto_scalarmult(shared, kAnyScalar, key.data()) == 0;
}

}  // namespace

std::string BoxPublicKey::text() const { return key_text(kPublicPrefix, bytes); }

std::optional<BoxPublicKey> BoxPublicKey::parse(std::string_view text) {
  sodium_ready();
  auto bytes = parse_key_text(kPublicPrefix, text);
  if (!bytes || !is_usable(*bytes)) return std::nullopt;
  return BoxPublicKey{*bytes};
}

std::string BoxPublicKey::fingerprint() const { return to_hex(ByteView(blake3(bytes)).first(8)); }

BoxKey BoxKey::make(RandomSource& random) { return BoxKey(Secret32::random(random)); }

BoxKey::BoxKey(Secret32 secret) : secret_(std::move(secret)) {
  sodium_ready();
  crypto_scalarmult_base(public_.bytes.data(), secret_.bytes().data());
}

std::optional<Bytes> BoxKey::open(ByteView sealed) const {
  if (sealed.size() < kSealOverhead) return std::nullopt;
  Bytes plaintext(sealed.size() - kSealOverhead);
  if (crypto_box_seal_open(plaintext.data(), sealed.data(), sealed.size(), public_.bytes.data(), secret_.bytes().data()) != 0)
    return std::nullopt;
  return plaintext;
}

std::string BoxKey::text() const { return key_text(kSecretPrefix, secret_.bytes()); }

std::optional<BoxKey> BoxKey::parse(std::string_view text) {
  auto secret = parse_secret_text(kSecretPrefix, text);
  if (!secret) return std::nullopt;
  return BoxKey(std::move(*secret));
}

// crypto_box_seal step by step, with the one-time key from `random` instead of libsodium's own generator.
Bytes seal_to(const BoxPublicKey& recipient, ByteView plaintext, RandomSource& random) {
  sodium_ready();
  BoxKey once = BoxKey::make(random);
  std::uint8_t nonce[crypto_box_NONCEBYTES];
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, sizeof nonce);
  crypto_generichash_update(&state, once.public_key().bytes.data(), 32);
  crypto_generichash_update(&state, recipient.bytes.data(), 32);
  crypto_generichash_final(&state, nonce, sizeof nonce);

  Bytes sealed(plaintext.size() + kSealOverhead);
  std::copy(once.public_key().bytes.begin(), once.public_key().bytes.end(), sealed.begin());
  if (crypto_box_easy(sealed.data() + 32, plaintext.data(), plaintext.size(), nonce, recipient.bytes.data(),
                      once.secret().bytes().data()) != 0)
    throw Error(ErrorKind::invalid, "bad_recipient_key",
                "seal to " + recipient.text() + ": not a usable X25519 key; give the recipient's own public key");
  return sealed;
}

}  // namespace lucid::crypto
