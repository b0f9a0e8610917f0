// One request at a time: what is answered, what is refused, and that nothing refused reaches a handler.
#include <poll.h>

#include "lib/net/server_fixture.hpp"

using namespace lucid;
using namespace lucid::net;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

TEST_F(ServerTest, AnswersWithRequestIdAndSecurityHeaders) {
  start(usual());
  std::string answer = get("/hello");
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_EQ(body_of(answer), "hello");
  EXPECT_THAT(answer, HasSubstr("X-Content-Type-Options: nosniff\r\n"));
  EXPECT_THAT(answer, HasSubstr("X-Request-ID: "));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
}

TEST_F(ServerTest, LiteralRouteWinsOverParameter) {
  start(usual());
  EXPECT_EQ(body_of(get("/items/special")), "the special one");
  EXPECT_EQ(body_of(get("/items/other")), "other");
  EXPECT_EQ(body_of(get("/items/a%20%C3%A9")), "a \xC3\xA9");
}

TEST_F(ServerTest, RefusesTargetsThatCouldMeanTwoThings) {
  start(usual());
  for (const char* target :
       {"/items/%zz", "/items/%2", "/items/%00", "/items/%ff", "/items/%c0%af", "/items/..", "/items/%2e%2e", "/items/%2E", "/x/../hello",
        "/./hello", "/items/a%2fb", "/items/a%0d%0a", "*", "hello", "/hello#x", "/hello?q=%", "/hello?q=%ff", "/hello?q=%00"}) {
    std::string answer = get(target);
    EXPECT_EQ(status_of(answer), 400) << target;
    EXPECT_THAT(answer, HasSubstr("application/problem+json")) << target;
  }
  EXPECT_EQ(handled_, 0);
  for (const char* target : {"/hello/", "//hello", "/items/", "/items//", "/Hello", "/items/a/b"})
    EXPECT_EQ(status_of(get(target)), 404) << target;
  EXPECT_EQ(status_of(get("http://other/hello")), 200);
}

TEST_F(ServerTest, UnknownPathAndWrongMethodAreProblems) {
  start(usual());
  std::string missing = get("/nothing/here");
  EXPECT_EQ(status_of(missing), 404);
  auto problem = parse_json(body_of(missing)).value().as_object();
  EXPECT_EQ(problem.at("code").as_string(), "route_not_found");
  EXPECT_EQ(problem.at("status").as_int64(), 404);
  std::string wrong = ask("DELETE /items/7 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(status_of(wrong), 405);
  EXPECT_THAT(wrong, HasSubstr("Allow: GET, HEAD, PUT\r\n"));
  EXPECT_EQ(status_of(ask("BREW /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")), 405);
  EXPECT_EQ(status_of(ask("OPTIONS /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")), 404);
}

TEST_F(ServerTest, HeadAnswersLikeGetWithoutBody) {
  start(usual());
  std::string answer = ask("HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_THAT(answer, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_EQ(body_of(answer), "");
}

TEST_F(ServerTest, MalformedRequestsAre400AndEndTheConnection) {
  start(usual());
  for (const char* request :
       {"nonsense\r\n\r\n", "GET /hello\r\n\r\n", "GET  /hello HTTP/1.1\r\n\r\n", "GET /hello HTTP/9.9\r\nHost: x\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost : x\r\n\r\n", "GET /hello HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n", "GET /hello HTTP/1.1\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "PUT /items/1 HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "PUT /items/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "PUT /items/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "PUT /items/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "PUT /items/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        "PUT /items/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "PUT /items/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"}) {
    RawPeer peer(server_->port());
    peer.send(request);
    std::string answer = peer.read_until("}");
    EXPECT_EQ(status_of(answer), 400) << request;
    EXPECT_THAT(answer, HasSubstr("application/problem+json")) << request;
    EXPECT_THAT(answer, HasSubstr("Connection: close")) << request;
    peer.finish_sending();
    peer.read_all();
    EXPECT_TRUE(peer.ended()) << request;
  }
  EXPECT_EQ(handled_, 0);
}

TEST_F(ServerTest, BoundsHeadAndTarget) {
  start(usual());
  EXPECT_EQ(status_of(get("/hello", "X-Big: " + std::string(17 << 10, 'a') + "\r\n")), 431);
  EXPECT_EQ(status_of(get("/" + std::string(9 << 10, 'a'))), 414);
  EXPECT_EQ(status_of(get("/hello", "X-Big: " + std::string(12 << 10, 'a') + "\r\n")), 200);
}

TEST_F(ServerTest, BodyAboveTheLimitIs413BeforeItIsReceived) {
  start(usual());
  RawPeer peer(server_->port());
  peer.send("PUT /items/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n");
  EXPECT_EQ(status_of(peer.read_until("}")), 413);
  std::string chunked = "PUT /items/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 11; ++i) chunked += "64\r\n" + std::string(100, 'c') + "\r\n";
  EXPECT_EQ(status_of(ask(chunked + "0\r\n\r\n")), 413);
  // Still sending when refused: the answer must survive.
  EXPECT_EQ(status_of(ask("PUT /items/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n" + std::string(4'000'000, 'x'))), 413);
  EXPECT_EQ(handled_, 0);
}

TEST_F(ServerTest, BodiesArriveWholeInBothFramings) {
  start(usual());
  EXPECT_EQ(body_of(ask("PUT /items/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc")), "abc");
  EXPECT_EQ(body_of(ask("PUT /items/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: "
                        "chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n")),
            "abcde");
}

TEST_F(ServerTest, TruncatedBodiesNeverReachTheHandler) {
  start(usual());
  EXPECT_EQ(status_of(ask("PUT /items/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")), 400);
  EXPECT_EQ(status_of(ask("PUT /items/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")), 400);
  ask("PUT /items/1 HTT");
  EXPECT_EQ(handled_, 0);
}

TEST_F(ServerTest, SlowClientsAreCutWith408) {
  start(usual());
  RawPeer head(server_->port());
  head.send("GET /hello HTTP/1.1\r\nHost: x\r\n");
  RawPeer body(server_->port());
  body.send("PUT /items/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab");
  RawPeer silent(server_->port());
  std::string answer = head.read_until("}");
  EXPECT_EQ(status_of(answer), 408);
  EXPECT_EQ(status_of(body.read_until("}")), 408);
  EXPECT_EQ(silent.read_all(), "");
  EXPECT_TRUE(silent.ended());
  EXPECT_EQ(handled_, 0);
}

TEST_F(ServerTest, DrippingAHeadDoesNotExtendItsDeadline) {
  start(usual());
  RawPeer peer(server_->port());
  auto began = std::chrono::steady_clock::now();
  std::string answer;
  for (char c : std::string("GET /hello HTTP/1.1\r\nHost: x\r\nX-Slow: ") + std::string(200, 'a')) {
    peer.send({&c, 1});
    if (wait_for(peer.fd(), POLLIN, std::chrono::steady_clock::now() + 20ms) != 0) break;
  }
  EXPECT_EQ(status_of(peer.read_until("}")), 408);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
}

TEST_F(ServerTest, ExpectContinueIsAnsweredBeforeTheBodyOrRefused) {
  start(usual());
  RawPeer peer(server_->port());
  peer.send("PUT /items/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(peer.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  peer.send("abc");
  EXPECT_EQ(body_of(peer.read_all()), "abc");
  RawPeer large(server_->port());
  large.send("PUT /items/1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n");
  EXPECT_EQ(status_of(large.read_until("}")), 413);
  EXPECT_EQ(status_of(get("/hello", "Expect: tea\r\n")), 417);
}

TEST_F(ServerTest, RefusesWithoutCredentialsBeforeTheBody) {
  start(usual());
  RawPeer peer(server_->port());
  peer.send("PUT /private HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n");
  std::string answer = peer.read_until("}");
  EXPECT_EQ(status_of(answer), 401);
  EXPECT_THAT(answer, HasSubstr("WWW-Authenticate: Bearer"));
  EXPECT_EQ(handled_, 0);
  EXPECT_EQ(status_of(get("/private")), 401);
  EXPECT_EQ(body_of(get("/private", "Authorization: Bearer good\r\n")), "admin");
  EXPECT_EQ(
      body_of(ask("PUT /private HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer good\r\nContent-Length: 1\r\n\r\nx")),
      "admin");
}

TEST_F(ServerTest, ErrorsBecomeProblemsAndFaultsKeepTheirTextForTheLog) {
  start(usual());
  auto conflict = parse_json(body_of(get("/refused"))).value().as_object();
  EXPECT_EQ(conflict.at("code").as_string(), "illegal_transition");
  EXPECT_EQ(conflict.at("errors").as_array()[0].as_object().at("pointer").as_string(), "/a");
  std::string broken = get("/broken");
  EXPECT_EQ(status_of(broken), 500);
  EXPECT_THAT(broken, Not(HasSubstr("hunter2")));
  server_->stop(1s);
  std::vector<Seen> all = seen();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1].status, 500);
  EXPECT_EQ(all[1].error, "password=hunter2");
  EXPECT_EQ(all[1].route, "/broken");
}

TEST_F(ServerTest, PassesOnOnlyWellFormedIds) {
  start(usual());
  std::string parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  EXPECT_EQ(body_of(get("/echo?q=a+b%26", "X-Request-ID: my.id-7\r\ntraceparent: " + parent + "\r\n")), "a b&|my.id-7|" + parent);
  std::string bad = get("/echo", "X-Request-ID: evil id\r\ntraceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01\r\n");
  EXPECT_THAT(bad, Not(HasSubstr("evil id")));
  EXPECT_EQ(body_of(bad).size(), 2 + 36 + 1u);
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  start(usual());
  RawPeer peer(server_->port());
  std::string requests;
  for (int i = 0; i < 50; ++i)
    requests += "GET /items/" + std::to_string(1000 + i) +
                " HTTP/1.1\r\nHost: x\r\n\r\nPUT /items/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n<" + std::to_string(10 + i) + ">";
  requests += "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  peer.send(requests);
  std::string all = peer.read_all();
  std::size_t at = 0;
  for (int i = 0; i < 50; ++i) {
    at = all.find("\r\n\r\n" + std::to_string(1000 + i), at);
    ASSERT_NE(at, std::string::npos) << i;
    at = all.find("\r\n\r\n<" + std::to_string(10 + i) + ">", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
  EXPECT_TRUE(all.ends_with("hello"));
}

TEST_F(ServerTest, Http10ClosesUnlessAskedToStay) {
  start(usual());
  RawPeer peer(server_->port());
  peer.send("GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_THAT(peer.read_all(), HasSubstr("Connection: close"));
  RawPeer staying(server_->port());
  staying.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(staying.read_until("hello"), HasSubstr("Connection: keep-alive"));
}

TEST_F(ServerTest, RefusesConnectionsBeyondTheLimit) {
  ServerConfig config = short_deadlines();
  config.max_connections = 2;
  config.header_timeout = config.idle_timeout = 60s;
  start(usual(), config);
  RawPeer a(server_->port()), b(server_->port());
  for (RawPeer* peer : {&a, &b}) {
    peer->send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(status_of(peer->read_until("hello")), 200);
  }
  RawPeer c(server_->port());
  std::string answer = c.read_all();
  EXPECT_EQ(status_of(answer), 503);
  EXPECT_EQ(body_of(answer).size(), 124u);
  EXPECT_TRUE(parse_json(body_of(answer)));
}

TEST_F(ServerTest, AddressInUseIsNamed) {
  start(usual());
  ServerConfig config;
  config.port = server_->port();
  Server second(config, Router(), {}, {});
  try {
    second.start();
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "address_in_use");
    EXPECT_THAT(e.what(), HasSubstr("127.0.0.1:" + std::to_string(config.port)));
  }
}

TEST_F(ServerTest, HandlerHeadersCannotSplitTheAnswer) {
  Router router;
  router.add(
      Method::get, "/split",
      [](Request&) {
        Response r = Response::text("x");
        r.headers.set("X-Name", "a\r\nSet-Cookie: evil=1");
        r.headers.set("Content-Length", "999");
        return r;
      },
      kOpen);
  start(std::move(router));
  std::string answer = get("/split");
  EXPECT_THAT(answer, Not(HasSubstr("\nSet-Cookie")));
  EXPECT_THAT(answer, HasSubstr("Content-Length: 1\r\n"));
}
