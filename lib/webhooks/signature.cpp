#include "lib/webhooks/signature.hpp"

#include "lib/crypto/kdf.hpp"
#include "lib/webhooks/webhooks.hpp"

namespace lucid::webhooks {

void wipe(std::string& text) {
  crypto::wipe({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
  text.clear();
}

std::string secret_text(const crypto::Secret32& secret) {
  std::string encoded = to_base64(secret.bytes());
  std::string text;
  text.reserve(kSecretPrefix.size() + encoded.size());
  text.append(kSecretPrefix).append(encoded);
  wipe(encoded);
  return text;
}

std::string signature_with(ByteView key, std::string_view id, std::int64_t timestamp_s, std::string_view body) {
  std::string text;
  text.reserve(id.size() + body.size() + 24);
  text.append(id).append(".").append(std::to_string(timestamp_s)).append(".").append(body);
  return "v1," + to_base64(crypto::hmac_sha256(key, as_bytes(text)));
}

std::string signature(const std::string& secret, const std::string& id, std::int64_t timestamp_s, std::string_view body) {
  auto key = secret.starts_with(kSecretPrefix) ? from_base64(std::string_view(secret).substr(kSecretPrefix.size())) : std::nullopt;
  if (!key || key->size() < 24 || key->size() > 64)
    throw Error(ErrorKind::invalid, "sign a webhook: the secret must be whsec_ and the base64 of 24 to 64 bytes");
  std::string signed_text = signature_with(*key, id, timestamp_s, body);
  crypto::wipe(*key);
  return signed_text;
}

}  // namespace lucid::webhooks
