// Short-lived tokens between services: "v1.<service>.<expiry unix seconds>.<base64url HMAC-SHA-256>", keyed by HKDF of
// the deployment's service key. Any thread.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.hpp"
#include "lib/crypto/secret.hpp"

namespace lucid::crypto {

class ServiceTokens {
 public:
  ServiceTokens(const Secret32& service_key, const Clock& clock);
  // A token for `service` valid 60 s; the same one is handed out until half of that has passed.
  std::string issue(std::string_view service);
  // The service's name, or nullopt when forged, malformed or expired (5 s of clock skew allowed).
  std::optional<std::string> verify(std::string_view token) const;

 private:
  Secret32 key_;
  const Clock& clock_;
  std::mutex mutex_;
  std::string service_, token_;
  std::int64_t refresh_at_ms_ = 0;
};

}  // namespace lucid::crypto
