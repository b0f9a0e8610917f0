// Key derivation. Pure; any thread.
#pragma once

#include <string_view>

#include "lib/base/bytes.hpp"
#include "lib/crypto/secret.hpp"

namespace lucid::crypto {

// BLAKE2b-256 keyed with `key` over `context` (RFC 7693): the one-way step of the chunk key ratchet.
Secret32 derive(const Secret32& key, std::string_view context);
// HKDF-SHA-256 (RFC 5869), `size` <= 8160 bytes; nullopt above.
std::optional<Bytes> hkdf_sha256(ByteView key, ByteView salt, ByteView info, std::size_t size);
// HMAC-SHA-256 (RFC 2104).
Hash32 hmac_sha256(ByteView key, ByteView message);

}  // namespace lucid::crypto
