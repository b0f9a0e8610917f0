// What breaks is a lucid::Error: one closed list of kinds, a stable word for scripts, what was attempted and on what,
// and what the operator can do. It becomes an HTTP problem (RFC 9457) in one place, lib/net. What is merely expected
// to fail (a parse of outside bytes, a lookup) is a value: std::expected<T, Error> or std::optional, never a throw.
#pragma once

#include <chrono>
#include <expected>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace lucid {

// The closed list. Each kind has one HTTP status (http_status).
enum class ErrorKind {
  malformed,           // 400 the bytes or text cannot be parsed
  unauthorized,        // 401
  forbidden,           // 403
  not_found,           // 404
  method_not_allowed,  // 405
  timeout,             // 408 the other side was too slow
  conflict,            // 409 illegal transition, version mismatch, fenced out
  too_large,           // 413
  unsupported_media,   // 415
  invalid,             // 422 well-formed but not allowed; carries field errors
  rate_limited,        // 429
  internal,            // 500 a bug or broken invariant of ours
  corrupt,             // 500 stored bytes are not what was stored
  unavailable,         // 503 a dependency is away; retry later
  storage_full,        // 507 no space left
};
int http_status(ErrorKind kind);
// The word used as `code` when an Error carries none of its own, e.g. "not_found".
const char* default_code(ErrorKind kind);

// One refused field of a request: RFC 6901 pointer and the reason in words.
struct FieldError {
  std::string pointer;
  std::string reason;
};

class Error : public std::runtime_error {
 public:
  // `code` is a stable lower_case word ("session_not_found"); `message` one sentence saying what was attempted, on
  // what, why it failed and, where one exists, what the operator can do. Never put secrets in either.
  Error(ErrorKind kind, std::string code, const std::string& message);
  Error(ErrorKind kind, const std::string& message);

  Error with_fields(std::vector<FieldError> fields) const;
  Error with_retry_after(std::chrono::seconds delay) const;

  ErrorKind kind() const { return kind_; }
  const std::string& code() const { return code_; }
  const std::vector<FieldError>& fields() const { return fields_; }
  std::optional<std::chrono::seconds> retry_after() const { return retry_after_; }

 private:
  ErrorKind kind_;
  std::string code_;
  std::vector<FieldError> fields_;
  std::optional<std::chrono::seconds> retry_after_;
};

// An Error for a failed system call: `what` ("open spool file"), `on` (path or peer), and errno's meaning.
// ENOSPC/EDQUOT become storage_full, ENOENT not_found, the rest unavailable.
Error system_error(const std::string& what, const std::string& on, int errno_value);

template <class T>
using Expected = std::expected<T, Error>;

}  // namespace lucid
