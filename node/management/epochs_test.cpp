// What is measured, and the close of an epoch with a crash at every step.
#include <set>

#include "lib/evidence/checkpoint.hpp"
#include "node/management/collections.hpp"
#include "node/management/test_world.hpp"

using namespace lucid;
using namespace lucid::node_management;
using contracts::NodeType;

namespace {

constexpr poot::Epoch kEpoch = 1'000;  // the world begins with it

template <class T>
const T* work(const std::vector<poot::Receipt>& receipts) {
  for (const auto& r : receipts)
    if (const T* t = std::get_if<T>(&r.work)) return t;
  return nullptr;
}

void go_to(World& w, poot::Epoch epoch, std::int64_t into_ms = 0) {
  w.clock.advance(poot::begins_wall_ms(epoch) + into_ms - w.clock.wall_ms());
}

// A day with something of everything: two workers, a storage node, a validator.
struct Day {
  World w;
  TestNode a = w.join("node-a"), b = w.join("node-b"), store = w.join("store-1", NodeType::storage),
           judge = w.join("judge-1", NodeType::validator);
  Id on_a = session_on(a), on_b = session_on(b);
  Day() {
    for (int slot = 0; slot < 3; ++slot) {
      w.committed[on_a] = {w.committed[on_a].bytes + (6u << 20), w.clock.wall_ms()};
      w.committed[on_b] = {w.committed[on_b].bytes + 10, w.clock.wall_ms()};
      for (TestNode* n : {&a, &b, &store, &judge}) w.beat(*n);
      w.clock.advance(poot::kSlotMs);
      w.m->tend_epochs();
    }
    w.desk.holds[store.id] = {5ull << 30, 40};
    for (int i = 0; i < 4; ++i) w.m->challenged(store.id, w.id(), i != 0);
    w.m->validated(judge.id, w.id(), on_a);
  }
  Id session_on(const TestNode& n) {
    for (;;) {
      Id id = w.id();
      if (w.registry().place(std::nullopt, {id, 100, 100}).node == n.id) return id;
      w.registry().release(id);
    }
  }
  void end() { go_to(w, kEpoch + 1, kCloseDelayMs); }
};

// All that must be the same whenever and however often the process died.
std::string outcome(World& w) {
  std::string out;
  for (const char* collection : {kReceipts, kEpochs, kTallies, kLeaders})
    for (const auto& d : w.sqlite->scan(collection, {})) out += d.key + "=" + d.json + "\n";
  return out;
}

}  // namespace

TEST(Epochs, EachKindOfWorkBecomesAReceiptOfWhatWasMeasured) {
  Day d;
  d.end();
  d.w.m->tend_epochs();
  auto& e = d.w.m->epochs();
  ASSERT_EQ(e.open_epoch(), kEpoch + 1);
  auto of_a = e.receipts(d.a.id, kEpoch, kEpoch);
  const auto* hosting = work<poot::Hosting>(of_a);
  ASSERT_NE(hosting, nullptr);
  EXPECT_EQ(hosting->slots, (std::vector<poot::HostingSlot>{{0, 1, 6u << 20}, {1, 1, 6u << 20}, {2, 1, 6u << 20}}));
  EXPECT_EQ(work<poot::Uptime>(of_a)->count(), 3u);
  auto of_store = e.receipts(d.store.id, kEpoch, kEpoch);
  EXPECT_EQ(*work<poot::Storage>(of_store), (poot::Storage{5ull << 30, 40, 4, 3}));
  EXPECT_EQ(work<poot::Validation>(e.receipts(d.judge.id, kEpoch, kEpoch))->sessions, std::vector<Id>{d.on_a});
  EXPECT_EQ(work<poot::Storage>(of_a), nullptr);
}

TEST(Epochs, TheStoredTallyIsWhatAnyoneComputesFromTheReceipts) {
  Day d;
  d.end();
  d.w.m->tend_epochs();
  auto& e = d.w.m->epochs();
  std::vector<poot::Receipt> all;
  d.w.m->each_node(0, kEpoch, [&](const Id&, std::span<const poot::Receipt> r) { all.insert(all.end(), r.begin(), r.end()); });
  EXPECT_EQ(e.tally(kEpoch), poot::tally(kEpoch, Hash32{}, all));
  EXPECT_EQ(e.tally(kEpoch).size(), 4u);
  auto c = *e.closed(kEpoch);
  evidence::Tree tree;
  std::optional<Id> after;
  std::size_t listed = 0;
  do {
    auto page = e.list(kEpoch, std::nullopt, after, 2);
    for (const auto& r : page.receipts) {
      EXPECT_EQ(r.index, listed++);
      tree.append(evidence::leaf_hash(r.bytes));
      EXPECT_EQ(poot::to_bytes(r.receipt), r.bytes);
    }
    after = page.next;
  } while (after);
  EXPECT_EQ(listed, 8u);
  auto checkpoint = evidence::open_checkpoint(c.checkpoint, d.w.key.verify_key());
  ASSERT_TRUE(checkpoint) << checkpoint.error().what();
  EXPECT_EQ(checkpoint->root, tree.root());
  EXPECT_EQ(checkpoint->size, listed);
  EXPECT_EQ(checkpoint->origin, "lucid/test/poot/1000");
  EXPECT_EQ(checkpoint->extensions, std::vector<std::string>{"previous " + std::string(64, '0')});
  go_to(d.w, kEpoch + 2, kCloseDelayMs);
  d.w.m->tend_epochs();
  EXPECT_EQ(e.closed(kEpoch + 1)->previous, tree.root()) << "the epochs are a chain";
  EXPECT_EQ(e.tally(kEpoch + 1), poot::tally(kEpoch + 1, tree.root(), all)) << "ties are broken by the root before";
}

TEST(Epochs, AProcessThatDiesAtAnyStepOfTheCloseEndsAtTheSameBytes) {
  std::string expected;
  int steps = 0;
  {
    Day d;
    d.end();
    int before = d.w.documents.changes();
    d.w.m->tend_epochs();
    steps = d.w.documents.changes() - before;
    expected = outcome(d.w);
  }
  EXPECT_GE(steps, 7);
  ASSERT_NE(expected.find("="), std::string::npos);
  for (int step = 1; step <= steps; ++step)
    for (auto how : {FailingDocuments::How::before, FailingDocuments::How::after}) {
      Day d;
      d.end();
      d.w.documents.fail_at(step, how);
      EXPECT_NE(code_of([&] { d.w.m->tend_epochs(); }), "none") << step;
      // It dies here. What the desk says afterwards is another story: receipts that are made stay as they are.
      d.w.documents.heal();
      d.w.restart();
      d.w.m->tend_epochs();
      EXPECT_EQ(d.w.m->epochs().open_epoch(), kEpoch + 1) << step;
      EXPECT_EQ(outcome(d.w), expected) << "died at step " << step;
      d.w.m->tend_epochs();
      EXPECT_EQ(outcome(d.w), expected) << "and nothing more happens";
      EXPECT_EQ(d.w.sqlite->count(kUptime, "", ""), 0u);
      EXPECT_EQ(d.w.sqlite->count(kHosting, "", ""), 0u);
    }
}

TEST(Epochs, ADiskThatFailsOnceIsMadeUpForByTheNextTurn) {
  Day d;
  d.end();
  for (int step : {1, 2, 3, 4, 5}) {
    d.w.documents.fail_at(step, FailingDocuments::How::after, false);
    code_of([&] { d.w.m->tend_epochs(); });
  }
  d.w.documents.heal();
  d.w.m->tend_epochs();
  Day whole;
  whole.end();
  whole.w.m->tend_epochs();
  EXPECT_EQ(outcome(d.w), outcome(whole.w));
}

TEST(Epochs, ACloseThatFailedAfterTheSealIsFinishedWithoutARestart) {
  for (int step = 1;; ++step) {
    Day d;
    d.end();
    d.w.documents.fail_at(step, FailingDocuments::How::before, false);
    if (code_of([&] { d.w.m->tend_epochs(); }) == "none") break;
    d.w.m->tend_epochs();
    EXPECT_FALSE(d.w.m->epochs().tally(kEpoch).empty()) << step;
    EXPECT_EQ(d.w.sqlite->count(kLeaders, "", ""), 1u) << step;
    EXPECT_EQ(d.w.sqlite->count(kUptime, "", ""), 0u) << step;
    ASSERT_LT(step, 30);
  }
}

TEST(Epochs, AResultToldAgainCountsOnce) {
  Day d;
  Id challenge = d.w.id(), validation = d.w.id();
  for (int i = 0; i < 3; ++i) {
    d.w.m->challenged(d.store.id, challenge, true);
    d.w.m->validated(d.judge.id, validation, d.on_b);
    d.w.restart();
  }
  d.end();
  d.w.m->tend_epochs();
  d.w.m->challenged(d.store.id, challenge, true);  // its answer was lost over midnight
  go_to(d.w, kEpoch + 2, kCloseDelayMs);
  d.w.m->tend_epochs();
  auto& e = d.w.m->epochs();
  EXPECT_EQ(work<poot::Storage>(e.receipts(d.store.id, kEpoch, kEpoch))->asked, 5u);
  EXPECT_EQ(work<poot::Storage>(e.receipts(d.store.id, kEpoch + 1, kEpoch + 1))->asked, 0u);
  EXPECT_EQ(work<poot::Validation>(e.receipts(d.judge.id, kEpoch, kEpoch))->sessions.size(), 2u);
}

TEST(Hosting, CountsWhatWasCommittedWhileTheSessionWasPlacedOnceAcrossCrashes) {
  for (int fail = 0; fail < 4; ++fail) {
    World w;
    auto a = w.join("node-a");
    Id session = w.id();
    w.place(session);
    std::uint64_t bytes = 0;
    for (int slot = 0; slot < 6; ++slot) {
      bytes += 1'000;
      w.committed[session] = {bytes, w.clock.wall_ms()};
      w.clock.advance(poot::kSlotMs);
      if (slot == 2 && fail > 0) w.documents.fail_at(fail, FailingDocuments::How::before);
      if (slot == 3 && fail > 0) w.documents.fail_at(fail, FailingDocuments::How::after);
      code_of([&] { w.m->tend_epochs(); });
      w.documents.heal();
      if (slot >= 2) w.restart();
    }
    w.registry().release(session);
    w.committed[session].bytes += 500;  // its last chunk
    w.clock.advance(poot::kSlotMs);
    w.m->tend_epochs();
    EXPECT_EQ(w.sqlite->count(kPlacements, "", ""), 0u) << "measured for the last time";
    go_to(w, kEpoch + 1, kCloseDelayMs);
    w.m->tend_epochs();
    std::uint64_t sum = 0;
    auto receipts = w.m->epochs().receipts(a.id, kEpoch, kEpoch);
    ASSERT_NE(work<poot::Hosting>(receipts), nullptr);
    for (const auto& slot : work<poot::Hosting>(receipts)->slots) sum += slot.bytes;
    EXPECT_EQ(sum, 6'500u) << fail;
  }
}

TEST(Hosting, APipelineThatIsAwayIsMadeUpForAndARecordingOlderThanItsPlacementBeginsAtNothing) {
  World w;
  auto a = w.join("node-a");
  Id mine = w.id(), older = w.id();
  w.committed[older] = {1'000'000, w.clock.wall_ms() - 1};
  w.place(mine);
  w.place(older);
  w.committed[mine] = {70, w.clock.wall_ms()};
  w.pipeline_away = true;
  w.clock.advance(poot::kSlotMs);
  EXPECT_NE(code_of([&] { w.m->tend_epochs(); }), "none");
  EXPECT_NE(w.metrics->expose().find("lucid_nodes_hosting_failures_total 1"), std::string::npos);
  w.pipeline_away = false;
  w.clock.advance(poot::kSlotMs);
  w.m->tend_epochs();
  w.committed[older].bytes += 9;
  w.clock.advance(poot::kSlotMs);
  w.m->tend_epochs();
  go_to(w, kEpoch + 1, kCloseDelayMs);
  w.m->tend_epochs();
  EXPECT_EQ(work<poot::Hosting>(w.m->epochs().receipts(a.id, kEpoch, kEpoch))->slots,
            (std::vector<poot::HostingSlot>{{1, 1, 70}, {2, 1, 9}}));
}

TEST(Hosting, ASessionThatMovesIsEachNodesOwnPart) {
  World w;
  auto a = w.join("node-a");
  Id session = w.id();
  w.place(session);
  w.committed[session] = {100, w.clock.wall_ms()};
  w.clock.advance(poot::kSlotMs);
  w.m->tend_epochs();
  auto b = w.join("node-b");
  w.registry().act(a.id, Trigger::drain, "x");
  w.registry().release(session);
  EXPECT_EQ(w.place(session).node, b.id) << "before its last bytes on the other were measured";
  w.committed[session].bytes = 150;
  w.clock.advance(poot::kSlotMs);
  w.m->tend_epochs();
  w.committed[session].bytes = 175;
  w.clock.advance(poot::kSlotMs);
  w.m->tend_epochs();
  go_to(w, kEpoch + 1, kCloseDelayMs);
  w.m->tend_epochs();
  EXPECT_EQ(work<poot::Hosting>(w.m->epochs().receipts(a.id, kEpoch, kEpoch))->slots, (std::vector<poot::HostingSlot>{{0, 1, 100}}));
  EXPECT_EQ(work<poot::Hosting>(w.m->epochs().receipts(b.id, kEpoch, kEpoch))->slots, (std::vector<poot::HostingSlot>{{2, 1, 25}}))
      << "what nobody can be credited with is nobody's";
}

TEST(Uptime, IsHeartbeatsReceivedAndSurvivesARestart) {
  World w;
  auto a = w.join("node-a");
  auto beat_in = [&](std::int64_t ms) {
    w.clock.advance(ms);
    w.beat(a);
  };
  w.m->tend_epochs();
  w.restart();
  a.sequence += 10'000;
  beat_in(poot::kSlotMs);          // slot 1
  beat_in(3 * poot::kSlotMs);      // slot 4: the lease was over in between, so 2 and 3 were not up
  beat_in(poot::kSlotMs - 2'000);  // slot 4 still
  beat_in(3'000);                  // slot 5
  w.m->tend_epochs();
  w.restart();
  go_to(w, kEpoch + 1, kCloseDelayMs);
  w.m->tend_epochs();
  auto receipts = w.m->epochs().receipts(a.id, kEpoch, kEpoch);
  const auto* up = work<poot::Uptime>(receipts);
  ASSERT_NE(up, nullptr);
  std::set<std::uint32_t> slots;
  for (std::uint32_t s = 0; s < poot::kSlotsPerEpoch; ++s)
    if (up->up(s)) slots.insert(s);
  EXPECT_EQ(slots, (std::set<std::uint32_t>{0, 1, 4, 5}));
}

TEST(Uptime, BetweenTwoHeartbeatsOfOneLongLeaseTheNodeWasThere) {
  World w;
  auto a = w.join("node-a");
  w.m->epochs().up(0, poot::begins_wall_ms(kEpoch) + 10 * poot::kSlotMs, poot::begins_wall_ms(kEpoch) + 14 * poot::kSlotMs);
  w.m->epochs().up(0, poot::begins_wall_ms(kEpoch) - 5 * poot::kSlotMs, poot::begins_wall_ms(kEpoch));  // never before the open epoch
  go_to(w, kEpoch + 1, kCloseDelayMs);
  w.m->tend_epochs();
  EXPECT_EQ(work<poot::Uptime>(w.m->epochs().receipts(a.id, kEpoch, kEpoch))->count(), 6u);
  EXPECT_TRUE(w.m->epochs().receipts(a.id, 0, kEpoch - 1).empty());
}

TEST(Leaders, AreStoredWithTheReasonWhenMissedAndShownWhileTheEpochRuns) {
  Day d;
  auto& e = d.w.m->epochs();
  auto wall = [&] { return d.w.m->time().wall_ms(); };
  auto first = e.leader(poot::first_slot(kEpoch), wall());
  EXPECT_FALSE(first.final);
  EXPECT_EQ(first.leader.reason, poot::LeaderReason::missed_no_node) << "no tally of the epoch before";
  EXPECT_EQ(code_of([&] { e.leader(poot::first_slot(kEpoch) + 5, wall()); }), "slot_not_found") << "not over";
  // All are up long enough to be admitted.
  for (std::uint32_t ordinal = 0; ordinal < 4; ++ordinal) e.up(ordinal, poot::begins_wall_ms(kEpoch), poot::ends_wall_ms(kEpoch) - 1);
  go_to(d.w, kEpoch + 1);
  for (std::uint32_t ordinal = 0; ordinal < 4; ++ordinal)
    e.up(ordinal, poot::begins_wall_ms(kEpoch + 1), poot::ends_wall_ms(kEpoch + 1) - 1);
  go_to(d.w, kEpoch + 2);
  for (std::uint32_t ordinal = 0; ordinal < 4; ++ordinal) e.up(ordinal, wall(), wall() + 50 * poot::kSlotMs);
  d.end();
  go_to(d.w, kEpoch + 2, kCloseDelayMs);
  e.turn(wall());  // without keeping what is measured: that is another test's
  ASSERT_EQ(e.open_epoch(), kEpoch + 2);
  EXPECT_TRUE(e.leader(poot::first_slot(kEpoch), wall()).final);
  poot::Slot slot = poot::first_slot(kEpoch + 2) + 2;
  auto live = e.leader(slot, wall());
  EXPECT_FALSE(live.final);
  auto tally = e.tally(kEpoch + 1);
  ASSERT_TRUE(tally.at(0).score.admitted());
  EXPECT_EQ(live.leader.node.has_value(), true);
  go_to(d.w, kEpoch + 3, kCloseDelayMs);
  e.turn(wall());  // without keeping what is measured: that is another test's
  auto stored = e.leader(slot, wall());
  EXPECT_TRUE(stored.final);
  EXPECT_EQ(stored.leader, live.leader);
}

TEST(Epochs, DaysTheServiceWasAwayAreClosedOneByOneAndTheClockTurnedBackOpensNone) {
  World w;
  w.join("node-a");
  w.m->tend_epochs();
  w.m.reset();
  go_to(w, kEpoch + 9, kCloseDelayMs);
  w.restart().tend_epochs();
  EXPECT_EQ(w.m->epochs().open_epoch(), kEpoch + 9);
  EXPECT_TRUE(w.m->epochs().closed(kEpoch + 4));
  w.m.reset();
  std::string before = outcome(w);
  w.clock.advance(poot::begins_wall_ms(kEpoch + 2) - w.clock.wall_ms());
  w.restart().tend_epochs();
  EXPECT_EQ(w.m->epochs().open_epoch(), kEpoch + 9);
  EXPECT_EQ(outcome(w), before);
}

TEST(Epochs, AnAlteredReceiptIsNoticed) {
  Day d;
  d.end();
  d.w.m->tend_epochs();
  EXPECT_EQ(d.w.m->problem(), std::nullopt);
  std::string key = d.a.id.text() + "/" + store::sortable(kEpoch) + "/1";
  poot::Receipt r = *poot::parse_receipt(*from_hex(parse_json(d.w.sqlite->get(kReceipts, key)->json)->at("receipt").as_string()));
  std::get<poot::Hosting>(r.work).slots[0].bytes += 1;
  d.w.sqlite->put(kReceipts, key, json::serialize(json::object{{"receipt", to_hex(poot::to_bytes(r))}}));
  EXPECT_EQ(code_of([&] { d.w.m->epochs().list(kEpoch, r.node, std::nullopt, 100); }), "receipt_not_in_log");
  auto epoch = *d.w.sqlite->get(kEpochs, store::sortable(kEpoch));
  auto text = epoch.json;
  auto at = text.find("\"leaves\":\"") + 10;
  text[at] = text[at] == '0' ? '1' : '0';
  d.w.sqlite->put(kEpochs, epoch.key, text);
  d.w.restart();
  EXPECT_NE(d.w.m->problem(), std::nullopt);
}

namespace {
struct JumpingClock final : Clock {
  std::int64_t wall = 1'800'000'000'000, steady = 1'000;
  std::int64_t wall_ms() const override { return wall; }
  std::int64_t steady_ms() const override { return steady; }
  void pass(std::int64_t ms) { wall += ms, steady += ms; }
};
}  // namespace

TEST(ServiceTime, FollowsSmallCorrectionsAtOnceAndAJumpOnlyWhenItStays) {
  JumpingClock clock;
  ServiceTime time(clock);
  clock.wall += 3'000;
  time.follow();
  EXPECT_EQ(time.wall_ms(), clock.wall);
  std::int64_t before = time.wall_ms();
  clock.wall += 86'400'000;
  time.follow();
  EXPECT_EQ(time.wall_ms(), before);
  EXPECT_EQ(time.jump_ms(), 86'400'000);
  clock.pass(599'000);
  time.follow();
  EXPECT_EQ(time.wall_ms(), before + 599'000);
  clock.wall -= 86'400'000;  // turned back: it was a trick
  time.follow();
  EXPECT_EQ(time.jump_ms(), 0);
  clock.wall -= 86'400'000;
  time.follow();
  clock.pass(300'000);
  clock.wall += 40'000'000;  // another time every few minutes is believed never
  time.follow();
  clock.pass(301'000);
  time.follow();
  EXPECT_NE(time.jump_ms(), 0);
  clock.pass(300'000);
  time.follow();
  EXPECT_EQ(time.jump_ms(), 0);
  EXPECT_EQ(time.wall_ms(), clock.wall);
}
