#include "rdp/gateway/refusal.hpp"

#include <array>

namespace lucid::gateway {

const char* name(Refusal refusal) {
  constexpr std::array<const char*, 13> names{"banned",  "too_fast", "too_many", "full",        "malformed", "handshake_timeout", "no_tls",
                                              "no_name", "denied",   "limited",  "unavailable", "upstream",  "upstream_no_tls"};
  return names[static_cast<std::size_t>(refusal)];
}

std::optional<FailureCode> failure_code(Refusal refusal) {
  switch (refusal) {
    case Refusal::no_tls: return FailureCode::ssl_required_by_server;
    case Refusal::no_name:
    case Refusal::denied: return FailureCode::ssl_with_user_auth_required_by_server;
    case Refusal::limited: return FailureCode::inconsistent_flags;
    case Refusal::unavailable:
    case Refusal::upstream:
    case Refusal::upstream_no_tls: return FailureCode::ssl_cert_not_on_server;
    default: return std::nullopt;
  }
}

bool is_clients_failure(Refusal refusal) {
  return refusal == Refusal::malformed || refusal == Refusal::handshake_timeout || refusal == Refusal::no_name ||
         refusal == Refusal::denied;
}

Refusal refusal_of(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::forbidden:
    case ErrorKind::malformed:
    case ErrorKind::invalid: return Refusal::denied;
    case ErrorKind::rate_limited: return Refusal::limited;
    default: return Refusal::unavailable;
  }
}

}  // namespace lucid::gateway
