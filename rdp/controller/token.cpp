#include "rdp/controller/token.hpp"

#include "lib/base/bytes.hpp"

namespace lucid::controller {
namespace {

constexpr std::string_view kCookie = "Cookie: ", kMsts = "msts=", kVersion = "lucid1.";
constexpr std::size_t kPayload = 36, kSignature = 64;
constexpr std::size_t kText = 134;  // base64url of both, without padding

// What is signed begins with its purpose, so that no other signature of this key could ever pass for a token.
Bytes signed_bytes(ByteView payload) {
  constexpr std::string_view kPurpose{"lucid routing token v1\0", 23};
  Bytes out;
  ByteWriter w(out);
  w.bytes(as_bytes(kPurpose));
  w.bytes(payload);
  return out;
}

std::unexpected<Error> malformed() {
  return std::unexpected(Error(ErrorKind::forbidden, "token_malformed", "the routing token is not one of ours"));
}

bool drop(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

}  // namespace

std::string seal_token(const RoutingToken& token, const crypto::SigningKey& key) {
  Bytes bytes;
  ByteWriter w(bytes);
  w.bytes(token.session.bytes());
  w.bytes(token.token.bytes());
  w.u32(token.expires_unix_s);
  crypto::Signature signature = key.sign(signed_bytes(bytes));
  w.bytes(signature);
  return std::string(kCookie) + std::string(kMsts) + std::string(kVersion) + to_base64url(bytes);
}

Expected<RoutingToken> open_token(std::string_view text, const crypto::VerifyKey& key) {
  if (drop(text, kCookie) && !text.starts_with(kMsts)) return malformed();  // one text for one token, but for what may be lacking in front
  drop(text, kMsts);
  if (!text.starts_with(kVersion)) return malformed();
  text.remove_prefix(kVersion.size());
  if (text.size() != kText) return malformed();
  auto bytes = from_base64url(text);
  if (!bytes || bytes->size() != kPayload + kSignature) return malformed();
  ByteView all(*bytes);
  if (!key.verify(signed_bytes(all.first(kPayload)), all.subspan(kPayload)))
    return std::unexpected(Error(ErrorKind::forbidden, "token_forged", "the routing token was not signed here"));
  ByteReader in(all.first(kPayload));
  RoutingToken token;
  token.session = Id(in.array<16>());
  token.token = Id(in.array<16>());
  token.expires_unix_s = in.u32();
  return token;
}

}  // namespace lucid::controller
