// Asks an xrdp whether it is really there: one X.224 connection request for TLS and the TLS handshake that follows. Blocks; any thread.
// Source: [MS-RDPBCGR] 2.2.1.1, 2.2.1.2; RFC 1006.
#pragma once

#include <chrono>
#include <cstdint>

#include "lib/base/error.hpp"
#include "lib/crypto/tls_probe.hpp"

namespace lucid::server_manager {

// On 127.0.0.1. Error{unavailable} with the reason.
Expected<crypto::TlsPeer> probe_rdp(std::uint16_t port, std::chrono::milliseconds timeout);

}  // namespace lucid::server_manager
