// Ed25519 signatures (RFC 8032). Any thread.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "lib/base/bytes.hpp"
#include "lib/base/random.hpp"
#include "lib/crypto/secret.hpp"

namespace lucid::crypto {

using Signature = std::array<std::uint8_t, 64>;

struct VerifyKey {
  std::array<std::uint8_t, 32> bytes{};
  [[nodiscard]] bool verify(ByteView message, ByteView signature) const;  // strict: canonical S, no small-order keys
  std::string text() const;                                               // "lucid-sig-pub:" + base64url
  static std::optional<VerifyKey> parse(std::string_view text);
  bool operator==(const VerifyKey&) const = default;
};

class SigningKey {
 public:
  static SigningKey make(RandomSource& random);
  explicit SigningKey(Secret32 seed);
  const VerifyKey& verify_key() const { return verify_; }
  Signature sign(ByteView message) const;
  std::string text() const;  // "lucid-sig-key:" + base64url of the seed
  static std::optional<SigningKey> parse(std::string_view text);

 private:
  Secret32 seed_;
  VerifyKey verify_;
};

}  // namespace lucid::crypto
