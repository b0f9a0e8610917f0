#include "lib/crypto/tls_client.hpp"

#include <cerrno>
#include <climits>
#include <cstdint>
#include <mutex>

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include "lib/crypto/openssl_freed.hpp"

namespace lucid::crypto {
namespace {

Error tls_failed(const std::string& why) { return Error(ErrorKind::unavailable, "tls_failed", why); }

// OpenSSL's own socket BIO writes with write(2), which raises SIGPIPE.
int bio_descriptor(BIO* bio) { return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio))); }

int bio_write(BIO* bio, const char* data, std::size_t size, std::size_t* written) {
  BIO_clear_retry_flags(bio);
  ssize_t n;
  do n = ::send(bio_descriptor(bio), data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  *written = n > 0 ? static_cast<std::size_t>(n) : 0;
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) BIO_set_retry_write(bio);
  return n > 0 ? 1 : 0;
}

int bio_read(BIO* bio, char* data, std::size_t size, std::size_t* got) {
  BIO_clear_retry_flags(bio);
  ssize_t n;
  do n = ::recv(bio_descriptor(bio), data, size, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  *got = n > 0 ? static_cast<std::size_t>(n) : 0;
  if (n == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) BIO_set_retry_read(bio);
  return n > 0 ? 1 : 0;
}

long bio_control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
  return 0;
}

const BIO_METHOD* bio_method() {
  static const std::unique_ptr<BIO_METHOD, Freed<BIO_meth_free>> method = [] {
    std::unique_ptr<BIO_METHOD, Freed<BIO_meth_free>> made(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket"));
    if (made) {
      BIO_meth_set_write_ex(made.get(), bio_write);
      BIO_meth_set_read_ex(made.get(), bio_read);
      BIO_meth_set_ctrl(made.get(), bio_control);
    }
    return made;
  }();
  return method.get();
}

bool is_address(const std::string& host) {
  std::uint8_t bytes[16];
  return ::inet_pton(AF_INET, host.c_str(), bytes) == 1 || ::inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

}  // namespace

struct TlsTrust::State {
  std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>> context;
};

TlsTrust::TlsTrust(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsTrust::~TlsTrust() = default;

std::shared_ptr<const TlsTrust> TlsTrust::load(const std::string& ca_file) {
  // The system's store is some 140 certificates: parsed once for all clients of a process.
  static std::mutex mutex;
  static std::weak_ptr<const TlsTrust> of_system;
  std::lock_guard lock(mutex);
  if (ca_file.empty())
    if (auto trust = of_system.lock()) return trust;
  auto state = std::make_unique<State>();
  state->context.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* context = state->context.get();
  if (context == nullptr || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) throw tls_failed("OpenSSL cannot start");
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  static constexpr unsigned char kAlpn[] = "\x08http/1.1";
  if (SSL_CTX_set_alpn_protos(context, kAlpn, sizeof kAlpn - 1) != 0) throw tls_failed("OpenSSL cannot start");
  ERR_clear_error();
  if (ca_file.empty()) {
    if (SSL_CTX_set_default_verify_paths(context) != 1) throw tls_failed("the system's trusted certificates cannot be read");
  } else if (SSL_CTX_load_verify_file(context, ca_file.c_str()) != 1) {
    ERR_clear_error();
    throw Error(ErrorKind::invalid, "bad_ca_file",
                "the file of trusted certificates " + ca_file + " cannot be read or has no certificate in PEM form");
  }
  auto trust = std::make_shared<const TlsTrust>(std::move(state));
  if (ca_file.empty()) of_system = trust;
  return trust;
}

struct TlsSession::State {
  std::unique_ptr<SSL, Freed<SSL_free>> tls;
  bool open = false;  // the handshake is over and nothing broke since

  TlsStep outcome(int result, std::size_t bytes);
  std::string reason() const;
};

// Why OpenSSL gave up, in words an operator can act on.
std::string TlsSession::State::reason() const {
  if (long verdict = SSL_get_verify_result(tls.get()); verdict != X509_V_OK) return X509_verify_cert_error_string(verdict);
  unsigned long code = ERR_peek_last_error();
  if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
      (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER || ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST))
    return "the server does not speak TLS";
  const char* words = ERR_reason_error_string(code);
  return words != nullptr ? words : "OpenSSL gave up without a reason";
}

TlsStep TlsSession::State::outcome(int result, std::size_t bytes) {
  int error = errno;
  if (result == 1) return {.kind = TlsStep::Kind::done, .bytes = bytes};
  switch (SSL_get_error(tls.get(), result)) {
    case SSL_ERROR_WANT_READ: return {.kind = TlsStep::Kind::want_read};
    case SSL_ERROR_WANT_WRITE: return {.kind = TlsStep::Kind::want_write};
    case SSL_ERROR_ZERO_RETURN: return {.kind = TlsStep::Kind::ended};
    case SSL_ERROR_SYSCALL: open = false; return {.kind = TlsStep::Kind::cut, .error = error};
    default: break;
  }
  open = false;
  if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) return {.kind = TlsStep::Kind::cut};
  throw tls_failed(reason());
}

TlsSession::TlsSession(const TlsTrust& trust, int fd, const std::string& host) : state_(std::make_unique<State>()) {
  state_->tls.reset(SSL_new(trust.state().context.get()));
  SSL* tls = state_->tls.get();
  BIO* bio = tls != nullptr && bio_method() != nullptr ? BIO_new(bio_method()) : nullptr;
  if (bio == nullptr) throw tls_failed("OpenSSL cannot start");
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
  BIO_set_init(bio, 1);
  SSL_set_bio(tls, bio, bio);
  SSL_set_connect_state(tls);
  bool named;
  if (is_address(host)) {
    named = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), host.c_str()) == 1;
  } else {
    std::string name = host.ends_with('.') ? host.substr(0, host.size() - 1) : host;
    SSL_set_hostflags(tls, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    named = !name.empty() && SSL_set1_host(tls, name.c_str()) == 1 && SSL_set_tlsext_host_name(tls, name.c_str()) == 1;
  }
  if (!named) throw tls_failed("'" + host + "' is no name a certificate can have");
}

TlsSession::~TlsSession() {
  if (!state_->open) return;
  ERR_clear_error();
  SSL_shutdown(state_->tls.get());
  ERR_clear_error();
}

TlsStep TlsSession::handshake() {
  ERR_clear_error();
  errno = 0;
  TlsStep step = state_->outcome(SSL_do_handshake(state_->tls.get()) == 1 ? 1 : -1, 0);
  state_->open = step.kind == TlsStep::Kind::done;
  return step;
}

TlsStep TlsSession::read(std::span<std::uint8_t> out) {
  ERR_clear_error();
  errno = 0;
  std::size_t got = 0;
  int result = SSL_read_ex(state_->tls.get(), out.data(), out.size(), &got);
  return state_->outcome(result, got);
}

TlsStep TlsSession::write(ByteView bytes) {
  ERR_clear_error();
  errno = 0;
  std::size_t sent = 0;
  int result = SSL_write_ex(state_->tls.get(), bytes.data(), bytes.size(), &sent);
  return state_->outcome(result, sent);
}

TlsStep TlsSession::peek() {
  ERR_clear_error();
  errno = 0;
  std::uint8_t byte = 0;
  std::size_t got = 0;
  int result = SSL_peek_ex(state_->tls.get(), &byte, 1, &got);
  return state_->outcome(result, got);
}

}  // namespace lucid::crypto
