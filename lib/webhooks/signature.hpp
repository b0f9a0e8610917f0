// Secrets in the words of Standard Webhooks ("whsec_<base64>") and signatures with them. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lib/crypto/secret.hpp"

namespace lucid::webhooks {

inline constexpr std::string_view kSecretPrefix = "whsec_";

std::string secret_text(const crypto::Secret32& secret);
std::string signature_with(ByteView key, std::string_view id, std::int64_t timestamp_s, std::string_view body);
// For texts a secret stood in.
void wipe(std::string& text);

}  // namespace lucid::webhooks
