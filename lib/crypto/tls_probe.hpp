// One TLS handshake as a client over a connected socket, to see that the other side really answers and with which certificate. Verifies no
// chain: the caller compares the fingerprint. The descriptor stays the caller's and blocking. Any thread, with SIGPIPE
// ignored as in every process of ours. Source: RFC 8446.
#pragma once

#include <chrono>
#include <string>

#include "lib/base/error.hpp"

namespace lucid::crypto {

struct TlsPeer {
  std::string version;      // "TLSv1.3"
  std::string fingerprint;  // SHA-256 of the peer's certificate, lower-case hex
};

// TLS 1.2 or later, or an Error{unavailable} that says what went wrong. Each read and write of the handshake waits at most `timeout`.
Expected<TlsPeer> tls_probe(int fd, std::chrono::milliseconds timeout);

}  // namespace lucid::crypto
