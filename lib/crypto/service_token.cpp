#include "lib/crypto/service_token.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "lib/base/error.hpp"
#include "lib/crypto/kdf.hpp"

namespace lucid::crypto {
namespace {

constexpr std::int64_t kLifetimeMs = 60'000;
constexpr std::int64_t kSkewMs = 5'000;
constexpr std::size_t kMaxToken = 256;

Secret32 token_key(const Secret32& service_key) {
  Bytes key = *hkdf_sha256(service_key.bytes(), {}, as_bytes("lucid service token v1"), 32);
  Secret32 secret{std::span<const std::uint8_t, 32>(key)};
  wipe(key);
  return secret;
}

bool is_service_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 &&
         std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

// Seconds without sign or leading zero, few enough digits that milliseconds fit.
std::optional<std::int64_t> parse_seconds(std::string_view text) {
  if (text.empty() || text.size() > 15 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

}  // namespace

ServiceTokens::ServiceTokens(const Secret32& service_key, const Clock& clock) : key_(token_key(service_key)), clock_(clock) {}

std::string ServiceTokens::issue(std::string_view service) {
  if (!is_service_name(service))
    throw Error(ErrorKind::internal, fmt::format("issue a service token: \"{}\" is not a service name", to_utf8(service, 64)));
  std::lock_guard lock(mutex_);
  std::int64_t now = clock_.wall_ms();
  // Also renewed when the wall clock was set back, as the others would find the old one's expiry far in the future.
  bool fresh = now < refresh_at_ms_ && now >= refresh_at_ms_ - kLifetimeMs / 2;
  if (service_ != service || !fresh) {
    std::string body = fmt::format("v1.{}.{}", service, (now + kLifetimeMs) / 1000);
    token_ = body + '.' + to_base64url(hmac_sha256(key_.bytes(), as_bytes(body)));
    service_ = service;
    refresh_at_ms_ = now + kLifetimeMs / 2;
  }
  return token_;
}

std::optional<std::string> ServiceTokens::verify(std::string_view token) const {
  if (token.size() > kMaxToken || !token.starts_with("v1.")) return std::nullopt;
  std::size_t mac_at = token.rfind('.');
  std::string_view body = token.substr(0, mac_at);
  std::size_t expiry_at = body.rfind('.');
  if (expiry_at == std::string_view::npos || expiry_at < 3) return std::nullopt;
  std::string_view service = body.substr(3, expiry_at - 3);
  std::optional<std::int64_t> expiry = parse_seconds(body.substr(expiry_at + 1));
  std::optional<Bytes> mac = from_base64url(token.substr(mac_at + 1));
  if (!is_service_name(service) || !expiry || !mac) return std::nullopt;
  if (!equal_constant_time(*mac, hmac_sha256(key_.bytes(), as_bytes(body)))) return std::nullopt;
  if (clock_.wall_ms() > *expiry * 1000 + kSkewMs) return std::nullopt;
  return std::string(service);
}

}  // namespace lucid::crypto
