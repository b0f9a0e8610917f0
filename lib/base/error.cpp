#include "lib/base/error.hpp"

#include <cerrno>
#include <cstring>

namespace lucid {

int http_status(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::malformed: return 400;
    case ErrorKind::unauthorized: return 401;
    case ErrorKind::forbidden: return 403;
    case ErrorKind::not_found: return 404;
    case ErrorKind::method_not_allowed: return 405;
    case ErrorKind::timeout: return 408;
    case ErrorKind::conflict: return 409;
    case ErrorKind::too_large: return 413;
    case ErrorKind::unsupported_media: return 415;
    case ErrorKind::invalid: return 422;
    case ErrorKind::rate_limited: return 429;
    case ErrorKind::internal:
    case ErrorKind::corrupt: return 500;
    case ErrorKind::unavailable: return 503;
    case ErrorKind::storage_full: return 507;
  }
  return 500;
}

const char* default_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::malformed: return "malformed";
    case ErrorKind::unauthorized: return "unauthorized";
    case ErrorKind::forbidden: return "forbidden";
    case ErrorKind::not_found: return "not_found";
    case ErrorKind::method_not_allowed: return "method_not_allowed";
    case ErrorKind::timeout: return "timeout";
    case ErrorKind::conflict: return "conflict";
    case ErrorKind::too_large: return "too_large";
    case ErrorKind::unsupported_media: return "unsupported_media_type";
    case ErrorKind::invalid: return "invalid";
    case ErrorKind::rate_limited: return "rate_limited";
    case ErrorKind::internal: return "internal";
    case ErrorKind::corrupt: return "corrupt";
    case ErrorKind::unavailable: return "unavailable";
    case ErrorKind::storage_full: return "storage_full";
  }
  return "internal";
}

Error::Error(ErrorKind kind, std::string code, const std::string& message)
    : std::runtime_error(message), kind_(kind), code_(std::move(code)) {}

Error::Error(ErrorKind kind, const std::string& message) : Error(kind, default_code(kind), message) {}

Error Error::with_fields(std::vector<FieldError> fields) const {
  Error copy = *this;
  copy.fields_ = std::move(fields);
  return copy;
}

Error Error::with_retry_after(std::chrono::seconds delay) const {
  Error copy = *this;
  copy.retry_after_ = delay;
  return copy;
}

Error system_error(const std::string& what, const std::string& on, int errno_value) {
  ErrorKind kind = ErrorKind::unavailable;
  if (errno_value == ENOSPC || errno_value == EDQUOT) kind = ErrorKind::storage_full;
  if (errno_value == ENOENT) kind = ErrorKind::not_found;
  return Error(kind, what + " " + on + ": " + std::strerror(errno_value));
}

}  // namespace lucid
