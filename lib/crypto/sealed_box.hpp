// X25519 sealed boxes: anyone with the public key seals, only the holder of the private key opens. Bytes are those of
// libsodium's crypto_box_seal. Any thread.
#pragma once

#include <optional>
#include <string>

#include "lib/base/bytes.hpp"
#include "lib/base/random.hpp"
#include "lib/crypto/secret.hpp"

namespace lucid::crypto {

inline constexpr std::size_t kSealOverhead = 48;

struct BoxPublicKey {
  std::array<std::uint8_t, 32> bytes{};
  // "lucid-box-pub:" + base64url, the form users and manifests carry; parse() refuses anything else and low-order points.
  std::string text() const;
  static std::optional<BoxPublicKey> parse(std::string_view text);
  // First 8 bytes of BLAKE3 of the key as hex: names the key in manifests and logs.
  std::string fingerprint() const;
  bool operator==(const BoxPublicKey&) const = default;
};

class BoxKey {
 public:
  static BoxKey make(RandomSource& random);
  explicit BoxKey(Secret32 secret);
  const BoxPublicKey& public_key() const { return public_; }
  const Secret32& secret() const { return secret_; }
  std::optional<Bytes> open(ByteView sealed) const;  // nullopt when not sealed to this key or altered
  // Key file text: "lucid-box-key:" + base64url of the secret, one line.
  std::string text() const;
  static std::optional<BoxKey> parse(std::string_view text);

 private:
  Secret32 secret_;
  BoxPublicKey public_;
};

Bytes seal_to(const BoxPublicKey& recipient, ByteView plaintext, RandomSource& random);

}  // namespace lucid::crypto
