#include "lib/crypto/kdf.hpp"

#include <algorithm>

#include <sodium.h>

#include "lib/base/error.hpp"
#include "lib/crypto/sodium.hpp"

namespace lucid::crypto {
namespace {

// The state holds the key, so it is wiped with the object.
class Hmac {
 public:
  explicit Hmac(ByteView key) {
    // An empty view may point nowhere, which libsodium does not allow.
    static constexpr std::uint8_t kNone[1] = {};
    crypto_auth_hmacsha256_init(&state_, key.empty() ? kNone : key.data(), key.size());
  }
  ~Hmac() { sodium_memzero(&state_, sizeof state_); }
  Hmac(const Hmac&) = delete;
  void update(ByteView bytes) { crypto_auth_hmacsha256_update(&state_, bytes.data(), bytes.size()); }
  Hash32 finish() {
    Hash32 mac;
    crypto_auth_hmacsha256_final(&state_, mac.data());
    return mac;
  }

 private:
  crypto_auth_hmacsha256_state state_;
};

}  // namespace

Secret32 derive(const Secret32& key, std::string_view context) {
  sodium_ready();
  Secret32 out;
  ByteView text = as_bytes(context);
  if (crypto_generichash(out.writable().data(), 32, text.data(), text.size(), key.bytes().data(), 32) != 0)
    throw Error(ErrorKind::internal, "derive a key: BLAKE2b failed");
  return out;
}

Hash32 hmac_sha256(ByteView key, ByteView message) {
  sodium_ready();
  Hmac hmac(key);
  hmac.update(message);
  return hmac.finish();
}

std::optional<Bytes> hkdf_sha256(ByteView key, ByteView salt, ByteView info, std::size_t size) {
  constexpr std::size_t kMax = 255 * 32;
  if (size > kMax) return std::nullopt;
  Hash32 pseudorandom = hmac_sha256(salt, key);
  Hash32 block{};
  Bytes out;
  out.reserve(size);
  for (std::uint8_t counter = 1; out.size() < size; ++counter) {
    Hmac hmac(pseudorandom);
    if (counter > 1) hmac.update(block);
    hmac.update(info);
    hmac.update({&counter, 1});
    block = hmac.finish();
    out.insert(out.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(32, size - out.size())));
  }
  wipe(pseudorandom);
  wipe(block);
  return out;
}

}  // namespace lucid::crypto
