// Who gets in, who is heard, and what state that leads to.
#include <set>
#include <thread>

#include "lib/crypto/hash.hpp"
#include "node/management/collections.hpp"
#include "node/management/test_world.hpp"

using namespace lucid;
using namespace lucid::node_management;
using contracts::NodeType;

namespace {

std::string beat_code(World& w, const std::string& header, const std::string& path, const std::string& body,
                      const std::string& method = "POST") {
  return code_of([&] { w.registry().authenticate(header, method, path, as_bytes(body)); });
}

}  // namespace

TEST(NodeStates, TheTableHoldsTheseMovesAndNoOther) {
  std::set<std::tuple<State, Trigger, State>> expected;
  auto add = [&](std::vector<State> from, Trigger t, State to) {
    for (State s : from) expected.insert({s, t, to});
  };
  add({State::pending}, Trigger::activate, State::active);
  add({State::active}, Trigger::drain, State::draining);
  add({State::draining, State::maintenance}, Trigger::resume, State::active);
  add({State::active, State::draining}, Trigger::lease_over, State::offline);
  add({State::offline}, Trigger::back, State::active);
  add({State::offline}, Trigger::back_draining, State::draining);
  add({State::active, State::draining, State::offline}, Trigger::maintenance, State::maintenance);
  add({State::active, State::draining, State::offline, State::maintenance}, Trigger::ban, State::banned);
  add({State::active, State::draining, State::offline, State::maintenance, State::banned}, Trigger::retire, State::retired);
  std::size_t legal = 0;
  for (State s : kAllStates)
    for (Trigger t : kAllTriggers) {
      auto to = next(s, t);
      if (!to) continue;
      ++legal;
      EXPECT_TRUE(expected.contains({s, t, *to})) << contracts::name(s) << " " << name(t);
    }
  EXPECT_EQ(legal, expected.size());
}

TEST(Registration, NeedsAnInvitationThatIsGoodAndUsedNoMoreOftenThanItSays) {
  World w;
  auto two = w.registry().invite(2, 60);
  auto r = [&](const char* name, const std::string& invitation) {
    auto n = w.fresh();
    auto request = w.registration(n, name);
    request.invitation = invitation;
    return code_of([&] { w.registry().register_node(request); });
  };
  EXPECT_EQ(r("node-a", "lucid-invite:guessed"), "invitation_invalid");
  EXPECT_EQ(r("node-b", two.secret), "none");
  EXPECT_EQ(r("node-c", two.secret), "none");
  EXPECT_EQ(r("node-d", two.secret), "invitation_invalid") << "both uses are held by pending nodes";
  w.clock.advance(61'000);
  EXPECT_EQ(r("node-e", two.secret), "invitation_invalid") << "out of date";
  // At rest only its hash is kept.
  for (const auto& d : w.sqlite->scan(kInvitations, {})) {
    EXPECT_EQ(d.json.find("lucid-invite"), std::string::npos);
    EXPECT_EQ(d.key.find(two.secret), std::string::npos);
  }
}

TEST(Registration, AUseOfAnInvitationIsSpentByActivationAndARestartDoesNotGiveItBack) {
  World w;
  auto one = w.registry().invite(1, 3'600);
  auto n = w.fresh();
  auto request = w.registration(n, "node-a");
  request.invitation = one.secret;
  auto made = w.registry().register_node(request);
  w.restart();
  EXPECT_EQ(code_of([&] { w.registry().activate(made.id, w.answer(n, made.challenge)); }), "node_not_found")
      << "a restart forgets what is pending";
  made = w.registry().register_node(request);
  w.registry().activate(made.id, w.answer(n, made.challenge));
  w.restart();
  auto other = w.fresh();
  request.key = other.key.verify_key();
  request.name = "node-b";
  EXPECT_EQ(code_of([&] { w.registry().register_node(request); }), "invitation_invalid");
}

TEST(Registration, AKeyBelongsToOneNodeForEverAndANameToOneThatIsNotRetired) {
  World w;
  auto a = w.join("node-a");
  auto b = w.fresh();
  EXPECT_EQ(code_of([&] { w.registry().register_node(w.registration(a, "node-x")); }), "key_in_use");
  EXPECT_EQ(code_of([&] { w.registry().register_node(w.registration(b, "NODE-A")); }), "name_in_use");
  w.registry().act(a.id, Trigger::retire, "gone");
  w.restart();
  EXPECT_EQ(code_of([&] { w.registry().register_node(w.registration(a, "node-x")); }), "key_in_use") << "not even by a retired one";
  EXPECT_EQ(code_of([&] { w.registry().register_node(w.registration(b, "node-a")); }), "none");
  // The same for two pending ones.
  EXPECT_EQ(code_of([&] { w.registry().register_node(w.registration(b, "node-y")); }), "key_in_use");
  auto c = w.fresh();
  EXPECT_EQ(code_of([&] { w.registry().register_node(w.registration(c, "node-a")); }), "name_in_use");
}

TEST(Registration, AskedAgainByTheSameNodeGivesANewChallengeAndOnlyThatCounts) {
  World w;
  auto n = w.fresh();
  auto request = w.registration(n, "node-a");
  auto first = w.registry().register_node(request), second = w.registry().register_node(request);
  EXPECT_NE(first.challenge, second.challenge);
  EXPECT_EQ(code_of([&] { w.registry().activate(first.id, w.answer(n, first.challenge)); }), "node_not_found");
  EXPECT_EQ(w.registry().activate(second.id, w.answer(n, second.challenge)).state, State::active);
}

TEST(Registration, TheChallengeIsSignedByTheRegisteredKeyWithinItsTime) {
  World w;
  auto n = w.fresh(), thief = w.fresh();
  auto request = w.registration(n, "node-a");
  auto made = w.registry().register_node(request);
  EXPECT_EQ(made.expires_wall_ms, w.clock.wall_ms() + 120'000);
  EXPECT_EQ(code_of([&] { w.registry().activate(made.id, w.answer(thief, made.challenge)); }), "signature_invalid");
  auto bare = n.key.sign(made.challenge);
  EXPECT_EQ(code_of([&] { w.registry().activate(made.id, bare); }), "signature_invalid") << "signed without its purpose";
  EXPECT_EQ(code_of([&] { w.registry().activate(made.id, Bytes{}); }), "signature_invalid");
  w.clock.advance(120'000);
  EXPECT_EQ(w.registry().activate(made.id, w.answer(n, made.challenge)).state, State::active) << "the last millisecond";
  EXPECT_EQ(w.registry().activate(made.id, w.answer(n, made.challenge)).state, State::active) << "its answer was lost";
  w.clock.advance(1);
  EXPECT_EQ(code_of([&] { w.registry().activate(made.id, w.answer(n, made.challenge)); }), "challenge_expired");

  auto late = w.fresh();
  auto late_request = w.registration(late, "node-b");
  made = w.registry().register_node(late_request);
  w.clock.advance(120'001);
  EXPECT_EQ(code_of([&] { w.registry().activate(made.id, w.answer(late, made.challenge)); }), "challenge_expired");
  made = w.registry().register_node(late_request);
  EXPECT_EQ(w.registry().activate(made.id, w.answer(late, made.challenge)).state, State::active) << "and registers again";
}

TEST(Registration, SurvivesAFailingDiskAsEitherThereOrNot) {
  for (auto how : {FailingDocuments::How::before, FailingDocuments::How::after}) {
    World w;
    auto n = w.fresh();
    auto made = w.registry().register_node(w.registration(n, "node-a"));
    w.documents.fail_at(1, how);
    EXPECT_EQ(code_of([&] { w.registry().activate(made.id, w.answer(n, made.challenge)); }), "disk_failed");
    w.documents.heal();
    w.restart();
    EXPECT_EQ(w.registry().find(made.id).has_value(), how == FailingDocuments::How::after);
    if (how == FailingDocuments::How::after) {
      n.id = made.id;
      EXPECT_EQ(w.beat(n).state, State::active);
    }
  }
}

TEST(Heartbeat, ForgedOnesAreRefused) {
  World w;
  auto a = w.join("node-a"), b = w.join("node-b");
  std::string path = "/api/v1/nodes/" + a.id.text() + "/heartbeat", body = json::serialize(contracts::to_json(a.load));
  std::string good = a.sign("POST", path, as_bytes(body));
  EXPECT_EQ(beat_code(w, good, path, body + " "), "signature_invalid") << "another body";
  EXPECT_EQ(beat_code(w, good, "/api/v1/nodes/" + b.id.text() + "/heartbeat", body), "signature_invalid") << "another path";
  EXPECT_EQ(beat_code(w, good, path, body, "PUT"), "signature_invalid") << "another method";
  EXPECT_EQ(beat_code(w, "", path, body), "signature_invalid") << "none at all";
  auto other_sequence = *contracts::parse_node_header(good);
  ++other_sequence.sequence;
  EXPECT_EQ(beat_code(w, contracts::node_header(other_sequence), path, body), "signature_invalid");
  auto other_node = *contracts::parse_node_header(good);
  other_node.node = b.id;
  EXPECT_EQ(beat_code(w, contracts::node_header(other_node), path, body), "signature_invalid") << "signed by another node's key";
  other_node.node = w.id();
  EXPECT_EQ(beat_code(w, contracts::node_header(other_node), path, body), "node_not_found");
  for (std::size_t i = 0; i < 64; i += 7) {
    auto flipped = *contracts::parse_node_header(good);
    flipped.signature[i] ^= 1;
    EXPECT_EQ(beat_code(w, contracts::node_header(flipped), path, body), "signature_invalid") << i;
  }
  EXPECT_EQ(beat_code(w, good, path, body), "none") << "none of these used its sequence up";
}

TEST(Heartbeat, AReplayedDuplicateOrOlderOneIsRefusedAndSaysWhereToGoOn) {
  World w;
  auto a = w.join("node-a");
  std::string path = "/api/v1/nodes/" + a.id.text() + "/heartbeat", body = json::serialize(contracts::to_json(a.load));
  std::string kept_back = a.sign("POST", path, as_bytes(body)), newer = a.sign("POST", path, as_bytes(body));
  EXPECT_EQ(beat_code(w, newer, path, body), "none");
  EXPECT_EQ(beat_code(w, newer, path, body), "beat_replayed") << "a duplicate";
  EXPECT_EQ(beat_code(w, kept_back, path, body), "beat_replayed") << "an older one";
  try {
    w.registry().authenticate(newer, "POST", path, as_bytes(body));
    FAIL();
  } catch (const Error& e) { EXPECT_EQ(contracts::replayed_sequence(e), a.sequence); }
}

TEST(Heartbeat, OneFromTheFutureTakesTheNodesNumbersWithItAndTheLastNumberIsTheLast) {
  World w;
  auto a = w.join("node-a");
  std::uint64_t before = a.sequence;
  a.sequence = (1ull << 53) - 2;
  EXPECT_EQ(w.beat(a).state, State::active) << "any larger number is in order: no clock is involved";
  a.sequence = before + 1;
  EXPECT_EQ(code_of([&] { w.beat(a); }), "beat_replayed");
  a.sequence = (1ull << 53) - 1;
  EXPECT_EQ(w.beat(a).state, State::active);
  EXPECT_EQ(code_of([&] { w.beat(a); }), "signature_invalid") << "beyond 2^53 there is none";
}

TEST(Heartbeat, NoneIsAcceptedTwiceAcrossARestart) {
  World w;
  auto a = w.join("node-a");
  std::string path = "/api/v1/nodes/" + a.id.text() + "/heartbeat", body = json::serialize(contracts::to_json(a.load));
  std::vector<std::string> seen;
  for (int i = 0; i < 2'500; ++i) {
    seen.push_back(a.sign("POST", path, as_bytes(body)));
    ASSERT_EQ(beat_code(w, seen.back(), path, body), "none");
  }
  EXPECT_LE(w.documents.changes(), 12) << "a durable write for a thousand of them";
  w.restart();
  for (const auto& header : seen) ASSERT_EQ(beat_code(w, header, path, body), "beat_replayed");
  // What was never sent may be refused too; the refusal says from where on to count.
  try {
    w.beat(a);
    FAIL();
  } catch (const Error& e) { a.sequence = contracts::replayed_sequence(e).value(); }
  EXPECT_EQ(w.beat(a).state, State::active);
}

TEST(Heartbeat, TheSameOneSentManyTimesAtOnceIsAcceptedOnce) {
  World w;
  auto a = w.join("node-a");
  std::string path = "/api/v1/nodes/" + a.id.text() + "/heartbeat", body = json::serialize(contracts::to_json(a.load));
  for (int round = 0; round < 20; ++round) {
    if (round % 5 == 0) a.sequence += 1'500;  // so that the ceiling is raised under them
    std::string header = a.sign("POST", path, as_bytes(body));
    std::atomic<int> accepted{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([&] { accepted += beat_code(w, header, path, body) == "none" ? 1 : 0; });
    for (auto& t : threads) t.join();
    EXPECT_EQ(accepted, 1);
  }
}

TEST(Heartbeat, BannedAndRetiredNodesAreToldSo) {
  World w;
  auto a = w.join("node-a"), b = w.join("node-b");
  w.registry().act(a.id, Trigger::ban, "it lied");
  w.registry().act(b.id, Trigger::retire, "sold");
  EXPECT_EQ(code_of([&] { w.beat(a); }), "node_banned");
  EXPECT_EQ(code_of([&] { w.beat(b); }), "node_retired");
  w.restart();
  EXPECT_EQ(code_of([&] { w.beat(a); }), "node_banned");
  EXPECT_EQ(w.registry().status(a.id).cause, "it lied");
  EXPECT_EQ(w.m->standings().at(a.id), payouts::Standing::banned);
  EXPECT_EQ(w.m->standings().at(b.id), payouts::Standing::left);
  w.registry().act(a.id, Trigger::retire, "sold");
  w.restart();
  EXPECT_EQ(w.m->standings().at(a.id), payouts::Standing::banned) << "retiring does not wash a ban off";
}

TEST(Lease, ASilentNodeIsAvoidedWithinFiveSecondsAndItsSessionsAreReported) {
  World w;
  auto a = w.join("node-a"), b = w.join("node-b");
  std::vector<Id> on_a;
  for (int i = 0; i < 4; ++i) {
    Id session = w.id();
    if (w.registry().place(std::nullopt, {session, 100, 100}).node == a.id) on_a.push_back(session);
  }
  ASSERT_FALSE(on_a.empty());
  std::uint64_t mark = w.registry().events(0, 0).next;
  // a is killed; b goes on.
  for (int second = 0; second < 4; ++second) {
    w.clock.advance(1'000);
    w.beat(b);
    w.m->tend_leases();
    EXPECT_EQ(w.state(a), State::active) << second;
  }
  w.clock.advance(1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(w.registry().place(std::nullopt, {w.id(), 100, 100}).node, b.id) << "before anybody has noticed";
  w.m->tend_leases();
  EXPECT_EQ(w.state(a), State::offline);
  EXPECT_EQ(w.state(b), State::active);
  w.restart();
  auto events = w.registry().events(mark, 0);
  ASSERT_EQ(events.events.size(), 1u);
  EXPECT_EQ(events.events[0].node, a.id);
  EXPECT_EQ(events.events[0].from, State::active);
  EXPECT_EQ(events.events[0].to, State::offline);
  std::sort(on_a.begin(), on_a.end());
  EXPECT_EQ(events.events[0].sessions, on_a);
  EXPECT_EQ(events.next, events.events[0].seq);
  a.sequence += 10'000;
  EXPECT_EQ(w.beat(a).state, State::active) << "it comes back";
  EXPECT_EQ(w.registry().events(events.next, 0).events.at(0).to, State::active);
}

TEST(Lease, ADrainingNodeIsStillDrainingWhenItIsBack) {
  World w;
  auto a = w.join("node-a");
  w.registry().act(a.id, Trigger::drain, "update");
  w.clock.advance(4'001);
  w.m->tend_leases();
  EXPECT_EQ(w.state(a), State::offline);
  w.restart();
  a.sequence += 10'000;
  EXPECT_EQ(w.beat(a).state, State::draining);
  EXPECT_EQ(code_of([&] { w.place(w.id()); }), "no_node");
}

TEST(Lease, ARestartGivesEveryNodeAWholeOneAndMaintenanceNeedsNone) {
  World w;
  auto a = w.join("node-a"), b = w.join("node-b");
  w.registry().act(b.id, Trigger::maintenance, "new disk");
  w.clock.advance(3'999);
  w.restart();
  w.clock.advance(4'000);
  w.m->tend_leases();
  EXPECT_EQ(w.state(a), State::active);
  w.clock.advance(1);
  w.m->tend_leases();
  EXPECT_EQ(w.state(a), State::offline);
  EXPECT_EQ(w.state(b), State::maintenance);
  EXPECT_EQ(w.registry().act(b.id, Trigger::resume, "done").state, State::active);
  w.m->tend_leases();
  EXPECT_EQ(w.state(b), State::active) << "a whole lease from here";
}

TEST(Lease, StretchesSoThatAllNodesTogetherBeatFiftyTimesASecond) {
  World w;
  auto first = w.join("node-0");
  EXPECT_EQ(w.beat(first).next_beat_ms, 1'000);
  EXPECT_EQ(w.beat(first).lease_ms, 4'000);
  for (int i = 1; i < 120; ++i) w.join("node-" + std::to_string(i));
  auto reply = w.beat(first);
  EXPECT_EQ(reply.next_beat_ms, 2'400);
  EXPECT_GE(reply.lease_ms, 3 * reply.next_beat_ms) << "two heartbeats may be lost";
  EXPECT_LE(120 * 1'000 / reply.next_beat_ms, kBeatsPerSecond);
}

TEST(Events, AFailedWriteChangesNothingAndMassFailureIsOneStep) {
  World w;
  std::vector<TestNode> nodes;
  for (int i = 0; i < 30; ++i) nodes.push_back(w.join("node-" + std::to_string(i)));
  w.clock.advance(60'000);
  w.documents.fail_at(1, FailingDocuments::How::before);
  EXPECT_EQ(code_of([&] { w.m->tend_leases(); }), "disk_failed");
  EXPECT_EQ(w.state(nodes[0]), State::active);
  w.documents.heal();
  int before = w.documents.changes();
  w.m->tend_leases();
  EXPECT_EQ(w.documents.changes(), before + 1);
  for (const auto& n : nodes) EXPECT_EQ(w.state(n), State::offline);
  auto page = w.registry().events(0, 0);
  EXPECT_EQ(page.events.size(), 60u);
  for (std::size_t i = 0; i < page.events.size(); ++i) EXPECT_EQ(page.events[i].seq, i + 1) << "no gap";
}

TEST(Events, ALongPollIsAnsweredByTheEventAndByTheEnd) {
  World w;
  auto a = w.join("node-a");
  std::uint64_t mark = w.registry().events(0, 0).next;
  std::thread poll([&] {
    auto page = w.registry().events(mark, 20'000);
    ASSERT_EQ(page.events.size(), 1u);
    EXPECT_EQ(page.events[0].to, State::draining);
    EXPECT_TRUE(w.registry().events(page.next, 20'000).events.empty());
  });
  w.registry().act(a.id, Trigger::drain, "x");
  w.m->stop();
  poll.join();
  EXPECT_EQ(w.registry().events(999, 0).next, 2u) << "a mark of another database begins again";
}

TEST(Events, TheLogStaysBoundedAndNothingIsForgotten) {
  World w;
  auto a = w.join("node-a"), b = w.join("node-b");
  w.registry().act(b.id, Trigger::drain, "for good");
  for (int i = 0; i < 40; ++i) {
    std::vector<store::Documents::Insert> inserts;
    // As if the service had written them.
    for (int k = 0; k < 501; ++k) {
      std::uint64_t seq = 4 + static_cast<std::uint64_t>(i) * 501 + static_cast<std::uint64_t>(k);
      bool even = seq % 2 == 0;
      inserts.push_back({kEvents, store::sortable(seq),
                         json::serialize(json::object{{"seq", seq},
                                                      {"node_id", a.id.text()},
                                                      {"from", even ? "active" : "draining"},
                                                      {"to", even ? "draining" : "active"},
                                                      {"cause", "x"},
                                                      {"sessions", json::array{}},
                                                      {"wall_ms", 5}})});
    }
    w.sqlite->insert_many(inserts);
  }
  w.restart();
  auto newest = w.registry().status(a.id);
  w.registry().compact();
  EXPECT_EQ(w.sqlite->count(kEvents, "", ""), 10'000u);
  w.restart();
  EXPECT_EQ(w.registry().status(a.id).state, newest.state);
  EXPECT_EQ(w.state(b), State::draining) << "its last event is gone, its state is not";
  EXPECT_EQ(w.registry().status(b.id).cause, "for good");
  EXPECT_EQ(w.registry().events(0, 0).events.size(), 100u);
}
