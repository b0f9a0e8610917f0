#include <atomic>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/clock.hpp"
#include "lib/base/random.hpp"
#include "lib/net/client.hpp"
#include "lib/net/raw_peer.hpp"
#include "lib/net/tls_fixture.hpp"

using namespace lucid;
using namespace lucid::net;
using namespace std::chrono_literals;
using testing::HasSubstr;

namespace {

class ClientTls : public testing::Test {
 protected:
  void SetUp() override {
    Router router;
    router.add(Method::get, "/hello", [](Request&) { return Response::text("hello"); }, {.auth = Auth::open});
    router.add(Method::put, "/echo",
               [this](Request& r) {
                 ++handled_;
                 return Response::bytes(std::move(r.body));
               },
               {.max_body = 64 << 20, .auth = Auth::open});
    router.add(Method::put, "/small", [](Request&) { return Response::empty(); }, {.max_body = 100, .auth = Auth::open});
    server_ = std::make_unique<Server>(ServerConfig{.worker_threads = 2, .io_threads = 1}, std::move(router), Authenticator{}, Observer{});
    server_->start();
  }
  TlsFront front(const crypto::TlsCertificate& certificate, const std::string& mode = "normal") {
    return TlsFront({certificate}, server_->port(), mode);
  }
  ClientConfig to(const TlsFront& front, const std::string& host = "localhost", std::size_t which = 0) {
    return {.base_url = front.url(host, which), .bearer = {}, .ca_file = ca_file(directory_, authority_.certificate_pem())};
  }
  static std::string failure(ClientConfig config, const std::string& target = "/hello", std::chrono::milliseconds timeout = 10s) {
    Client client(std::move(config));
    Call call;
    call.target = target;
    call.timeout = timeout;
    try {
      client.expect(call);
      return "none";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::unavailable);
      return e.code() + ": " + e.what();
    }
  }
  static std::string text(Client& client) {
    Call call;
    call.target = "/hello";
    return std::string(as_text(client.expect(call).body));
  }

  TempDir directory_;
  crypto::TestAuthority authority_{"the test's authority"};
  std::atomic<int> handled_ = 0;
  std::unique_ptr<Server> server_;
};

TEST_F(ClientTls, SpeaksToAServerWhoseChainAndNameAreRightAndKeepsTheConnection) {
  TlsFront tls = front(authority_.issue("DNS:localhost,IP:127.0.0.1"));
  Client client(to(tls));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(text(client), "hello");
  EXPECT_EQ(tls.line(), "TLSv1.3 http/1.1 localhost");
  EXPECT_EQ(tls.line(0ms), "") << "one connection for all of them";
  // An address is checked as one, and is no SNI.
  Client by_address(to(tls, "127.0.0.1"));
  EXPECT_EQ(text(by_address), "hello");
  EXPECT_EQ(tls.line(), "TLSv1.3 http/1.1 None");
}

TEST_F(ClientTls, ACertificateThatIsNotTheServersOrNoLongerGoodIsNamed) {
  struct Case {
    crypto::TlsCertificate certificate;
    const char *host, *why;
  };
  std::int64_t now = SystemClock().wall_ms();
  crypto::TestAuthority other("another authority");
  // The last: a name in the subject alone is none (RFC 9525).
  const std::vector<Case> cases = {{authority_.issue("DNS:other.example"), "localhost", "hostname mismatch"},
                                   {authority_.issue("DNS:localhost"), "127.0.0.1", "IP address mismatch"},
                                   {authority_.issue("IP:127.0.0.2"), "127.0.0.1", "IP address mismatch"},
                                   {authority_.issue("DNS:*"), "localhost", "hostname mismatch"},
                                   {authority_.issue("DNS:localhost", -3, -1), "localhost", "certificate has expired"},
                                   {authority_.issue("DNS:localhost", 1, 3), "localhost", "certificate is not yet valid"},
                                   {crypto::make_self_signed("localhost", {"localhost"}, now, 2), "localhost", "self-signed certificate"},
                                   {other.issue("DNS:localhost"), "localhost", "unable to get local issuer certificate"},
                                   {authority_.issue("email:localhost"), "localhost", "hostname mismatch"}};
  std::vector<crypto::TlsCertificate> certificates;
  for (const Case& c : cases) certificates.push_back(c.certificate);
  TlsFront tls(certificates, server_->port());
  for (std::size_t i = 0; i < cases.size(); ++i)
    EXPECT_THAT(failure(to(tls, cases[i].host, i)), testing::AllOf(HasSubstr("tls_failed: GET https://"), HasSubstr(cases[i].why)));
}

TEST_F(ClientTls, TheSystemsTrustStoreDoesNotKnowTheTestsAuthority) {
  TlsFront tls = front(authority_.issue("DNS:localhost"));
  EXPECT_THAT(failure({.base_url = tls.url(), .bearer = {}}), HasSubstr("unable to get local issuer certificate"));
}

TEST_F(ClientTls, ASelfSignedCertificateIsGoodWhenItIsTheOneToTrust) {
  crypto::TlsCertificate own = crypto::make_self_signed("localhost", {"localhost"}, SystemClock().wall_ms(), 2);
  TlsFront tls = front(own);
  Client client({.base_url = tls.url(), .bearer = {}, .ca_file = ca_file(directory_, own.certificate_pem)});
  EXPECT_EQ(text(client), "hello");
}

TEST_F(ClientTls, AFileOfTrustThatIsNoneIsRefusedAtOnce) {
  for (const std::string& path : {std::string("/nowhere/ca.pem"), ca_file(directory_, "nonsense")}) {
    try {
      Client client({.base_url = "https://localhost", .bearer = {}, .ca_file = path});
      ADD_FAILURE();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), "bad_ca_file");
      EXPECT_THAT(e.what(), HasSubstr(path));
    }
  }
}

TEST_F(ClientTls, OldVersionsSilenceAndPlainHttpAreErrorsThatSaySo) {
  crypto::TlsCertificate good = authority_.issue("DNS:localhost");
  TlsFront old = front(good, "old");
  EXPECT_THAT(failure(to(old)), testing::AllOf(HasSubstr("tls_failed"), HasSubstr("protocol")));
  TlsFront silent = front(good, "stall");
  EXPECT_THAT(failure(to(silent), "/hello", 100ms),
              HasSubstr("tls_failed: GET " + silent.url() + "/hello cannot be reached over TLS: the handshake was not over in time"));
  EXPECT_THAT(failure({.base_url = "https://127.0.0.1:" + std::to_string(server_->port()), .bearer = {}}),
              HasSubstr("the server does not speak TLS"));
}

TEST_F(ClientTls, BigBodiesGoBothWays) {
  TlsFront tls = front(authority_.issue("DNS:localhost"));
  Client client(to(tls));
  SeededRandom random(5);
  for (std::size_t size : {std::size_t{1}, std::size_t{16} << 10, std::size_t{12} << 20}) {
    Bytes body(size);
    random.fill(body);
    Call call;
    call.method = Method::put;
    call.target = "/echo";
    call.body = body;
    call.timeout = 60s;
    EXPECT_EQ(client.expect(call).body, body) << size;
    Bytes in_pieces;
    call.sink = [&](ByteView piece) { in_pieces.insert(in_pieces.end(), piece.begin(), piece.end()); };
    client.expect(call);
    EXPECT_EQ(in_pieces, body) << size;
  }
  EXPECT_EQ(handled_, 6);
  EXPECT_EQ(tls.line(), "TLSv1.3 http/1.1 localhost");
  EXPECT_EQ(tls.line(0ms), "");
}

TEST_F(ClientTls, TakesAnEarlyRefusalWhileStillSending) {
  TlsFront tls = front(authority_.issue("DNS:localhost"));
  Client client(to(tls));
  Bytes large(12 << 20);
  Call call;
  call.method = Method::put;
  call.target = "/small";
  call.body = large;
  EXPECT_EQ(client.send(call).status, 413);
  EXPECT_EQ(text(client), "hello");
}

// A body that ends with its connection could be cut by anybody on the way: only TLS's goodbye says it is whole.
TEST_F(ClientTls, ABodyThatEndsWithItsConnectionMustEndWithTls) {
  auto to_the_end = [](int fd) { answer_once(fd, "HTTP/1.1 200 OK\r\n\r\nall of it"); };
  ScriptedServer server({to_the_end, to_the_end});
  TlsFront whole({authority_.issue("DNS:localhost")}, server.port()), cut({authority_.issue("DNS:localhost")}, server.port(), "cut");
  Client client(to(whole));
  EXPECT_EQ(text(client), "all of it");
  EXPECT_THAT(failure(to(cut)), testing::AllOf(HasSubstr("connection_lost"), HasSubstr("before TLS did")));
}

TEST_F(ClientTls, AKeptConnectionThatWentStaleIsReplacedOnce) {
  ScriptedServer server({[](int fd) {
                           answer_once(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
                           // Takes the second request and closes without a word.
                           answer_once(fd, "");
                         },
                         [](int fd) { answer_once(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"); }});
  TlsFront tls({authority_.issue("DNS:localhost")}, server.port());
  Client client(to(tls));
  EXPECT_EQ(text(client), "a");
  EXPECT_EQ(text(client), "b");
}

}  // namespace
