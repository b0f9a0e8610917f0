// The client's end of TLS over a connected socket that the caller owns and has made non-blocking: TLS 1.2 or later, the server's chain verified
// against the system's trust store or a given file, its name or IP address against the subject alternative names (never the common name), ALPN
// http/1.1. Nothing here waits: each step does what the socket allows and says what to wait for, so deadlines are the caller's poll(2). A session
// is one thread's at a time, a TlsTrust everybody's. Errors: Error{unavailable, "tls_failed"} whose text is the reason alone ("certificate has
// expired"); the session is of no use afterwards. Revocation is not checked. SIGPIPE never arises. Sources: RFC 8446, RFC 5246, RFC 9525.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"

namespace lucid::crypto {

// Whom to believe. Read once; certificates added to the system later count from the next start.
class TlsTrust {
 public:
  // With an empty name the system's trust store, read once for all that use it. Error{invalid, "bad_ca_file"} naming the file.
  static std::shared_ptr<const TlsTrust> load(const std::string& ca_file);
  ~TlsTrust();

  struct State;  // internal to tls_client.cpp
  explicit TlsTrust(std::unique_ptr<State> state);
  const State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

struct TlsStep {
  enum class Kind {
    done,        // `bytes` were moved (> 0), or the handshake is over
    want_read,   // again when the socket can be read
    want_write,  // again when it can be written
    ended,       // the other side said goodbye
    cut,         // the connection broke: `error` is errno, 0 when it ended without a goodbye (somebody may have cut it)
  };
  Kind kind = Kind::done;
  std::size_t bytes = 0;
  int error = 0;
};

class TlsSession {
 public:
  // `host` as in the URL: a name or an IP address (IPv6 without brackets). `fd` must stay open until the session is gone.
  TlsSession(const TlsTrust& trust, int fd, const std::string& host);
  // Says goodbye if the socket takes it now.
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;

  TlsStep handshake();
  TlsStep read(std::span<std::uint8_t> out);
  // Part of `bytes` (not empty). After want_* the next write must begin with the same bytes; their place may differ.
  TlsStep write(ByteView bytes);
  // What a read would find, without taking it; messages of TLS itself are dealt with. want_read: nothing.
  TlsStep peek();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lucid::crypto
