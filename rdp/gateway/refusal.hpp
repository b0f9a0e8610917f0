// Why a connection was not relayed, and what the client is told: RDP_NEG_FAILURE has no code for most of it, so each reason has the
// nearest code of its own kind (README.md lists them). Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "lib/base/error.hpp"
#include "rdp/gateway/x224.hpp"

namespace lucid::gateway {

enum class Refusal {
  banned,             // at the door, without an answer:
  too_fast,           //   more new connections than the address may open
  too_many,           //   more at once than the address may have
  full,               //   as many as the gateway carries
  malformed,          // the first packet; no answer
  handshake_timeout,  // it never came whole; no answer
  no_tls,             // the client offers neither TLS nor NLA
  no_name,            // neither token nor account name
  denied,             // the controller says no
  limited,            // the controller says not now
  unavailable,        // no answer from the controller in time
  upstream,           // the xrdp cannot be reached, or did not answer as one
  upstream_no_tls,    // the xrdp chose neither TLS nor NLA
};
inline constexpr std::array kRefusals{Refusal::banned,         Refusal::too_fast,          Refusal::too_many,    Refusal::full,
                                      Refusal::malformed,      Refusal::handshake_timeout, Refusal::no_tls,      Refusal::no_name,
                                      Refusal::denied,         Refusal::limited,           Refusal::unavailable, Refusal::upstream,
                                      Refusal::upstream_no_tls};
const char* name(Refusal refusal);
// nullopt: nothing is sent.
std::optional<FailureCode> failure_code(Refusal refusal);
// Counts against the address.
bool is_clients_failure(Refusal refusal);
Refusal refusal_of(const Error& admission_error);

}  // namespace lucid::gateway
