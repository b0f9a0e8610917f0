// Idempotency-Key: a request repeated with the same key and the same body within at least 24 hours has the effect of
// one. Kept in documents by day, so old ones are dropped a day at a time. Any thread; what claim() recorded survives
// power loss.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/bytes.hpp"
#include "lib/base/clock.hpp"
#include "lib/store/documents.hpp"

namespace lucid::api {

class IdempotencyKeys {
 public:
  IdempotencyKeys(store::Documents& documents, const Clock& clock) : documents_(documents), clock_(clock) {}

  // What identifies one request: who asked, with which key, what for. Throws Error{invalid} for an unusable key.
  struct Asked {
    std::string slot;         // hash of principal and key
    std::string fingerprint;  // hash of method, path and body
  };
  static Asked asked(std::string_view principal, std::string_view key, std::string_view method, std::string_view path, ByteView body);

  // What was recorded for this request; nullopt when it is new. Throws Error{conflict, "idempotency_key_reused"} when
  // the key was used for another request.
  std::optional<std::string> find(const Asked& asked);
  // Records `value` unless the request was seen before; answers the value that stands. Throws as find() does.
  std::string claim(const Asked& asked, const std::string& value);

 private:
  std::uint64_t today() const;
  void drop_days_before(std::uint64_t day);
  store::Documents& documents_;
  const Clock& clock_;
  std::atomic<std::uint64_t> dropped_before_{0};
};

}  // namespace lucid::api
