// The routes, over a real server where it matters who may call them.
#include <thread>

#include "lib/contracts/pipeline.hpp"
#include "lib/evidence/tree.hpp"
#include "lib/net/server.hpp"
#include "node/management/hosting.hpp"
#include "node/management/test_world.hpp"

using namespace lucid;
using namespace lucid::node_management;
using net::Method;

namespace {

std::vector<std::string> pointers(const json::value& problem) {
  std::vector<std::string> out;
  if (problem.is_object())
    if (const json::value* errors = problem.as_object().if_contains("errors"))
      for (const json::value& e : errors->as_array()) out.emplace_back(e.at("pointer").as_string());
  std::sort(out.begin(), out.end());
  return out;
}

// A server that knows one service token.
struct Served {
  World& w;
  net::Server server;
  std::string url;
  explicit Served(World& world)
      : w(world),
        server(
            {}, routes(*world.m),
            [](const net::Request& r) -> std::optional<std::string> {
              if (r.headers.get("Authorization") == "Bearer good") return "service:test";
              return std::nullopt;
            },
            [](const net::RequestRecord&) {}) {
    server.start();
    url = "http://127.0.0.1:" + std::to_string(server.port());
  }
  ~Served() {
    w.m->stop();
    server.stop(std::chrono::milliseconds(500));
  }
  std::shared_ptr<net::Client> client(bool token) {
    return std::make_shared<net::Client>(
        net::ClientConfig{.base_url = url, .bearer = [token] { return std::string(token ? "good" : ""); }});
  }
};

json::value signed_call(net::Client& client, TestNode& n, Method method, const std::string& target, const json::value& body) {
  std::string text = body.is_null() ? "" : json::serialize(body);
  net::Call call{
      .method = method, .target = target, .headers = {}, .body = as_bytes(text), .content_type = body.is_null() ? "" : "application/json"};
  call.headers.set(contracts::kNodeHeader, n.sign(net::name(method), target, as_bytes(text)));
  auto answer = client.expect(call);
  if (answer.body.empty()) return nullptr;
  auto value = parse_json(as_text(answer.body));
  return value ? *value : json::value(nullptr);
}

}  // namespace

TEST(NodeHttp, ANodeJoinsBeatsAnswersAndFetchesWithoutAServiceToken) {
  World w;
  Served served(w);
  auto service = served.client(true), outside = served.client(false);
  auto invitation = service->send_json(Method::post, "/api/v1/invitations", json::object{{"uses", 1}});
  TestNode n = w.fresh();
  contracts::NodeRegistration r{std::string(invitation.at("invitation").as_string()),
                                n.key.verify_key(),
                                "node-1",
                                contracts::NodeType::worker,
                                {4'000, 8'192, 8, 0},
                                {"xfce"}};
  auto made = outside->send_json(Method::post, "/api/v1/nodes", contracts::to_json(r));
  n.id = *Id::parse(made.at("id").as_string());
  auto challenge = from_base64url(made.at("challenge").as_string());
  ASSERT_TRUE(challenge);
  ASSERT_EQ(challenge->size(), 32u);
  std::array<std::uint8_t, 32> bytes{};
  std::copy(challenge->begin(), challenge->end(), bytes.begin());
  std::string path = "/api/v1/nodes/" + n.id.text();
  auto status = contracts::read_node_status(
      outside->send_json(Method::post, path + "/activate", json::object{{"signature", to_base64url(w.answer(n, bytes))}}));
  EXPECT_EQ(status.state, State::active);
  w.desk.work.push_back({w.id(), contracts::NodeWork::Kind::hold, w.id(), 7, 0, 0, {}, 0, 1'000});
  auto reply = contracts::read_beat_reply(signed_call(*outside, n, Method::post, path + "/heartbeat", contracts::to_json(n.load)));
  EXPECT_EQ(reply.next_beat_ms, 1'000);
  EXPECT_EQ(reply.work.size(), 1u);
  contracts::WorkAnswer answer{reply.work[0].id, {1}, {}};
  EXPECT_EQ(signed_call(*outside, n, Method::post, path + "/answers", contracts::to_json(answer)).at("passed"), true);
  std::string chunk = path + "/chunks/" + reply.work[0].session.text() + "/7";
  net::Call fetch{.method = Method::get, .target = chunk, .headers = {}, .body = {}, .content_type = ""};
  fetch.headers.set(contracts::kNodeHeader, n.sign("GET", chunk, {}));
  EXPECT_EQ(outside->expect(fetch).body, (Bytes{1, 2, 3}));
  EXPECT_EQ(code_of([&] { outside->expect(fetch); }), "beat_replayed") << "each request is signed anew";
  EXPECT_EQ(code_of([&] { signed_call(*outside, n, Method::get, path + "/chunks/" + reply.work[0].session.text() + "/8", nullptr); }),
            "chunk_not_asked");
  EXPECT_EQ(code_of([&] { signed_call(*outside, n, Method::post, path + "/heartbeat?x=1", contracts::to_json(n.load)); }),
            "signature_invalid");
  EXPECT_EQ(code_of([&] { outside->send_json(Method::post, path + "/heartbeat", contracts::to_json(n.load)); }), "signature_invalid");
  // A node signs for itself only, and a service token signs for nobody.
  auto other = w.join("node-2");
  EXPECT_EQ(code_of([&] { signed_call(*outside, other, Method::post, path + "/heartbeat", contracts::to_json(n.load)); }),
            "signature_invalid");
  EXPECT_EQ(code_of([&] { service->send_json(Method::post, path + "/heartbeat", contracts::to_json(n.load)); }), "signature_invalid");
  // What is not for nodes is for services.
  for (const char* target : {"/api/v1/nodes", "/api/v1/pools", "/api/v1/events", "/api/v1/poot/scores", "/api/v1/poot/checkpoint"})
    EXPECT_EQ(code_of([&] { outside->get_json(target); }), "unauthorized") << target;
  EXPECT_EQ(code_of([&] { outside->send_json(Method::post, path + "/ban", json::object{}); }), "unauthorized");
  EXPECT_EQ(code_of([&] { outside->send_json(Method::post, "/api/v1/invitations", json::object{}); }), "unauthorized");
}

TEST(NodeHttp, TheControllersClientPlacesListensAndReleases) {
  World w;
  Served served(w);
  contracts::NodesClient client(served.client(true));
  Id session = w.id();
  EXPECT_EQ(client.place({.session = session}), std::nullopt) << "the deployment runs on this machine alone";
  auto a = w.join("node-a");
  auto placed = client.place({.session = session});
  ASSERT_TRUE(placed);
  EXPECT_EQ(placed->node, a.id);
  EXPECT_EQ(client.nodes().at(0).sessions, std::vector<Id>{session});
  std::uint64_t mark = client.events(0, 0).next;
  std::thread kill([&] { w.registry().act(a.id, Trigger::ban, "it lied"); });
  auto events = client.events(mark, 20'000);
  kill.join();
  ASSERT_EQ(events.events.size(), 1u);
  EXPECT_EQ(events.events[0].sessions, std::vector<Id>{session});
  EXPECT_EQ(events.events[0].cause, "it lied");
  client.release(session);
  client.release(session);
  EXPECT_TRUE(client.nodes().at(0).sessions.empty());
  EXPECT_EQ(code_of([&] { client.place({.session = session}); }), "no_node");
  for (int i = 0; i < 103; ++i) w.join("more-" + std::to_string(i));
  EXPECT_EQ(client.nodes().size(), 104u) << "page by page";
}

TEST(NodeHttp, EveryWrongFieldIsNamed) {
  World w;
  auto a = w.join("node-a");
  std::string path = "/api/v1/nodes/" + a.id.text();
  auto bad = w.call(Method::post, "/api/v1/nodes",
                    json::object{{"invitation", ""}, {"key", "x"}, {"name", "a"}, {"type", "x"}, {"capacity", json::object{}}, {"x", 1}});
  EXPECT_EQ(bad.status, 422);
  EXPECT_EQ(pointers(bad.body), (std::vector<std::string>{"/capacity/cpu_millicores", "/capacity/memory_mb", "/capacity/session_slots",
                                                          "/capacity/storage_bytes", "/invitation", "/key", "/name", "/type", "/x"}));
  EXPECT_EQ(pointers(w.call(Method::post, path + "/heartbeat", json::object{{"cpu_millicores_free", -1}, {"load", 1}}, &a).body),
            (std::vector<std::string>{"/cpu_millicores_free", "/load", "/memory_mb_free"}));
  EXPECT_EQ(pointers(w.call(Method::post, path + "/answers", json::object{{"work_id", "x"}, {"digest", "zz"}}, &a).body),
            (std::vector<std::string>{"/digest", "/work_id"}));
  EXPECT_EQ(pointers(w.call(Method::post, "/api/v1/invitations", json::object{{"uses", 0}, {"valid_seconds", 86'401}}).body),
            (std::vector<std::string>{"/uses", "/valid_seconds"}));
  EXPECT_EQ(pointers(w.call(Method::post, "/api/v1/pools",
                            json::object{{"name", "a b c"}, {"policy", "x"}, {"min_members", 9}, {"max_members", 2}})
                         .body),
            (std::vector<std::string>{"/min_members", "/name", "/policy"}));
  EXPECT_EQ(pointers(w.call(Method::post, "/api/v1/pools", json::object{{"name", "pool"}, {"max_members", 1'001}}).body),
            (std::vector<std::string>{"/max_members"}));
  EXPECT_EQ(pointers(w.call(Method::post, "/api/v1/placements", json::object{{"session_id", "x"}, {"memory_mb", 0}}).body),
            (std::vector<std::string>{"/memory_mb", "/session_id"}));
  EXPECT_EQ(pointers(w.call(Method::post, path + "/activate", json::object{{"signature", std::string(86, '!')}}).body),
            (std::vector<std::string>{"/signature"}));
  EXPECT_EQ(pointers(w.call(Method::post, path + "/drain", json::object{{"cause", ""}, {"x", 1}}).body),
            (std::vector<std::string>{"/cause", "/x"}));
  for (const char* target : {"/api/v1/nodes?state=dead", "/api/v1/nodes?limit=0", "/api/v1/nodes?pool=x", "/api/v1/nodes?cursor=x",
                             "/api/v1/events?wait_ms=25001", "/api/v1/poot/receipts?node=x", "/api/v1/poot/scores?epoch=x"})
    EXPECT_EQ(w.call(Method::get, target).status, 422) << target;
  EXPECT_EQ(w.call(Method::get, "/api/v1/nodes/nonsense").code(), "node_not_found");
  EXPECT_EQ(w.call(Method::get, "/api/v1/pools/nonsense").code(), "pool_not_found");
  EXPECT_EQ(w.call(Method::del, "/api/v1/placements/nonsense").status, 404);
}

TEST(NodeHttp, NodesAreListedFilteredAndMoved) {
  World w;
  std::vector<TestNode> nodes;
  for (int i = 0; i < 5; ++i) {
    nodes.push_back(w.join("node-" + std::to_string(i)));
    w.clock.advance(1);
  }
  auto pool = w.call(Method::post, "/api/v1/pools", json::object{{"name", "rack-1"}});
  EXPECT_EQ(pool.status, 201);
  EXPECT_EQ(pool.body.at("max_members"), 100);
  EXPECT_EQ(pool.body.at("min_members"), 3);
  EXPECT_EQ(pool.body.at("state"), "degraded");
  std::string pool_path = "/api/v1/pools/" + std::string(pool.body.at("id").as_string());
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(w.call(Method::put, pool_path + "/members/" + nodes[static_cast<std::size_t>(i)].id.text()).status, 204);
  EXPECT_EQ(w.call(Method::get, pool_path).body.at("state"), "active");
  EXPECT_EQ(w.call(Method::get, "/api/v1/nodes?pool=" + std::string(pool.body.at("id").as_string())).body.at("nodes").as_array().size(),
            3u);
  std::string path = "/api/v1/nodes/" + nodes[1].id.text();
  EXPECT_EQ(w.call(Method::post, path + "/drain", json::object{{"cause", "update"}}).body.at("cause"), "update");
  EXPECT_EQ(w.call(Method::post, path + "/drain").code(), "illegal_transition");
  EXPECT_EQ(w.call(Method::get, pool_path).body.at("state"), "degraded");
  EXPECT_EQ(w.call(Method::post, path + "/resume").body.at("state"), "active");
  EXPECT_EQ(w.call(Method::post, path + "/maintenance").body.at("state"), "maintenance");
  EXPECT_EQ(w.call(Method::get, "/api/v1/nodes?state=maintenance").body.at("nodes").as_array().size(), 1u);
  auto first = w.call(Method::get, "/api/v1/nodes?limit=2");
  EXPECT_EQ(first.body.at("nodes").at(0).at("name"), "node-4") << "newest first";
  auto second = w.call(Method::get, "/api/v1/nodes?limit=3&cursor=" + std::string(first.body.at("cursor").as_string()));
  EXPECT_EQ(second.body.at("nodes").as_array().size(), 3u);
  EXPECT_EQ(second.body.at("cursor"), "");
  EXPECT_EQ(w.call(Method::post, pool_path + "/place", json::object{{"session_id", w.id().text()}}).status, 200);
  EXPECT_EQ(w.call(Method::get, "/api/v1/pools").body.at("pools").as_array().size(), 1u);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(w.call(Method::del, pool_path + "/members/" + nodes[static_cast<std::size_t>(i)].id.text()).status, 204);
  EXPECT_EQ(w.call(Method::del, pool_path).status, 204);
}

TEST(NodeHttp, ScoresLeadersReceiptsAndTheCheckpointCanBeReadAndChecked) {
  World w;
  auto a = w.join("node-a");
  EXPECT_EQ(w.call(Method::get, "/api/v1/poot/checkpoint").code(), "epoch_not_found");
  w.clock.advance(poot::begins_wall_ms(1'001) + kCloseDelayMs - w.clock.wall_ms());
  w.m->tend_epochs();
  auto checkpoint = w.call(Method::get, "/api/v1/poot/checkpoint");
  EXPECT_EQ(checkpoint.body.at("epoch"), 1'000);
  EXPECT_TRUE(std::string(checkpoint.body.at("verifier_key").as_string()).starts_with("lucid/test/poot/1000+"));
  auto receipts = w.call(Method::get, "/api/v1/poot/receipts?epoch=1000&node=" + a.id.text());
  const json::value& r = receipts.body.at("receipts").at(0);
  EXPECT_EQ(r.at("kind"), "uptime");
  evidence::Proof proof;
  for (const json::value& h : r.at("proof").as_array()) {
    Hash32 hash{};
    auto bytes = *from_hex(h.as_string());
    std::copy(bytes.begin(), bytes.end(), hash.begin());
    proof.push_back(hash);
  }
  Hash32 root{};
  auto root_bytes = *from_hex(checkpoint.body.at("root").as_string());
  std::copy(root_bytes.begin(), root_bytes.end(), root.begin());
  EXPECT_TRUE(evidence::verify_inclusion(r.at("index").to_number<std::uint64_t>(), checkpoint.body.at("size").to_number<std::uint64_t>(),
                                         evidence::leaf_hash(*from_hex(r.at("receipt").as_string())), proof, root));
  EXPECT_EQ(w.call(Method::get, "/api/v1/poot/scores?epoch=1000").body.at("scores").at(0).at("slots_up"), 1);
  EXPECT_EQ(w.call(Method::get, "/api/v1/poot/scores?epoch=1001").code(), "epoch_not_found");
  auto leader = w.call(Method::get, "/api/v1/poot/leaders?slot=" + std::to_string(poot::first_slot(1'000)));
  EXPECT_EQ(leader.body.at("reason"), "missed_no_node");
  EXPECT_EQ(leader.body.at("final"), true);
  EXPECT_EQ(w.call(Method::get, "/api/v1/poot/leaders").body.at("final"), false) << "the slot that has just ended";
  EXPECT_EQ(w.call(Method::get, "/api/v1/poot/leaders?slot=9007199254740992").code(), "slot_not_found");
}

TEST(NodeHttp, HostingIsReadFromThePipelinesListPageByPage) {
  World w;
  std::vector<Id> ids;
  for (int i = 0; i < 7; ++i) {
    ids.push_back(w.id());
    w.clock.advance(1);
  }
  int pages = 0;
  net::Router router;
  router.add(Method::get, "/api/v1/recordings", [&](net::Request& r) {
    ++pages;
    std::string cursor = r.query_text("cursor").value_or("");
    int at = 6;
    while (!cursor.empty() && at >= 0 && ids[static_cast<std::size_t>(at)].text() >= cursor) --at;
    json::array list;
    for (int i = 0; i < 2 && at >= 0; ++i, --at) {
      contracts::RecordingStatus s;
      s.session = ids[static_cast<std::size_t>(at)];
      s.committed_bytes = static_cast<std::uint64_t>(at) * 10;
      s.started_wall_ms = at;
      list.push_back(contracts::to_json(s));
    }
    return net::Response::json(200,
                               json::object{{"recordings", list}, {"cursor", at < 0 ? "" : ids[static_cast<std::size_t>(at + 1)].text()}});
  });
  net::Server server({}, std::move(router), [](const net::Request&) { return std::string("x"); }, [](const net::RequestRecord&) {});
  server.start();
  auto measure = hosting_by_pipeline(
      std::make_shared<net::Client>(net::ClientConfig{.base_url = "http://127.0.0.1:" + std::to_string(server.port()), .bearer = {}}));
  auto found = measure({ids[3], ids[6], w.id()});
  EXPECT_EQ(found.size(), 2u);
  EXPECT_EQ(found.at(ids[3]).bytes, 30u);
  EXPECT_EQ(found.at(ids[6]).started_wall_ms, 6);
  EXPECT_EQ(pages, 3) << "nothing older than the oldest that is asked for is fetched";
  server.stop(std::chrono::milliseconds(100));
  EXPECT_EQ(code_of([&] { measure({ids[0]}); }), "unreachable");
}
