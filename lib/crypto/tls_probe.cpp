#include "lib/crypto/tls_probe.hpp"

#include <cerrno>
#include <cstring>
#include <memory>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "lib/base/bytes.hpp"
#include "lib/crypto/openssl_freed.hpp"

namespace lucid::crypto {
namespace {

std::unexpected<Error> failed(const std::string& why) {
  return std::unexpected(Error(ErrorKind::unavailable, "tls_failed", "TLS handshake: " + why));
}

}  // namespace

Expected<TlsPeer> tls_probe(int fd, std::chrono::milliseconds timeout) {
  timeval limit{.tv_sec = timeout.count() / 1000, .tv_usec = (timeout.count() % 1000) * 1000};
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
      ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0)
    return failed(std::string("set a time-out: ") + std::strerror(errno));
  std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>> context(SSL_CTX_new(TLS_client_method()));
  if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1) return failed("OpenSSL cannot start");
  std::unique_ptr<SSL, Freed<SSL_free>> tls(SSL_new(context.get()));
  if (!tls || SSL_set_fd(tls.get(), fd) != 1) return failed("OpenSSL cannot start");
  ERR_clear_error();
  if (int done = SSL_connect(tls.get()); done != 1) {
    int reason = SSL_get_error(tls.get(), done);
    if (reason == SSL_ERROR_SYSCALL && errno != 0) return failed(std::strerror(errno));
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE) return failed("no answer in time");
    const char* words = ERR_reason_error_string(ERR_get_error());
    return failed(words != nullptr ? words : "the other side closed the connection");
  }
  TlsPeer peer{.version = SSL_get_version(tls.get()), .fingerprint = {}};
  std::unique_ptr<X509, Freed<X509_free>> certificate(SSL_get1_peer_certificate(tls.get()));
  Hash32 digest{};
  unsigned int size = 0;
  if (!certificate || X509_digest(certificate.get(), EVP_sha256(), digest.data(), &size) != 1) return failed("no certificate was shown");
  peer.fingerprint = to_hex(digest);
  SSL_shutdown(tls.get());  // one way: the caller closes the socket
  return peer;
}

}  // namespace lucid::crypto
