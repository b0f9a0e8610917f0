#include "rdp/gateway/http.hpp"

#include "lib/net/server.hpp"
#include "rdp/gateway/test_peers.hpp"

namespace lucid::gateway {
namespace {

using namespace test;

class GatewayAdmin : public GatewayTest {
 protected:
  void SetUp() override {
    gateway = make();
    gateway->start();
    server = std::make_unique<net::Server>(
        net::ServerConfig{.worker_threads = 2}, routes(*gateway),
        [](const net::Request&) { return std::optional<std::string>("service:test"); }, nullptr);
    server->start();
    http = std::make_shared<net::Client>(net::ClientConfig{.base_url = "http://127.0.0.1:" + std::to_string(server->port())});
  }
  std::unique_ptr<Gateway> gateway;
  std::unique_ptr<net::Server> server;
  std::shared_ptr<net::Client> http;
};

TEST_F(GatewayAdmin, TheContractsClientListsFreezesResumesAndKills) {
  contracts::GatewayClient admin(http);
  EXPECT_TRUE(admin.connections().empty());
  auto pair = relay(*gateway);
  auto list = admin.connections();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].session, controller.session);
  EXPECT_TRUE(list[0].client_address.starts_with("127.0.0.1:"));
  EXPECT_GT(list[0].opened_wall_ms, 1'600'000'000'000);
  admin.freeze(list[0].id);
  pair.client.send("z");
  EXPECT_FALSE(pair.server.readable(100ms));
  EXPECT_TRUE(admin.connections().at(0).frozen);
  admin.resume(list[0].id);
  EXPECT_EQ(pair.server.receive(1), "z");
  auto before = Steady::now();
  admin.kill(list[0].id, "policy");
  EXPECT_LT(Steady::now() - before, 200ms);
  EXPECT_TRUE(pair.client.ended(0ms) && pair.server.ended(0ms));
  EXPECT_THROW(admin.kill(list[0].id, "policy"), Error);
  EXPECT_EQ(http->send({.method = net::Method::post, .target = "/api/v1/connections/nonsense/freeze"}).status, 404);
}

TEST_F(GatewayAdmin, BansAreListedAndLiftedAndDrainingClosesTheDoor) {
  EXPECT_TRUE(http->get_json("/api/v1/bans").at("bans").as_array().empty());
  EXPECT_EQ(http->send({.method = net::Method::del, .target = "/api/v1/bans/192.0.2.1"}).status, 404);
  EXPECT_EQ(http->send({.method = net::Method::post, .target = "/api/v1/drain"}).status, 204);
  gateway->connections();
  EXPECT_FALSE(Peer::connect(gateway->port()));
}

}  // namespace
}  // namespace lucid::gateway
