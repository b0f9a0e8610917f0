// The agent against a service that checks every signature and sequence, over real HTTP on this machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <mutex>

#include <fmt/format.h>

#include "lib/crypto/hash.hpp"
#include "lib/evidence/tree.hpp"
#include "lib/net/server.hpp"
#include "lib/recording/chunk.hpp"
#include "node/agent/agent.hpp"

namespace lucid::node_agent {
namespace {

using contracts::NodeWork;
using net::Method;
using net::Request;
using net::Response;

// What node-management does with nodes, for one node.
class Service {
 public:
  Service() { start(0); }
  ~Service() { stop(); }
  void start(std::uint16_t port) {
    net::Router router;
    router.add(Method::get, "/version",
               [this](Request&) { return Response::json(200, json::object{{"service", name}, {"version", "0"}}); });
    router.add(Method::post, "/api/v1/nodes", [this](Request& r) { return on_registration(r); });
    router.add(Method::post, "/api/v1/nodes/{id}/activate", [this](Request& r) { return on_activation(r); });
    router.add(Method::post, "/api/v1/nodes/{id}/heartbeat", [this](Request& r) { return on_beat(r); });
    router.add(Method::post, "/api/v1/nodes/{id}/answers", [this](Request& r) { return on_answer(r); });
    router.add(Method::get, "/api/v1/nodes/{id}/chunks/{session}/{sequence}", [this](Request& r) { return on_chunk(r); });
    server = std::make_unique<net::Server>(
        net::ServerConfig{.port = port, .worker_threads = 2}, std::move(router), [](const Request&) { return "anyone"; },
        [](const net::RequestRecord&) {});
    server->start();
  }
  void stop() {
    if (server) server->stop(std::chrono::milliseconds(1000));
    server.reset();
  }
  void in_step() { std::lock_guard lock(mutex); }
  std::uint16_t port() const { return server->port(); }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", port()); }

  std::string name = "node-management", invitation = "come-in";
  std::mutex mutex;
  Id id = Id(std::array<std::uint8_t, 16>{9});
  std::optional<crypto::VerifyKey> key;
  bool active = false;
  contracts::NodeState state = contracts::NodeState::active;
  std::uint64_t last = 0;
  int registrations = 0, beats = 0, replays = 0, lose_activations = 0, lose_answers = 0, nonsense = 0;
  std::vector<NodeWork> work;
  std::vector<contracts::WorkAnswer> answers;
  std::map<std::uint64_t, Bytes> chunks;
  contracts::NodeLoad load;

 private:
  Response on_registration(Request& r) {
    auto registration = contracts::read_node_registration(r.json_body());
    std::lock_guard lock(mutex);
    if (registration.invitation != invitation) throw Error(ErrorKind::forbidden, "invitation_invalid", "no");
    ++registrations;
    key = registration.key;
    return Response::json(201, json::object{{"id", id.text()}, {"challenge", to_base64url(Bytes(32, 5))}, {"expires_wall_ms", 1}});
  }
  Response on_activation(Request& r) {
    auto signature = from_base64url(std::string(r.json_body().at("signature").as_string()));
    Bytes text(as_bytes(contracts::kActivation).begin(), as_bytes(contracts::kActivation).end());
    text.insert(text.end(), 32, 5);
    std::lock_guard lock(mutex);
    if (!signature || !key || !key->verify(text, *signature)) throw Error(ErrorKind::unauthorized, "signature_invalid", "no");
    active = true;
    if (lose_activations-- > 0) throw Error(ErrorKind::unavailable, "answer_lost", "the answer is lost");
    return Response::json(200, json::object{});
  }
  void check(Request& r, const std::string& target) {
    auto signature = contracts::parse_node_header(r.headers.get(contracts::kNodeHeader).value_or(""));
    std::lock_guard lock(mutex);
    if (!signature || !key || signature->node != id || !active) throw Error(ErrorKind::unauthorized, "signature_invalid", "no");
    if (!key->verify(as_bytes(contracts::signed_text(net::name(r.method), target, signature->sequence, r.body)), signature->signature))
      throw Error(ErrorKind::unauthorized, "signature_invalid", "no");
    if (signature->sequence <= last) {
      ++replays;
      throw contracts::beat_replayed(last);
    }
    last = signature->sequence;
  }
  Response on_beat(Request& r) {
    check(r, r.path);
    std::lock_guard lock(mutex);
    if (state == contracts::NodeState::banned) throw Error(ErrorKind::conflict, "node_banned", "this node is banned");
    if (nonsense-- > 0) return Response::json(200, json::object{{"state", 5}});
    ++beats;
    load = contracts::read_node_load(r.json_body());
    return Response::json(200, contracts::to_json(contracts::BeatReply{state, 1'000, 4'000, work}));
  }
  Response on_answer(Request& r) {
    check(r, r.path);
    std::lock_guard lock(mutex);
    answers.push_back(contracts::read_work_answer(r.json_body()));
    if (lose_answers-- > 0) throw Error(ErrorKind::unavailable, "answer_lost", "the answer is lost");
    return Response::json(200, json::object{{"passed", true}, {"reason", ""}});
  }
  Response on_chunk(Request& r) {
    check(r, r.path);
    std::lock_guard lock(mutex);
    auto it = chunks.find(std::stoull(r.param("sequence")));
    if (it == chunks.end()) throw Error(ErrorKind::not_found, "chunk_not_asked", "no");
    return Response::bytes(it->second);
  }
  std::unique_ptr<net::Server> server;
};

class NodeAgent : public testing::Test {
 protected:
  NodeAgent() {
    std::string pattern = testing::TempDir() + "/node-agent-XXXXXX";
    directory = ::mkdtemp(pattern.data());
    for (std::uint64_t i = 0; i < 5; ++i)
      service.chunks[i] = recording::ChunkSealer()
                              .seal({.session = session, .sequence = i, .key_epoch = 0, .first_ms = 0, .last_ms = 1, .flags = 0},
                                    Bytes(3'000 + 100 * i, 1), chunk_key, random)
                              .stored;
  }
  ~NodeAgent() override {
    agent.reset();
    std::filesystem::remove_all(directory);
  }
  Agent& start(std::optional<std::string> invitation = "come-in", std::optional<contracts::NodeType> type = contracts::NodeType::storage) {
    agent.reset();
    agent = std::make_unique<Agent>(AgentConfig{service.url(), directory, "n-1", type, invitation ? 1 << 20 : 0u, 4, invitation},
                                    Agent::World{clock, random, system_files(), [this](const std::string& line) {
                                                   std::lock_guard lock(mutex);
                                                   said.push_back(line);
                                                 }});
    return *agent;
  }
  // The service's threads and this one see each other's changes of what `service` shows.
  auto in_step(auto&& does) {
    service.in_step();
    struct After {
      Service& service;
      ~After() { service.in_step(); }
    } after{service};
    return does();
  }
  void join(std::optional<std::string> invitation = "come-in", std::optional<contracts::NodeType> type = contracts::NodeType::storage) {
    in_step([&] { start(std::move(invitation), type).join(); });
  }
  std::chrono::milliseconds beat() {
    return in_step([&] { return agent->beat(); });
  }
  void work_through() {
    in_step([&] {
      agent->beat();
      agent->chores().wait_until_idle();
    });
  }
  std::string refused(auto&& does) {
    try {
      does();
    } catch (const Error& e) { return e.code(); }
    return "";
  }
  NodeWork work(NodeWork::Kind kind, std::uint64_t sequence = 0) {
    NodeWork w;
    w.id = Id::make(clock, random);
    w.kind = kind;
    w.session = session;
    w.sequence = sequence;
    w.deadline_ms = 60'000;
    return w;
  }

  SystemRandom random;
  SystemClock clock;
  crypto::Secret32 chunk_key = crypto::Secret32::random(random);
  Id session = Id::make(clock, random);
  std::string directory;
  Service service;
  std::mutex mutex;
  std::vector<std::string> said;
  std::unique_ptr<Agent> agent;
};

TEST_F(NodeAgent, RegistersOnceAndGoesOnAsTheSameNode) {
  join();
  beat();
  EXPECT_EQ(service.load.memory_mb_free > 0, true);
  Id node = agent->place()->node;
  join(std::nullopt, std::nullopt);  // no invitation any more
  beat();
  EXPECT_EQ(agent->place()->node, node);
  EXPECT_EQ(service.registrations, 1);
  EXPECT_EQ(service.beats, 2);
  EXPECT_EQ(service.replays, 0);
}

TEST_F(NodeAgent, SaysWhatStandsInTheWay) {
  EXPECT_EQ(refused([&] { join("stolen"); }), "invitation_invalid");
  EXPECT_EQ(refused([&] { join(std::nullopt); }), "no_invitation");
  service.name = "session-api";
  EXPECT_EQ(refused([&] { join(); }), "wrong_url");
  service.name = "node-management";
  join();
  EXPECT_EQ(refused([&] { join("come-in", contracts::NodeType::validator); }), "other_node");
  join();
  service.state = contracts::NodeState::banned;
  EXPECT_EQ(refused([&] { beat(); }), "node_banned");
}

TEST_F(NodeAgent, TwoProcessesCannotBeOneNode) {
  join();
  EXPECT_EQ(refused([&] {
              Agent second({service.url(), directory, "n-1", contracts::NodeType::storage, 0, 0, "come-in"},
                           {clock, random, system_files(), [](const auto&) {}});
            }),
            "already_running");
}

TEST_F(NodeAgent, GoesOnWhenTheAnswerToItsActivationWasLost) {
  service.lose_activations = 1;
  EXPECT_EQ(refused([&] { join(); }), "answer_lost");
  join(std::nullopt);  // it is activated: no invitation is needed
  beat();
  EXPECT_EQ(service.registrations, 1);
}

TEST_F(NodeAgent, RegistersAgainWhenItsRegistrationWasForgotten) {
  service.lose_activations = 1;
  EXPECT_EQ(refused([&] { join(); }), "answer_lost");
  service.active = false;
  join();
  beat();
  EXPECT_EQ(service.registrations, 2);
}

TEST_F(NodeAgent, CountsOnFromWhereARestartedServiceSays) {
  join();
  beat();
  service.last = 5'000;  // its durable ceiling
  beat();
  EXPECT_EQ(service.replays, 1);
  EXPECT_EQ(service.beats, 2);
  EXPECT_GT(service.last, 5'000u);
}

TEST_F(NodeAgent, WaitsForAServiceThatIsAwayAndComesBack) {
  join();
  EXPECT_EQ(beat(), std::chrono::milliseconds(1'000));
  std::uint16_t port = service.port();
  service.stop();
  std::chrono::milliseconds before{0};
  for (int i = 0; i < 6; ++i) {
    auto next = beat();
    EXPECT_GT(next.count(), 0);
    EXPECT_LE(next, std::chrono::milliseconds(2'000));
    before = next;
  }
  EXPECT_GE(before, std::chrono::milliseconds(1'500));
  service.start(port);
  EXPECT_EQ(beat(), std::chrono::milliseconds(1'000));
  EXPECT_EQ(service.beats, 2);
}

TEST_F(NodeAgent, AnAnswerThatMakesNoSenseDoesNotEndIt) {
  join();
  service.nonsense = 3;
  for (int i = 0; i < 4; ++i) beat();
  EXPECT_EQ(service.beats, 1);
}

TEST_F(NodeAgent, HoldsChunksAndProvesThem) {
  join();
  service.work = {work(NodeWork::Kind::hold, 0), work(NodeWork::Kind::hold, 3)};
  work_through();
  ASSERT_EQ(service.answers.size(), 2u);
  EXPECT_EQ(service.answers[0].digest, crypto::blake3(service.chunks[0]));
  EXPECT_EQ(service.answers[1].digest, crypto::blake3(service.chunks[3]));

  NodeWork challenge = work(NodeWork::Kind::challenge, 3);
  challenge.nonce = random.array<32>();
  challenge.offset = 17;
  challenge.length = 40;
  service.work = {challenge};
  service.answers.clear();
  join(std::nullopt);  // it holds them over a restart
  work_through();
  Bytes asked(challenge.nonce.begin(), challenge.nonce.end());
  asked.insert(asked.end(), service.chunks[3].begin() + 17, service.chunks[3].begin() + 57);
  ASSERT_EQ(service.answers.size(), 1u);
  EXPECT_EQ(service.answers[0].digest, crypto::blake3(asked));
  service.work = {work(NodeWork::Kind::hold, 4)};  // what it offered at the first start counts
  work_through();
  beat();
  EXPECT_EQ(service.load.storage_bytes_used, service.chunks[0].size() + service.chunks[3].size() + service.chunks[4].size());
}

TEST_F(NodeAgent, AnswersZerosForAChunkThatIsDamagedOrGone) {
  join();
  service.work = {work(NodeWork::Kind::hold, 1)};
  work_through();
  std::string path = fmt::format("{}/chunks/{}/0000000000000001.chunk", directory, session.text());
  Bytes bytes = system_files().read_file(path);
  bytes[40] ^= 1;
  system_files().replace_file(path, bytes);
  NodeWork damaged = work(NodeWork::Kind::challenge, 1), gone = work(NodeWork::Kind::challenge, 2),
           beyond = work(NodeWork::Kind::challenge, 1);
  damaged.length = gone.length = 10;
  beyond.offset = std::uint64_t{1} << 52;
  beyond.length = std::uint64_t{1} << 52;
  service.work = {damaged, gone, beyond};
  service.answers.clear();
  work_through();
  ASSERT_EQ(service.answers.size(), 3u);
  for (const auto& answer : service.answers) EXPECT_EQ(answer.digest, Hash32{});
}

TEST_F(NodeAgent, RecomputesTheRootOfARecordingAndSignsIt) {
  join("come-in", contracts::NodeType::validator);
  NodeWork validate = work(NodeWork::Kind::validate);
  validate.chunks = 5;
  service.work = {validate};
  work_through();
  evidence::Tree tree;
  for (const auto& [sequence, stored] : service.chunks)
    tree.append(
        evidence::leaf_hash(recording::encode_leaf(recording::leaf_of(*recording::parse_chunk_header(stored), crypto::blake3(stored)))));
  ASSERT_EQ(service.answers.size(), 1u);
  Hash32 root = tree.root();
  EXPECT_EQ(service.answers[0].digest, root);
  Bytes text(as_bytes(contracts::kValidation).begin(), as_bytes(contracts::kValidation).end());
  text.insert(text.end(), session.bytes().begin(), session.bytes().end());
  text.insert(text.end(), root.begin(), root.end());
  EXPECT_TRUE(service.key->verify(text, service.answers[0].signature));
}

TEST_F(NodeAgent, KeepsNoBytesThatAreNotTheChunkAskedFor) {
  join();
  std::swap(service.chunks[0], service.chunks[1]);
  service.chunks[2] = Bytes(500, 3);
  service.chunks[3].push_back(0);
  service.work = {work(NodeWork::Kind::hold, 0), work(NodeWork::Kind::hold, 2), work(NodeWork::Kind::hold, 3),
                  work(NodeWork::Kind::hold, 77)};
  work_through();
  EXPECT_TRUE(service.answers.empty());
  beat();
  EXPECT_EQ(service.load.storage_bytes_used, 0u);
}

TEST_F(NodeAgent, DeliversALostAnswerAgainWithoutDoingTheWorkTwice) {
  join();
  service.work = {work(NodeWork::Kind::hold, 0)};
  service.lose_answers = 1;
  work_through();
  ASSERT_EQ(service.answers.size(), 1u);
  service.chunks.clear();
  work_through();  // too soon after the failure: left alone
  EXPECT_EQ(service.answers.size(), 1u);
}

TEST_F(NodeAgent, BeatsOnWhileALongPieceOfWorkIsInHand) {
  join("come-in", contracts::NodeType::validator);
  NodeWork validate = work(NodeWork::Kind::validate);
  validate.chunks = 5;
  service.work = {validate};
  for (int i = 0; i < 20; ++i) beat();
  in_step([&] { agent->chores().wait_until_idle(); });
  EXPECT_EQ(service.beats, 20);
  EXPECT_EQ(service.replays, 0);  // requests of both threads arrived in the order of their sequences
}

}  // namespace
}  // namespace lucid::node_agent
