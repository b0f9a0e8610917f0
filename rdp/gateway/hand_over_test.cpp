#include <fstream>

#include <sys/stat.h>
#include <sys/un.h>

#include "rdp/gateway/test_peers.hpp"

namespace lucid::gateway {
namespace {

using namespace test;

class HandOver : public GatewayTest {
 protected:
  std::string door() const { return directory.path() + "/gateway/handoff.sock"; }
  std::promise<void> handed_over;
  std::unique_ptr<Gateway> offering(Config config = quick_config()) {
    auto gateway = make(config);
    gateway->start();
    gateway->offer_hand_over([this] { handed_over.set_value(); });
    return gateway;
  }
};

std::size_t open_files() {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& name : system_files().list("/proc/self/fd")) ++n;
  return n;
}

TEST_F(HandOver, ALiveTransferGoesOnInTheSuccessorWithoutALostByte) {
  auto first = offering();
  auto [client, server] = relay(*first);
  std::uint16_t port = first->port();
  Id id = first->connections().at(0).id;
  std::string up = noise(24 << 20, 1), down = noise(24 << 20, 2);
  std::string got_up, got_down;
  std::thread a([&, c = &client] { c->send(up), c->finish_sending(); }), b([&, s = &server] { s->send(down), s->finish_sending(); });
  std::atomic<std::size_t> progress = 0;
  std::thread c([&, s = &server] {
    for (std::string piece; !(piece = s->receive(30'000)).empty(); progress = got_up.size()) got_up += piece;
  });
  std::thread d([&, c = &client] {
    for (std::string piece; !(piece = c->receive(50'000)).empty();) got_down += piece;
  });
  while (progress < 4u << 20) std::this_thread::yield();
  auto second = make();
  second->start();
  ASSERT_EQ(handed_over.get_future().wait_for(5s), std::future_status::ready);
  EXPECT_TRUE(first->connections().empty());
  EXPECT_EQ(second->port(), port);
  auto taken = second->connections();
  if (!taken.empty()) {
    EXPECT_EQ(taken[0].id, id);
    EXPECT_EQ(taken[0].session, controller.session);
    EXPECT_GT(taken[0].bytes_up, 4u << 20);
  }
  first.reset();
  for (auto* thread : {&a, &b, &c, &d}) thread->join();
  EXPECT_TRUE(got_up == up);
  EXPECT_TRUE(got_down == down);
  auto closed = controller.reported("closed");
  EXPECT_EQ(closed.connection, id);
  EXPECT_EQ(closed.bytes_up, up.size() + token_request("lucid1.abc", 1).size());
  EXPECT_EQ(closed.bytes_down, down.size() + confirm(1).size());
}

TEST_F(HandOver, FrozenRelaysHalfReadHandshakesAndBytesInPipesComeAlong) {
  Config config = quick_config();
  config.handshake_timeout_ms = 5'000;
  auto first = offering(config);
  auto [client, server] = relay(*first);
  // Bytes that stand in the pipe and both kernels' buffers, because the client does not read.
  std::string block = noise(1 << 20, 3);
  std::size_t sent = 0;
  for (Steady::time_point quiet = Steady::now(); Steady::now() - quiet < 200ms;) {
    std::size_t n = server.stuff(std::string_view(block).substr(sent % block.size()));
    sent += n;
    if (n > 0) quiet = Steady::now();
  }
  auto [cold_client, cold_server] = relay(*first);
  auto list = first->connections();
  first->freeze(list.at(0).id);  // the newest
  cold_client.send("frozen");
  Peer half = Peer::connect(first->port());
  std::string request = token_request("lucid1.half", 1);
  half.send(request.substr(0, 20));
  first->connections();

  auto second = make(config);
  second->start();
  first.reset();
  EXPECT_EQ(second->connections().size(), 2u);
  EXPECT_TRUE(second->connections().at(0).frozen);
  EXPECT_FALSE(cold_server.readable(100ms));
  second->resume(list.at(0).id);
  EXPECT_EQ(cold_server.receive(6), "frozen");
  half.send(request.substr(20));
  Peer half_server = upstream.next();
  EXPECT_EQ(upstream.request, request);
  EXPECT_EQ(half.packet(), confirm(1));
  bool equal = true;
  for (std::size_t got = 0; got < sent;) {
    std::string piece = client.receive(std::min<std::size_t>(sent - got, 65'536 - got % 65'536));
    ASSERT_FALSE(piece.empty());
    equal = equal && std::string_view(block).substr(got % block.size(), piece.size()) == piece;
    got += piece.size();
  }
  EXPECT_TRUE(equal);
}

TEST_F(HandOver, ClientsThatConnectMeanwhileAreServedAndReportsAndBansComeAlong) {
  Config config = quick_config();
  config.guard = {.connections_per_second = 1'000, .burst = 1'000, .ban_after = 1, .ban_ms = 600'000};
  auto first = offering(config);
  controller.away(true);
  auto [client, server] = relay(*first);
  EXPECT_EQ(first->connections().size(), 1u);  // the turn in which it was reported is over
  EXPECT_GE(first->waiting_reports(), 1u);
  Peer bad = Peer::connect(first->port());
  bad.send("garbage");
  EXPECT_TRUE(bad.ended());
  auto second = make(config);
  second->start();
  first.reset();
  EXPECT_EQ(second->bans().size(), 1u);
  EXPECT_TRUE(second->lift_ban("127.0.0.1"));
  controller.away(false);
  EXPECT_EQ(controller.reported("opened").connection, controller.asked[0].connection);
  auto [late_client, late_server] = relay(*second);
  EXPECT_TRUE(late_client.send("x"));
  EXPECT_EQ(late_server.receive(1), "x");
}

TEST_F(HandOver, AGatewayThatIsNotTakenFromGoesOn) {
  auto first = offering();
  auto [client, server] = relay(*first);
  {
    // A successor that dies having received everything.
    auto socket = connect_to_predecessor(door());
    ASSERT_TRUE(socket);
    send_message(*socket, {{"type", "hand_over"}, {"version", kHandOverVersion}});
    Handed handed = receive_handed(*socket);
    EXPECT_EQ(handed.links.size(), 1u);
    EXPECT_THROW(first->kill(handed.links[0].id, "x"), Error);  // 503 while it stands still
    EXPECT_TRUE(client.send("after all"));
    EXPECT_FALSE(server.readable(50ms));
  }
  EXPECT_EQ(server.receive(9), "after all");
  auto [other_client, other_server] = relay(*first);
  EXPECT_TRUE(other_server.send("y"));
  EXPECT_EQ(other_client.receive(1), "y");
  {
    auto socket = connect_to_predecessor(door());
    ASSERT_TRUE(socket);
    send_message(*socket, {{"type", "hand_over"}, {"version", 999}});
    EXPECT_THROW(receive_message(*socket), Error);
  }
  EXPECT_EQ(first->connections().size(), 2u);
}

TEST_F(HandOver, TheDoorIsPrivateAndLeavesNothingBehind) {
  std::size_t before = open_files();
  {
    auto first = offering();
    struct stat info{};
    ASSERT_EQ(::stat(door().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
    auto [client, server] = relay(*first);
  }
  EXPECT_FALSE(system_files().exists(door()));
  EXPECT_EQ(open_files(), before);
  // What a kill leaves is no obstacle.
  { File left = listen_for_successor(door()); }
  EXPECT_TRUE(system_files().exists(door()));
  auto next = offering();
  auto [client, server] = relay(*next);
  EXPECT_TRUE(client.send("x"));
  EXPECT_EQ(server.receive(1), "x");
}

}  // namespace
}  // namespace lucid::gateway
