#include "rdp/gateway/gateway.hpp"

#include <random>

#include "rdp/gateway/test_peers.hpp"

namespace lucid::gateway {
namespace {

using namespace test;

using GatewayRelay = GatewayTest;
using GatewayDoor = GatewayTest;

TEST_F(GatewayRelay, AdmitsByTokenForwardsTheRequestAsItCameAndReports) {
  auto gateway = make();
  gateway->start();
  auto [client, server] = relay(*gateway);
  EXPECT_EQ(upstream.request, token_request("lucid1.abc", 1));
  ASSERT_EQ(controller.asked.size(), 1u);
  EXPECT_EQ(controller.asked[0].token, "Cookie: msts=lucid1.abc");
  EXPECT_TRUE(controller.asked[0].account.empty());
  EXPECT_TRUE(controller.asked[0].client_address.starts_with("127.0.0.1:"));
  auto opened = controller.reported("opened");
  EXPECT_EQ(opened.connection, controller.asked[0].connection);
  EXPECT_EQ(opened.session, controller.session);
  EXPECT_TRUE(client.send("hello") && server.send("world!"));
  EXPECT_EQ(server.receive(5), "hello");
  EXPECT_EQ(client.receive(6), "world!");
  auto list = gateway->connections();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].bytes_up, 5 + upstream.request.size());
  EXPECT_EQ(list[0].bytes_down, 6 + confirm(1).size());
  client.close();
  EXPECT_TRUE(server.ended());
  server.close();
  auto closed = controller.reported("closed");
  EXPECT_EQ(closed.cause, "client");
  EXPECT_EQ(closed.bytes_up, 5 + upstream.request.size());
  EXPECT_TRUE(gateway->connections().empty());
  EXPECT_TRUE(system_files().list(directory.path() + "/gateway/connections").empty() || gateway->waiting_reports() > 0);
}

TEST_F(GatewayRelay, AdmitsByAccountName) {
  auto gateway = make();
  gateway->start();
  auto [client, server] = relay(*gateway, account_request("lu4x7k2aa", 0x0B));
  EXPECT_EQ(controller.asked[0].account, "lu4x7k2aa");
  EXPECT_TRUE(controller.asked[0].token.empty());
  server.close();
  EXPECT_TRUE(client.ended());
  client.close();
  EXPECT_EQ(controller.reported("closed").cause, "server");
}

TEST_F(GatewayRelay, EveryByteArrivesInBothDirectionsAtOnceUnderRandomSizes) {
  auto gateway = make();
  gateway->start();
  auto [client, server] = relay(*gateway);
  std::string up = noise(12 << 20, 1), down = noise(17 << 20, 2);
  auto send = [](const Peer& to, const std::string& all, unsigned seed) {
    std::mt19937 rng(seed);
    for (std::size_t at = 0; at < all.size();) {
      std::size_t n = std::min<std::size_t>(all.size() - at, 1 + rng() % (rng() % 3 == 0 ? 200'000 : 1'500));
      if (!to.send(std::string_view(all).substr(at, n))) return;
      at += n;
    }
    to.finish_sending();
  };
  auto receive = [](const Peer& from, std::size_t n, unsigned seed) {
    std::mt19937 rng(seed);
    std::string all;
    std::string piece;
    while (all.size() < n && !(piece = from.receive(std::min<std::size_t>(n - all.size(), 1 + rng() % 100'000))).empty()) all += piece;
    return all;
  };
  std::string got_up, got_down;
  std::thread a([&] { send(client, up, 3); }), b([&] { send(server, down, 4); });
  std::thread c([&] { got_up = receive(server, up.size(), 5); }), d([&] { got_down = receive(client, down.size(), 6); });
  for (auto* thread : {&a, &b, &c, &d}) thread->join();
  EXPECT_TRUE(got_up == up);
  EXPECT_TRUE(got_down == down);
  EXPECT_TRUE(client.ended() && server.ended());
}

TEST_F(GatewayRelay, ASlowReaderStopsTheOthersSendingAndLosesNothing) {
  auto gateway = make();
  gateway->start();
  auto [client, server] = relay(*gateway);
  std::string block = noise(1 << 20, 7);
  std::size_t sent = 0;
  // Nobody reads at the client: the server can only fill the kernel's buffers and one pipe.
  for (Steady::time_point quiet = Steady::now(); Steady::now() - quiet < 300ms;) {
    std::size_t n = server.stuff(std::string_view(block).substr(sent % block.size()));
    sent += n;
    if (n > 0) quiet = Steady::now();
    if (n == 0) std::this_thread::yield();
  }
  EXPECT_LT(sent, 64u << 20);
  auto list = gateway->connections();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_LE(list[0].bytes_down, sent + 19);
  std::size_t got = 0;
  bool equal = true;
  while (got < sent) {
    std::string piece = client.receive(std::min<std::size_t>(sent - got, 65'536 - got % 65'536));
    ASSERT_FALSE(piece.empty());
    equal = equal && std::string_view(block).substr(got % block.size(), piece.size()) == piece;
    got += piece.size();
  }
  EXPECT_TRUE(equal);
}

TEST_F(GatewayRelay, OneDirectionMayEndBeforeTheOther) {
  auto gateway = make();
  gateway->start();
  auto [client, server] = relay(*gateway);
  client.send("last words");
  client.finish_sending();
  EXPECT_EQ(server.receive(10), "last words");
  EXPECT_TRUE(server.ended());
  EXPECT_TRUE(server.send("the answer"));
  EXPECT_EQ(client.receive(10), "the answer");
  server.close();
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(controller.reported("closed").cause, "client");
}

TEST_F(GatewayRelay, AHalfClosedConnectionWithoutTrafficEnds) {
  Config config = quick_config();
  config.half_closed_ms = 150;
  auto gateway = make(config);
  gateway->start();
  auto [client, server] = relay(*gateway);
  client.finish_sending();
  EXPECT_TRUE(server.ended());
  EXPECT_EQ(controller.reported("closed").cause, "client");
  EXPECT_TRUE(client.ended());
}

TEST_F(GatewayRelay, AFrozenConnectionPassesNothingEitherWayUntilItResumes) {
  auto gateway = make();
  gateway->start();
  auto [client, server] = relay(*gateway);
  Id id = gateway->connections().at(0).id;
  gateway->freeze(id);
  EXPECT_TRUE(gateway->connections().at(0).frozen);
  client.send("up");
  server.send("down");
  EXPECT_FALSE(server.readable(150ms));
  EXPECT_FALSE(client.readable(50ms));
  gateway->resume(id);
  EXPECT_EQ(server.receive(2), "up");
  EXPECT_EQ(client.receive(4), "down");
  gateway->freeze(id);
  client.close();
  EXPECT_TRUE(server.ended());
  EXPECT_EQ(controller.reported("closed").cause, "client");
  EXPECT_THROW(gateway->resume(id), Error);
}

TEST_F(GatewayRelay, AKillClosesBothSocketsBeforeItAnswersAndWithin200Milliseconds) {
  auto gateway = make();
  gateway->start();
  auto [client, server] = relay(*gateway);
  std::string block = noise(1 << 20, 8);
  while (server.stuff(block) > 0) {}  // the worst case: every buffer is full
  Id id = gateway->connections().at(0).id;
  auto before = Steady::now();
  gateway->kill(id, "policy");
  EXPECT_LT(Steady::now() - before, 200ms);
  EXPECT_TRUE(server.readable(0ms));
  EXPECT_FALSE(server.send(block));
  EXPECT_TRUE(gateway->connections().empty());
  EXPECT_EQ(controller.reported("closed").cause, "killed");
  try {
    gateway->kill(id, "again");
    FAIL();
  } catch (const Error& e) { EXPECT_EQ(e.code(), "connection_not_found"); }
}

TEST_F(GatewayRelay, AReconnectEndsTheConnectionItReplaces) {
  auto gateway = make();
  gateway->start();
  auto [old_client, old_server] = relay(*gateway);
  controller.replaces = gateway->connections().at(0).id;
  auto [client, server] = relay(*gateway);
  EXPECT_TRUE(old_client.ended() && old_server.ended());
  EXPECT_TRUE(client.send("x"));
  EXPECT_EQ(server.receive(1), "x");
}

TEST_F(GatewayDoor, ASlowHandshakeIsClosedAtItsDeadline) {
  auto gateway = make();
  gateway->start();
  Peer silent = Peer::connect(gateway->port()), slow = Peer::connect(gateway->port());
  auto before = Steady::now();
  slow.send(bytes({3, 0}));
  EXPECT_TRUE(slow.ended(2s));
  EXPECT_TRUE(silent.ended(2s));
  EXPECT_GE(Steady::now() - before, 250ms);
  EXPECT_LT(Steady::now() - before, 1'500ms);
  EXPECT_TRUE(controller.asked.empty());
  EXPECT_EQ(counted("lucid_gateway_refused_total{reason=\"handshake_timeout\"}"), 1);
}

TEST_F(GatewayDoor, GarbageHugeAndTlsFirstPacketsAreClosedWithoutAnAnswer) {
  auto gateway = make();
  gateway->start();
  for (const std::string& start :
       {bytes({0x16, 3, 1, 2, 0}), std::string("GET / HTTP/1.1\r\n\r\n"), bytes({3, 0, 0xFF, 0xFF}) + noise(4'000, 9),
        tpdu(0xF0, "xxxxxxxx"), tpdu(0xE0, "Cookie: nonsense\r\n"), bytes({3, 0, 0, 20}) + noise(16, 10)}) {
    Peer client = Peer::connect(gateway->port());
    client.send(start);
    EXPECT_TRUE(client.ended(2s)) << to_hex(as_bytes(start.substr(0, 20)));
  }
  EXPECT_TRUE(controller.asked.empty());
  EXPECT_EQ(counted("lucid_gateway_refused_total{reason=\"malformed\"}"), 6);
}

TEST_F(GatewayDoor, InsistsOnTlsFromBothSides) {
  auto gateway = make();
  gateway->start();
  Peer plain = Peer::connect(gateway->port());
  plain.send(account_request("bob", 0));
  EXPECT_EQ(plain.packet(), failure(1));
  EXPECT_TRUE(plain.ended());
  Peer old = Peer::connect(gateway->port());
  old.send(tpdu(0xE0, "Cookie: mstshash=bob\r\n"));
  EXPECT_TRUE(old.ended());  // it would not understand a failure
  EXPECT_TRUE(controller.asked.empty());

  for (const std::string& answer : {confirm(0), tpdu(0xD0, ""), confirm(2), confirm(3), std::string("HTTP/1.1 400 Bad Request")}) {
    Upstream odd(answer);
    FakeController to_odd(odd.port);
    Gateway other(quick_config(), to_odd.edge(), directory.path() + "/other", {clock, random, system_files(), metrics});
    other.start();
    Peer client = Peer::connect(other.port());
    client.send(token_request("t", 1));  // offers TLS alone
    EXPECT_EQ(client.packet(), failure(3)) << to_hex(as_bytes(answer));
    EXPECT_TRUE(client.ended());
    EXPECT_EQ(to_odd.reported("closed").cause, "negotiation");
  }
  Upstream refusing(failure(5));
  FakeController to_refusing(refusing.port);
  Gateway other(quick_config(), to_refusing.edge(), directory.path() + "/other", {clock, random, system_files(), metrics});
  other.start();
  Peer client = Peer::connect(other.port());
  client.send(token_request("t", 1));
  EXPECT_EQ(client.packet(), failure(5));  // the xrdp's own reason
  EXPECT_TRUE(client.ended());
}

TEST_F(GatewayDoor, TheControllersRefusalsBecomeNegotiationFailures) {
  auto gateway = make();
  gateway->start();
  struct Case {
    ErrorKind kind;
    int code;
  };
  for (Case c :
       {Case{ErrorKind::forbidden, 6}, Case{ErrorKind::rate_limited, 4}, Case{ErrorKind::unavailable, 3}, Case{ErrorKind::internal, 3}}) {
    controller.judge([c](const auto&) { throw Error(c.kind, "no"); });
    Peer client = Peer::connect(gateway->port());
    client.send(token_request("t"));
    EXPECT_EQ(client.packet(), failure(c.code));
    EXPECT_TRUE(client.ended());
  }
  Peer nameless = Peer::connect(gateway->port());
  nameless.send(tpdu(0xE0, negotiation(3)));
  EXPECT_EQ(nameless.packet(), failure(6));
}

TEST_F(GatewayDoor, AControllerThatHangsAndAnXrdpThatIsSilentOrGoneEndInTime) {
  Config config = quick_config();
  config.admission_timeout_ms = 200;
  config.upstream_timeout_ms = 200;
  auto gateway = make(config);
  gateway->start();
  std::promise<void> let_go;
  controller.judge([wait = let_go.get_future().share()](const auto&) { wait.wait(); });
  Peer client = Peer::connect(gateway->port());
  client.send(token_request("t"));
  EXPECT_EQ(client.packet(), failure(3));
  let_go.set_value();
  EXPECT_EQ(controller.reported("closed").cause, "timeout");  // it was admitted after all

  Upstream silent("");
  FakeController to_silent(silent.port);
  Gateway other(config, to_silent.edge(), directory.path() + "/other", {clock, random, system_files(), metrics});
  other.start();
  Peer waiting = Peer::connect(other.port());
  waiting.send(token_request("t"));
  EXPECT_EQ(waiting.packet(), failure(3));

  FakeController to_nothing(1);
  Gateway third(config, to_nothing.edge(), directory.path() + "/third", {clock, random, system_files(), metrics});
  third.start();
  Peer refused = Peer::connect(third.port());
  refused.send(token_request("t"));
  EXPECT_EQ(refused.packet(), failure(3));
}

TEST_F(GatewayDoor, AddressesAreBannedAfterFailuresButNotBecauseTheControllerIsAway) {
  Config config = quick_config();
  config.guard = {.ban_after = 3};
  auto gateway = make(config);
  gateway->start();
  auto attempt = [&](ErrorKind kind) {
    controller.judge([kind](const auto&) { throw Error(kind, "no"); });
    Peer client = Peer::connect(gateway->port());
    client.send(token_request("t"));
    bool answered = !client.packet().empty();
    return answered;
  };
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(attempt(ErrorKind::unavailable));
  EXPECT_TRUE(gateway->bans().empty());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(attempt(ErrorKind::forbidden));
  ASSERT_EQ(gateway->bans().size(), 1u);
  EXPECT_EQ(gateway->bans()[0].address, "127.0.0.1");
  EXPECT_EQ(counted("lucid_gateway_banned_addresses"), 1) << "as of now, whoever asks";
  EXPECT_FALSE(attempt(ErrorKind::unavailable));
  EXPECT_TRUE(gateway->lift_ban("127.0.0.1"));
  EXPECT_EQ(counted("lucid_gateway_banned_addresses"), 0);
  EXPECT_TRUE(attempt(ErrorKind::unavailable));
  EXPECT_EQ(counted("lucid_gateway_bans_total"), 1);
}

TEST_F(GatewayDoor, NoMoreConnectionsThanSetAndNoneWhileDraining) {
  Config config = quick_config();
  config.max_connections = 1;
  auto gateway = make(config);
  gateway->start();
  auto [client, server] = relay(*gateway);
  Peer second = Peer::connect(gateway->port());
  second.send(token_request("t"));
  EXPECT_TRUE(second.ended());
  gateway->drain();
  gateway->connections();  // behind the drain in the same queue
  EXPECT_FALSE(Peer::connect(gateway->port()));
  client.send("still here");
  EXPECT_EQ(server.receive(10), "still here");
}

TEST_F(GatewayDoor, APortThatIsTakenIsNamed) {
  Config config = quick_config();
  config.port = upstream.port;
  auto gateway = make(config);
  try {
    gateway->start();
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "address_in_use");
    EXPECT_NE(std::string(e.what()).find(std::to_string(upstream.port)), std::string::npos);
  }
}

TEST_F(GatewayDoor, ReportsWaitForAControllerThatIsAwayAndEndsNobodyToldAreToldByTheNextStart) {
  {
    auto gateway = make();
    gateway->start();
    auto [client, server] = relay(*gateway);
    controller.reported("opened");
    controller.away(true);
    client.close();
    EXPECT_TRUE(server.ended());
    server.close();
    // Still known to be told when this gateway ends.
  }
  EXPECT_EQ(system_files().list(directory.path() + "/gateway/connections").size(), 1u);
  controller.away(false);
  auto next = make();
  next->start();
  auto closed = controller.reported("closed");
  EXPECT_EQ(closed.connection, controller.asked[0].connection);
  EXPECT_EQ(closed.session, controller.session);
  next->flush_reports(5s);
  EXPECT_TRUE(system_files().list(directory.path() + "/gateway/connections").empty());

  controller.away(true);
  auto [client, server] = relay(*next);
  client.close();
  EXPECT_TRUE(server.ended());
  server.close();
  EXPECT_GE(counted("lucid_gateway_waiting_reports"), 1);
  controller.away(false);
  EXPECT_EQ(controller.reported("closed", 1).cause, "client");
  next->flush_reports(5s);
  EXPECT_EQ(counted("lucid_gateway_waiting_reports"), 0);
}

}  // namespace
}  // namespace lucid::gateway
