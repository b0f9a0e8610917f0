// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): HChaCha20 from libsodium, ChaCha20-Poly1305 from OpenSSL. What it
// seals opens with libsodium's crypto_aead_xchacha20poly1305_ietf_decrypt, and the other way round. Any thread.
#pragma once

#include <array>

#include "lib/base/bytes.hpp"
#include "lib/crypto/secret.hpp"

namespace lucid::crypto {

inline constexpr std::size_t kNonceSize = 24;
inline constexpr std::size_t kTagSize = 16;
using Nonce = std::array<std::uint8_t, kNonceSize>;

// Writes plaintext.size() + kTagSize bytes to `out` (exactly that size). `out` may start at plaintext.data().
void seal(const Secret32& key, const Nonce& nonce, ByteView associated, ByteView plaintext, std::span<std::uint8_t> out);
// Writes sealed.size() - kTagSize bytes to `out`; false (and `out` wiped) when anything was altered.
[[nodiscard]] bool open(const Secret32& key, const Nonce& nonce, ByteView associated, ByteView sealed, std::span<std::uint8_t> out);

}  // namespace lucid::crypto
