// The routing token a client brings in its first RDP packet: "Cookie: msts=lucid1." + base64url(payload ‖ signature), 154 characters, so
// that a whole X.224 Connection Request (≤ 255 bytes) holds it. Payload, little-endian, 36 bytes: session id 16, token id 16, last unix
// second of its first use u32. Ed25519 over "lucid routing token v1\0" ‖ payload by the controller's own key. Whether a token was used or
// replaced is the session's to know. Pure; any thread. Source: [MS-RDPBCGR] 2.2.1.1 (routingToken).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/error.hpp"
#include "lib/base/id.hpp"
#include "lib/crypto/signature.hpp"

namespace lucid::controller {

struct RoutingToken {
  Id session, token;
  std::uint32_t expires_unix_s = 0;
  bool operator==(const RoutingToken&) const = default;
};

std::string seal_token(const RoutingToken& token, const crypto::SigningKey& key);
// `text` may lack "Cookie: " or "Cookie: msts=". Error{forbidden, "token_malformed" | "token_forged"}.
Expected<RoutingToken> open_token(std::string_view text, const crypto::VerifyKey& key);

}  // namespace lucid::controller
