// Pools, and which node carries which session.
#include <set>
#include <thread>

#include "node/management/collections.hpp"
#include "node/management/placement.hpp"
#include "node/management/test_world.hpp"

using namespace lucid;
using namespace lucid::node_management;

namespace {

Node free_node(World& w, int cpu, std::int64_t memory, int slots) {
  Node n;
  n.id = w.id();
  n.state = State::active;
  n.heard = true;
  n.lease_until_ms = 1'000;
  n.capacity = {cpu, memory, slots, 0};
  n.load = {cpu, memory, {}, 0};
  return n;
}

}  // namespace

TEST(Choice, SpreadTakesTheLeastUsedAndPackTheMostUsedThatFits) {
  World w;
  Node empty = free_node(w, 8'000, 8'000, 8), half = free_node(w, 8'000, 8'000, 8), full = free_node(w, 8'000, 8'000, 8);
  half.placed[w.id()] = {half.id, 4'000, 1'000};
  full.placed[w.id()] = {full.id, 7'500, 1'000};
  std::vector<const Node*> all{&full, &half, &empty};
  contracts::PlaceRequest request{w.id(), 1'000, 500};
  EXPECT_EQ(choose(all, request, Policy::spread, 0).node, &empty);
  EXPECT_EQ(choose(all, request, Policy::pack, 0).node, &half);
  EXPECT_EQ(choose(all, request, Policy::pack, 0).out.at("with too little cpu"), 1u);
}

TEST(Choice, WhatIsReportedFreeCountsAsWellAsWhatIsPlaced) {
  World w;
  Node n = free_node(w, 8'000, 8'000, 4);
  Id seen = w.id(), unseen = w.id();
  n.placed[seen] = {n.id, 1'000, 1'000};
  n.placed[unseen] = {n.id, 2'000, 500};
  n.reported = {seen, w.id()};         // and one that was not placed
  n.load.cpu_millicores_free = 3'000;  // something else runs there too
  n.load.memory_mb_free = 7'900;
  Free free = free_of(n);
  EXPECT_EQ(free.cpu_millicores, 1'000) << "3000 reported, of which the unseen session will take 2000";
  EXPECT_EQ(free.memory_mb, 6'500) << "8000 less 1500 placed";
  EXPECT_EQ(free.slots, 1);
}

TEST(Choice, SaysWhyEachClassOfNodesWasOut) {
  World w;
  std::vector<Node> nodes;
  for (int i = 0; i < 9; ++i) nodes.push_back(free_node(w, 1'000, 1'000, 1));
  nodes[0].state = State::offline;
  nodes[1].state = State::draining;
  nodes[2].lease_until_ms = -1;
  nodes[3].heard = false;
  nodes[4].capacity.session_slots = 0;
  nodes[5].load.cpu_millicores_free = 10;
  nodes[6].load.memory_mb_free = 10;
  nodes[7].type = contracts::NodeType::storage;
  nodes[8].changing = true;
  std::vector<const Node*> all;
  for (const Node& n : nodes) all.push_back(&n);
  auto choice = choose(all, {w.id(), 500, 500}, Policy::spread, 0);
  EXPECT_EQ(choice.node, nullptr);
  EXPECT_EQ(choice.why(),
            "9 nodes: 1 changing its state, 1 draining, 1 not a worker, 1 not heard since the start, 1 offline, 1 silent for a lease, "
            "1 with too little cpu, 1 with too little memory, 1 without a free slot");
  EXPECT_EQ(choose({}, {w.id(), 500, 500}, Policy::spread, 0).why(), "there is no node");
}

TEST(Placement, CountsAtOnceIsIdempotentAndSurvivesARestart) {
  World w;
  EXPECT_EQ(code_of([&] { w.place(w.id()); }), contracts::kNoNodesRegistered);
  w.join("store-1", contracts::NodeType::storage);
  EXPECT_EQ(code_of([&] { w.place(w.id()); }), contracts::kNoNodesRegistered) << "only workers carry sessions";
  auto a = w.join("node-a");
  // 4000 millicores, 2000 each: two fit before the node has said anything of them.
  Id one = w.id(), two = w.id(), three = w.id();
  EXPECT_EQ(w.place(one).node, a.id);
  EXPECT_EQ(w.place(two).node_name, "node-a");
  EXPECT_EQ(code_of([&] { w.place(three); }), "no_node");
  EXPECT_EQ(w.place(one).node, a.id) << "asked again";
  w.restart();
  a.sequence += 10'000;
  w.beat(a);
  EXPECT_EQ(w.place(two).node, a.id);
  EXPECT_EQ(code_of([&] { w.place(three); }), "no_node");
  w.registry().release(one);
  w.registry().release(one);
  EXPECT_EQ(w.place(three).node, a.id);
  w.restart();
  EXPECT_EQ(w.registry().status(a.id).sessions, (std::vector<Id>{std::min(two, three), std::max(two, three)}));
}

TEST(Placement, ManyAtOnceNeverOverfillANodeAndTheSameSessionIsPlacedOnce) {
  World w;
  w.join("node-a");
  w.join("node-b");
  std::atomic<int> placed{0}, refused{0};
  Id shared = w.id();
  std::vector<Id> ids;
  for (int i = 0; i < 24; ++i) ids.push_back(w.id());
  std::mutex mutex;
  std::set<Id> where;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      auto p = w.registry().place(std::nullopt, {shared, 500, 500});
      {
        std::lock_guard lock(mutex);
        where.insert(p.node);
      }
      for (int i = 0; i < 6; ++i)
        code_of([&] { w.registry().place(std::nullopt, {ids[static_cast<std::size_t>(t * 6 + i)], 500, 500}); }) == "none" ? ++placed
                                                                                                                           : ++refused;
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(where.size(), 1u);
  EXPECT_EQ(placed, 15) << "two nodes of eight times 500 millicores, one of them for the shared session";
  EXPECT_EQ(refused, 9);
}

TEST(Placement, AFailedWriteReservesNothing) {
  World w;
  auto a = w.join("node-a");
  Id session = w.id();
  w.documents.fail_at(1, FailingDocuments::How::before, false);
  EXPECT_EQ(code_of([&] { w.place(session); }), "disk_failed");
  EXPECT_TRUE(w.registry().status(a.id).sessions.empty());
  w.place(session);
  w.documents.fail_at(1, FailingDocuments::How::before, false);
  EXPECT_EQ(code_of([&] { w.registry().release(session); }), "disk_failed");
  EXPECT_EQ(w.registry().status(a.id).sessions.size(), 1u);
  w.registry().release(session);
  EXPECT_TRUE(w.registry().status(a.id).sessions.empty());
}

TEST(Placement, ANodeThatLeavesWhileItsPlacementIsWrittenDoesNotGetIt) {
  World w;
  auto a = w.join("node-a"), b = w.join("node-b");
  Id session = w.id();
  std::optional<Id> drained;
  w.documents.on_change = [&](const std::string& collection) {
    if (collection != kPlacements || drained) return;
    // The one that was chosen: it shows its reservation already.
    for (const auto& n : {a.id, b.id})
      if (!drained && !w.registry().status(n).sessions.empty()) {
        drained = n;
        w.registry().act(n, Trigger::drain, "just now");
      }
  };
  auto placed = w.place(session);
  ASSERT_TRUE(drained);
  EXPECT_NE(placed.node, *drained);
  w.documents.on_change = nullptr;
  w.restart();
  EXPECT_EQ(w.registry().status(*drained).sessions.size(), 0u);
  EXPECT_EQ(w.registry().status(placed.node).sessions.size(), 1u);
}

TEST(Placement, WhereTheLastNodeLeavesWhileItIsWrittenNothingStays) {
  World w;
  auto a = w.join("node-a");
  Id session = w.id();
  bool drained = false;
  w.documents.on_change = [&](const std::string& collection) {
    if (collection != kPlacements || drained) return;
    drained = true;
    w.registry().act(a.id, Trigger::drain, "just now");
  };
  EXPECT_EQ(code_of([&] { w.place(session); }), "no_node");
  w.documents.on_change = nullptr;
  w.restart();
  EXPECT_TRUE(w.registry().placements().empty());
}

TEST(Pools, TakeNoMoreThanTheyMayAndAreDegradedBelowTheirMinimum) {
  World w;
  auto pool = w.registry().make_pool("rack-1", Policy::pack, 2, 3);
  Id id = pool.pool.id;
  std::vector<TestNode> nodes;
  for (int i = 0; i < 4; ++i) nodes.push_back(w.join("node-" + std::to_string(i)));
  for (int i = 0; i < 3; ++i) w.registry().add_member(id, nodes[static_cast<std::size_t>(i)].id);
  w.registry().add_member(id, nodes[0].id);
  EXPECT_EQ(code_of([&] { w.registry().add_member(id, nodes[3].id); }), "pool_full");
  EXPECT_EQ(code_of([&] { w.registry().add_member(id, w.id()); }), "node_not_found");
  EXPECT_EQ(code_of([&] { w.registry().add_member(w.id(), nodes[3].id); }), "pool_not_found");
  EXPECT_EQ(code_of([&] { w.registry().make_pool("rack-1", Policy::spread, 3, 100); }), "name_in_use");
  EXPECT_EQ(code_of([&] { w.registry().remove_pool(id); }), "pool_not_empty");
  w.restart();
  for (auto& n : nodes) {
    n.sequence += 10'000;
    w.beat(n);
  }
  EXPECT_EQ(w.registry().pool(id).active, 3u);
  w.registry().act(nodes[0].id, Trigger::retire, "sold");
  EXPECT_EQ(w.registry().pool(id).pool.members.size(), 2u) << "a retired node leaves its pools";
  w.registry().add_member(id, nodes[3].id);
  EXPECT_EQ(code_of([&] { w.registry().add_member(id, nodes[0].id); }), "illegal_transition");
  // Placed in the pool only, packed.
  std::set<Id> used;
  for (int i = 0; i < 2; ++i) used.insert(w.registry().place(id, {w.id(), 1'000, 500}).node);
  EXPECT_EQ(used.size(), 1u);
  EXPECT_NE(*used.begin(), nodes[0].id);
  for (int i = 1; i < 4; ++i) w.registry().remove_member(id, nodes[static_cast<std::size_t>(i)].id);
  EXPECT_EQ(code_of([&] { w.registry().place(id, {w.id(), 1'000, 500}); }), "no_node");
  w.registry().remove_pool(id);
  EXPECT_EQ(code_of([&] { w.registry().pool(id); }), "pool_not_found");
}

TEST(Pools, OverflowFromManySidesStopsAtTheCap) {
  World w;
  Id id = w.registry().make_pool("rack-1", Policy::spread, 1, 5).pool.id;
  std::vector<TestNode> nodes;
  for (int i = 0; i < 12; ++i) nodes.push_back(w.join("node-" + std::to_string(i)));
  std::atomic<int> full{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 3; ++i)
        if (code_of([&] { w.registry().add_member(id, nodes[static_cast<std::size_t>(t * 3 + i)].id); }) == "pool_full") ++full;
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(full, 7);
  w.restart();
  EXPECT_EQ(w.registry().pool(id).pool.members.size(), 5u);
}

TEST(Service, ItsThreadsAndManyCallersGetAlongWhileDaysPass) {
  World w;
  Id pool = w.registry().make_pool("rack-1", Policy::spread, 1, 100).pool.id;
  w.m->start();
  std::atomic<int> placed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      auto n = w.join("node-" + std::to_string(t));
      w.registry().add_member(pool, n.id);
      for (int i = 0; i < 30; ++i) {
        w.beat(n);
        Id session = w.id();
        if (code_of([&] { w.registry().place(i % 2 == 0 ? std::optional(pool) : std::nullopt, {session, 100, 100}); }) == "none") ++placed;
        w.m->challenged(n.id, session, true);
        w.registry().list(std::nullopt, 10, {});
        w.registry().events(0, 1);
        w.registry().release(session);
        if (t == 0) w.clock.advance(i == 20 ? 3 * 86'400'000 : 3'000);
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_GT(placed, 0);
  for (int i = 0; i < 10'000 && w.m->epochs().open_epoch() < 1'002; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_GE(w.m->epochs().open_epoch(), 1'002u);
  w.m->stop();
  EXPECT_EQ(w.m->problem(), std::nullopt);
}
