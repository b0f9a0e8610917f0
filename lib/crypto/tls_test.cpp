#include <csignal>
#include <functional>
#include <thread>

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/crypto/tls_certificate.hpp"
#include "lib/crypto/tls_probe.hpp"

using namespace lucid;
using namespace lucid::crypto;

namespace {

constexpr std::int64_t kNow = 1'795'324'000'000;

constexpr const char* kUntil2027 = R"(-----BEGIN CERTIFICATE-----
MIIBgDCCASWgAwIBAgIUNsOxJBgcsyc9e/ThzAJ1/sUaZOQwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKbHVjaWQtdGVzdDAeFw0yNjExMjIxMTQwMTRaFw0yNzExMjIx
MTQwMTRaMBUxEzARBgNVBAMMCmx1Y2lkLXRlc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAStAo8bPMjACFTcXne7QuysxOdgrEs36JCnmA/dt5U40ei3m2t/wCPH
hRq3c16E191g6q3WRtBQ0JvluV2mrw1fo1MwUTAdBgNVHQ4EFgQUMYvpQ7ya1/iS
tH4J1m7jBL0I31QwHwYDVR0jBBgwFoAUMYvpQ7ya1/iStH4J1m7jBL0I31QwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAmH4cCAjKJbyyb0ifomxq
necCwsYU7PR9EpNn8qmv/RwCIQDGUDO2RsuekG8SC/7v7LiswCf+KUDGUuavHaCP
Taa74A==
-----END CERTIFICATE-----
)";
constexpr const char* kUntil2126 = R"(-----BEGIN CERTIFICATE-----
MIIBgTCCASegAwIBAgIUBK5B505dnLQPpGfxdjWuWbzY1vIwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKbHVjaWQtdGVzdDAgFw0yNjExMjIxMTQwMTRaGA8yMTI2MTAy
OTExNDAxNFowFTETMBEGA1UEAwwKbHVjaWQtdGVzdDBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABAinhXytU9BPjr5dbS/tG8NIV9BhwlWPxle83jDAQg0Yn9NsuGga
/D+uD8V0n65vInMBur9xbhAQmJucBqSS2WajUzBRMB0GA1UdDgQWBBTAAtkP/LUl
jQMNsvA4iDSveOELWTAfBgNVHSMEGDAWgBTAAtkP/LUljQMNsvA4iDSveOELWTAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQCm5ocn0I3dKfDRi/UV
ozlkrRViP7Cfniy45er9hjyqxgIgZk4JcEZOa4+boINq7Gqc95C5pdSE+XW0qRUT
xoDia7I=
-----END CERTIFICATE-----
)";

// A TLS server on one end of a socket pair.
struct Peer {
  int ends[2] = {-1, -1};
  std::thread thread;
  explicit Peer(std::function<void(int)> serve) {
    std::signal(SIGPIPE, SIG_IGN);  // as every process of ours does
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) throw std::runtime_error("socketpair");
    thread = std::thread([this, serve = std::move(serve)] {
      serve(ends[1]);
      ::close(ends[1]);
    });
  }
  ~Peer() {
    ::close(ends[0]);
    thread.join();
  }
};

void serve_tls(int fd, const TlsCertificate& with, int version) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_security_level(context, 0);
  SSL_CTX_set_min_proto_version(context, version);
  SSL_CTX_set_max_proto_version(context, version);
  BIO* c = BIO_new_mem_buf(with.certificate_pem.data(), static_cast<int>(with.certificate_pem.size()));
  X509* certificate = PEM_read_bio_X509(c, nullptr, nullptr, nullptr);
  BIO* k = BIO_new_mem_buf(with.private_key_pem.data(), static_cast<int>(with.private_key_pem.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(k, nullptr, nullptr, nullptr);
  SSL_CTX_use_certificate(context, certificate);
  SSL_CTX_use_PrivateKey(context, key);
  SSL* tls = SSL_new(context);
  SSL_set_fd(tls, fd);
  SSL_accept(tls);
  char byte;
  SSL_read(tls, &byte, 1);
  SSL_free(tls);
  X509_free(certificate);
  EVP_PKEY_free(key);
  BIO_free_all(c);
  BIO_free_all(k);
  SSL_CTX_free(context);
}

}  // namespace

TEST(Tls, AMadeCertificateIsShownInAHandshakeAndHasItsFingerprint) {
  TlsCertificate made = make_self_signed("lucid", {"lucid", "localhost"}, kNow, 3650);
  EXPECT_EQ(certificate_problem(made.certificate_pem, made.private_key_pem), std::nullopt);
  Peer peer([&](int fd) { serve_tls(fd, made, TLS1_3_VERSION); });
  auto seen = tls_probe(peer.ends[0], std::chrono::seconds(5));
  ASSERT_TRUE(seen) << seen.error().what();
  EXPECT_EQ(seen->version, "TLSv1.3");
  EXPECT_EQ(seen->fingerprint, certificate_fingerprint(made.certificate_pem).value());
}

TEST(Tls, AKeyThatIsNotTheCertificatesIsNamed) {
  TlsCertificate one = make_self_signed("one", {}, kNow, 10), other = make_self_signed("other", {}, kNow, 10);
  EXPECT_NE(one.certificate_pem, other.certificate_pem);
  EXPECT_EQ(certificate_problem(one.certificate_pem, other.private_key_pem), "the private key is not the certificate's");
  EXPECT_EQ(certificate_problem("nonsense", one.private_key_pem), "the certificate is not in PEM form");
  EXPECT_EQ(certificate_problem(one.certificate_pem, ""), "the private key is not in PEM form, or needs a pass phrase");
  EXPECT_FALSE(certificate_fingerprint("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
}

TEST(Tls, TheEndOfACertificateIsReadInBothFormsItsDateMayHave) {
  TlsCertificate made = make_self_signed("lucid", {}, kNow, 10);
  EXPECT_EQ(certificate_expires_wall_ms(made.certificate_pem), kNow + 10 * 86'400'000LL);
  TlsCertificate over = make_self_signed("lucid", {}, kNow - 400 * 86'400'000LL, 30);
  EXPECT_EQ(certificate_expires_wall_ms(over.certificate_pem), kNow - 370 * 86'400'000LL) << "also when it is over";
  // Made by `openssl req -x509 -days 365` and `-days 36500`: a date before 2050 is a UTCTime, one after it a GeneralizedTime.
  EXPECT_EQ(certificate_expires_wall_ms(kUntil2027), 1'826'883'614'000);
  EXPECT_EQ(certificate_expires_wall_ms(kUntil2126), 4'948'947'614'000);
  EXPECT_EQ(certificate_expires_wall_ms(std::string(kUntil2126) + kUntil2027), 4'948'947'614'000)
      << "the first of a chain is the server's own";
  for (const char* bad : {"", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}) {
    auto none = certificate_expires_wall_ms(bad);
    ASSERT_FALSE(none) << bad;
    EXPECT_EQ(none.error().kind(), ErrorKind::malformed);
  }
}

TEST(Tls, AnOldProtocolGarbageSilenceAndAnEndAreErrors) {
  TlsCertificate made = make_self_signed("lucid", {}, kNow, 10);
  {
    Peer peer([&](int fd) { serve_tls(fd, made, TLS1_1_VERSION); });
    EXPECT_FALSE(tls_probe(peer.ends[0], std::chrono::seconds(5)));
  }
  {
    Peer peer([](int fd) { EXPECT_GT(::write(fd, "HTTP/1.1 400 Bad Request\r\n", 26), 0); });
    EXPECT_FALSE(tls_probe(peer.ends[0], std::chrono::seconds(5)));
  }
  {
    Peer peer([](int) {});
    EXPECT_FALSE(tls_probe(peer.ends[0], std::chrono::seconds(5)));
  }
  int silent[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, silent), 0);
  auto none = tls_probe(silent[0], std::chrono::milliseconds(50));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), "tls_failed");
  ::close(silent[0]);
  ::close(silent[1]);
}
