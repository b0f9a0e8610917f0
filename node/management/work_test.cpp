// The desk that gives work to nodes and judges what they answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/management/work_test_desk.hpp"

namespace lucid::node_management {
namespace {

using testing::SizeIs;

TEST_F(WorkDeskTest, ChunksOfARecordingAreHeldByAsManyNodesAsCopiesAreWanted) {
  Id session = recordings.add(40);
  std::vector<Id> nodes{host.add(NodeType::storage), host.add(NodeType::storage), host.add(NodeType::storage)};
  host.add(NodeType::worker);
  for (int round = 0; round < 5; ++round)
    for (const Id& node : nodes) do_all(node, Kind::hold);
  auto held = desk->held();
  EXPECT_THAT(held, SizeIs(2));
  std::uint64_t bytes = 0;
  for (const Bytes& chunk : recordings.all.at(session)) bytes += chunk.size();
  for (const auto& [node, h] : held) {
    EXPECT_EQ(h.chunks, 40u);
    EXPECT_EQ(h.bytes, bytes);
  }
}

TEST_F(WorkDeskTest, NoNodeIsAskedToHoldMoreThanItOffers) {
  for (int i = 0; i < 5; ++i) recordings.add(4, 1'000);
  Id node = host.add(NodeType::storage, 9'000);  // two of them
  do_all(node, Kind::hold);
  EXPECT_EQ(desk->held()[node].chunks, 8u);
  EXPECT_LE(desk->held()[node].bytes, 9'000u);
}

TEST_F(WorkDeskTest, WorkIsHandedOutAFewPiecesAtATimeUntilAnswered) {
  recordings.add(200);
  Id node = host.add(NodeType::storage);
  desk->tick();
  desk->tick();
  auto first = desk->work_for(node);
  EXPECT_THAT(first, SizeIs(kWorkPerBeat));
  EXPECT_EQ(desk->totals().open, kOpenHolds);
  auto again = desk->work_for(node);
  EXPECT_EQ(again[0].id, first[0].id);
  desk->answer(node, right(first[0], node));
  EXPECT_NE(desk->work_for(node)[0].id, first[0].id);
}

TEST_F(WorkDeskTest, AWrongOrLateHoldIsGivenAnewAndCountsForNothing) {
  recordings.add(1);
  Id node = host.add(NodeType::storage);
  desk->tick();
  NodeWork w = *given(node, Kind::hold);
  contracts::WorkAnswer wrong{w.id, {}, {}};
  EXPECT_FALSE(desk->answer(node, wrong).passed);
  EXPECT_TRUE(desk->held().empty());
  desk->tick();
  NodeWork second = *given(node, Kind::hold);
  EXPECT_NE(second.id, w.id);
  clock.advance(second.deadline_ms + 1);
  EXPECT_FALSE(desk->answer(node, right(second, node)).passed);
  desk->tick();
  NodeWork third = *given(node, Kind::hold);
  EXPECT_TRUE(desk->answer(node, right(third, node)).passed);
  EXPECT_EQ(desk->held()[node].chunks, 1u);
}

TEST_F(WorkDeskTest, AChunkIsServedOnlyToTheNodeThatIsAskedAndOnlyMeanwhile) {
  Id session = recordings.add(2);
  config.copies = 1;
  restart();
  Id node = host.add(NodeType::storage), other = host.add(NodeType::storage), validator = host.add(NodeType::validator);
  desk->tick();
  if (desk->work_for(node).empty()) std::swap(node, other);
  NodeWork w = *given(node, Kind::hold);
  EXPECT_EQ(desk->chunk(node, session, w.sequence), recordings.all.at(session)[w.sequence]);
  EXPECT_EQ(refused([&] { desk->chunk(other, session, w.sequence); }), "chunk_not_asked");
  EXPECT_EQ(refused([&] { desk->chunk(node, Id::make(clock, random), w.sequence); }), "chunk_not_asked");
  desk->answer(node, right(w, node));
  // So that a challenge cannot be answered by fetching the chunk then.
  EXPECT_EQ(refused([&] { desk->chunk(node, session, w.sequence); }), "chunk_not_asked");
  EXPECT_EQ(refused([&] { desk->chunk(validator, session, 0); }), "chunk_not_asked");  // not handed out yet
  NodeWork v = *given(validator, Kind::validate);
  EXPECT_EQ(desk->chunk(validator, session, 1), recordings.all.at(session)[1]);
  EXPECT_EQ(refused([&] { desk->chunk(validator, session, 2); }), "chunk_not_asked");
  clock.advance(v.deadline_ms + 1);
  EXPECT_EQ(refused([&] { desk->chunk(validator, session, 1); }), "chunk_not_asked");
}

TEST_F(WorkDeskTest, AChallengeIsPassedByTheDigestOfNonceAndRange) {
  recordings.add(3, 200'000);
  Id node = host.add(NodeType::storage);
  do_all(node, Kind::hold);
  NodeWork w = challenge(node);
  EXPECT_LE(w.length, kChallengeBytes);
  EXPECT_LE(w.offset + w.length, 200'002u);
  EXPECT_TRUE(desk->answer(node, right(w, node)).passed);
  EXPECT_EQ(host.passes[node], 1);
  EXPECT_TRUE(desk->answer(node, right(w, node)).passed);  // asked again: the same answer, counted once
  EXPECT_EQ(desk->answer(node, {w.id, {}, {}}).passed, true);
  EXPECT_EQ(host.passes[node], 1);
  EXPECT_EQ(host.fails[node], 0);
}

TEST_F(WorkDeskTest, AWrongAnswerLosesTheChallengeAndTheChunkIsGivenAnew) {
  recordings.add(3);
  Id node = host.add(NodeType::storage);
  do_all(node, Kind::hold);
  std::uint64_t bytes = desk->held()[node].bytes;
  NodeWork w = challenge(node);
  contracts::WorkAnswer answer = right(w, node);
  answer.digest[31] ^= 1;
  auto told = desk->answer(node, answer);
  EXPECT_FALSE(told.passed);
  EXPECT_FALSE(told.reason.empty());
  EXPECT_FALSE(desk->answer(node, right(w, node)).passed);  // the first answer counts
  EXPECT_EQ(host.fails[node], 1);
  EXPECT_EQ(desk->held()[node].chunks, 2u);
  EXPECT_LT(desk->held()[node].bytes, bytes);
  do_all(node, Kind::hold);
  EXPECT_EQ(desk->held()[node].bytes, bytes);
}

TEST_F(WorkDeskTest, AChallengeNotAnsweredInTimeIsLostFromTheMomentItWasHandedOut) {
  recordings.add(3);
  Id node = host.add(NodeType::storage);
  do_all(node, Kind::hold);
  for (int i = 0; i < 60 && desk->totals().open == 0; ++i) {
    clock.advance(config.challenge_ms / 8);
    desk->tick();
  }
  ASSERT_EQ(desk->totals().open, 1u);
  clock.advance(kChallengeDeadlineMs * 10);  // nobody came for it: the time does not run yet
  desk->tick();
  NodeWork w = *given(node, Kind::challenge);
  EXPECT_EQ(w.deadline_ms, kChallengeDeadlineMs);
  clock.advance(5'000);
  EXPECT_EQ(given(node, Kind::challenge)->deadline_ms, kChallengeDeadlineMs - 5'000);
  clock.advance(kChallengeDeadlineMs);
  EXPECT_FALSE(given(node, Kind::challenge));
  desk->tick();
  EXPECT_EQ(host.fails[node], 1);
  EXPECT_EQ(desk->held()[node].chunks, 3u);  // late is not lost
  EXPECT_EQ(desk->answer(node, right(w, node)).reason, kLateReason);
  EXPECT_EQ(host.fails[node], 1);
}

TEST_F(WorkDeskTest, WorkNobodyComesForIsTakenBackAndCountsForNothing) {
  recordings.add(1);
  Id node = host.add(NodeType::storage);
  do_all(node, Kind::hold);
  for (int i = 0; i < 60 && desk->totals().open == 0; ++i) {
    clock.advance(config.challenge_ms / 8);
    desk->tick();
  }
  host.nodes[node].state = NodeState::offline;
  clock.advance(kUnfetchedMs + 1);
  desk->tick();
  EXPECT_EQ(desk->totals().open, 0u);
  EXPECT_EQ(host.fails[node], 0);
}

TEST_F(WorkDeskTest, AnotherNodesWorkIsNotFound) {
  recordings.add(1);
  config.copies = 1;
  restart();
  Id node = host.add(NodeType::storage), other = host.add(NodeType::storage);
  do_all(node, Kind::hold);
  do_all(other, Kind::hold);
  ASSERT_THAT(desk->held(), SizeIs(1));
  Id holder = desk->held().begin()->first, stranger = holder == node ? other : node;
  NodeWork w = challenge(holder);
  EXPECT_EQ(refused([&] { desk->answer(stranger, right(w, holder)); }), "work_not_found");
  EXPECT_TRUE(desk->answer(holder, right(w, holder)).passed);
  EXPECT_EQ(refused([&] { desk->answer(stranger, right(w, holder)); }), "work_not_found");  // nor when it has ended
  EXPECT_EQ(refused([&] { desk->answer(holder, {Id::make(clock, random), {}, {}}); }), "work_not_found");
}

TEST_F(WorkDeskTest, NoNonceComesTwiceEvenFromARandomSourceThatRepeatsItself) {
  class Repeating final : public RandomSource {
   public:
    void fill(std::span<std::uint8_t> out) override {
      for (auto& b : out) b = 7;
    }
  };
  recordings.add(4);
  Id node = host.add(NodeType::storage);
  do_all(node, Kind::hold);
  Repeating repeating;
  desk = std::make_unique<Work>(*documents, host, recordings, clock, repeating, config);
  desk->load();
  std::set<Hash32> nonces;
  for (int i = 0; i < 50; ++i) {
    NodeWork w = challenge(node);
    EXPECT_TRUE(nonces.insert(w.nonce).second);
    desk->answer(node, right(w, node));
    clock.advance(config.challenge_ms);
  }
}

TEST_F(WorkDeskTest, AValidationNeedsTheRootAndTheNodesSignatureOverIt) {
  Id session = recordings.add(3);
  Id node = host.add(NodeType::validator);
  desk->tick();
  NodeWork w = *given(node, Kind::validate);
  EXPECT_EQ(w.chunks, 3u);
  EXPECT_EQ(w.session, session);
  EXPECT_TRUE(desk->answer(node, right(w, node)).passed);
  EXPECT_EQ(host.validations[node], std::vector<Id>{session});
  desk->answer(node, right(w, node));
  EXPECT_THAT(host.validations[node], SizeIs(1));
  clock.advance(3'600'000);
  desk->tick();
  EXPECT_FALSE(given(node, Kind::validate));  // once is enough
}

TEST_F(WorkDeskTest, AWrongRootOrSignatureIsRefusedAndItsValidatorNotAskedAgainAboutIt) {
  recordings.add(3);
  Id node = host.add(NodeType::validator);
  desk->tick();
  NodeWork w = *given(node, Kind::validate);
  contracts::WorkAnswer lie = right(w, node);
  lie.digest[0] ^= 1;
  lie.signature = host.keys[host.key_of[node]].sign(validation_text(w.session, lie.digest));
  EXPECT_FALSE(desk->answer(node, lie).passed);
  EXPECT_FALSE(desk->answer(node, right(w, node)).passed);
  desk->tick();
  EXPECT_FALSE(given(node, Kind::validate));
  Id second = host.add(NodeType::validator);
  desk->tick();
  NodeWork w2 = *given(second, Kind::validate);
  contracts::WorkAnswer unsigned_answer = right(w2, second);
  unsigned_answer.signature = right(w2, node).signature;  // of another node
  EXPECT_FALSE(desk->answer(second, unsigned_answer).passed);
  EXPECT_TRUE(host.validations.empty());
}

TEST_F(WorkDeskTest, OpenWorkHoldingsAndAnswersSurviveARestart) {
  recordings.add(6);
  Id node = host.add(NodeType::storage);
  desk->tick();
  auto before = desk->work_for(node);
  ASSERT_THAT(before, SizeIs(6));
  desk->answer(node, right(before[0], node));
  restart();
  EXPECT_THAT(desk->work_for(node), SizeIs(5));
  EXPECT_TRUE(desk->answer(node, right(before[0], node)).passed);
  EXPECT_EQ(desk->held()[node].chunks, 1u);
  do_all(node, Kind::hold);
  NodeWork w = challenge(node);
  restart();
  EXPECT_TRUE(desk->answer(node, right(w, node)).passed);
  EXPECT_EQ(desk->held()[node].chunks, 6u);
}

TEST_F(WorkDeskTest, AnAnswerCutShortByACrashIsCountedOnceAndAsItWasFirstJudged) {
  recordings.add(2);
  Id node = host.add(NodeType::storage);
  do_all(node, Kind::hold);
  NodeWork w = challenge(node);
  host.fail_next = true;  // the result is kept, what follows from it is not done
  EXPECT_THROW(desk->answer(node, {w.id, {}, {}}), Error);
  EXPECT_EQ(host.fails[node], 0);
  EXPECT_FALSE(desk->answer(node, right(w, node)).passed);
  EXPECT_EQ(host.fails[node], 1);

  do_all(node, Kind::hold);
  NodeWork second = challenge(node);
  host.fail_next = true;
  EXPECT_THROW(desk->answer(node, right(second, node)), Error);
  restart();
  EXPECT_EQ(host.passes[node], 1);
  EXPECT_TRUE(desk->answer(node, {second.id, {}, {}}).passed);
  EXPECT_EQ(host.passes[node], 1);
}

TEST_F(WorkDeskTest, ARecordingThatWasDeletedIsNeitherAskedForNorCounted) {
  Id session = recordings.add(2);
  Id node = host.add(NodeType::storage);
  do_all(node, Kind::hold);
  recordings.all.erase(session);
  for (int i = 0; i < 20; ++i) {
    clock.advance(config.challenge_ms / 8);
    desk->tick();
  }
  EXPECT_TRUE(desk->held().empty());
  EXPECT_EQ(host.fails[node], 0);
  restart();
  EXPECT_TRUE(desk->held().empty());
}

TEST_F(WorkDeskTest, ANodeThatIsGoneForGoodHoldsNothingAndOthersTakeOver) {
  recordings.add(2);
  config.copies = 1;
  restart();
  Id node = host.add(NodeType::storage);
  do_all(node, Kind::hold);
  Id other = host.add(NodeType::storage);
  host.nodes[node].state = NodeState::banned;
  clock.advance(20'000);
  desk->tick();
  do_all(other, Kind::hold);
  EXPECT_FALSE(desk->held().contains(node));
  EXPECT_EQ(desk->held()[other].chunks, 2u);
}

TEST_F(WorkDeskTest, AServiceThatIsAwayMakesWorkWaitAndNoNodeLose) {
  recordings.add(2);
  Id node = host.add(NodeType::storage);
  do_all(node, Kind::hold);
  recordings.away = true;
  for (int i = 0; i < 20; ++i) {
    clock.advance(config.challenge_ms / 4);
    desk->tick();
  }
  EXPECT_EQ(desk->held()[node].chunks, 2u);
  EXPECT_EQ(host.fails[node], 0);
  recordings.away = false;
  NodeWork w = challenge(node);
  EXPECT_TRUE(desk->answer(node, right(w, node)).passed);
}

TEST_F(WorkDeskTest, EveryRecordingIsFoundHoweverManyThereAre) {
  for (int i = 0; i < 95; ++i) recordings.add(1);
  for (int i = 0; i < 30; ++i) desk->tick();
  EXPECT_EQ(desk->totals().recordings, 95u);
}

TEST_F(WorkDeskTest, AnswersAreKeptForADayAndNotForGood) {
  recordings.add(1);
  Id node = host.add(NodeType::storage);
  desk->tick();
  NodeWork w = *given(node, Kind::hold);
  desk->answer(node, right(w, node));
  clock.advance(kKeptMs - 3'600'000);
  desk->tick();
  EXPECT_TRUE(desk->answer(node, right(w, node)).passed);
  clock.advance(2 * 3'600'000);
  desk->tick();
  EXPECT_EQ(refused([&] { desk->answer(node, right(w, node)); }), "work_not_found");
}

TEST(WorkRecords, ComeBackAsTheyWereAndRefuseWhatIsDamaged) {
  SystemRandom random;
  SystemClock clock;
  WorkItem item;
  item.work = {.id = Id::make(clock, random),
               .kind = Kind::challenge,
               .session = Id::make(clock, random),
               .sequence = 3,
               .offset = 4,
               .length = 5,
               .nonce = random.array<32>(),
               .chunks = 6,
               .deadline_ms = 7};
  item.node = Id::make(clock, random);
  item.bytes = 8;
  item.expected = random.array<32>();
  EXPECT_EQ(to_text(read_work_item(to_text(item))), to_text(item));
  std::string ended = to_text(item, {WorkEnd::late, "x"});
  EXPECT_EQ(to_text(read_work_item(ended)), to_text(item));
  EXPECT_EQ(read_work_result(ended).end, WorkEnd::late);
  HoldingRecord holding{5, 100, 3, 40, {1}};
  EXPECT_EQ(to_text(read_holding(to_text(holding))), to_text(holding));
  RecordingRecord recording{3, 9, random.array<32>(), {item.node}, {{item.work.id, 2}}};
  EXPECT_EQ(to_text(read_recording(to_text(recording))), to_text(recording));
  for (const char* text : {"", "{}", "[]", "{\"chunks\":-1}", "null"}) {
    EXPECT_THROW(read_work_item(text), Error);
    EXPECT_THROW(read_work_result(text), Error);
    EXPECT_THROW(read_holding(text), Error);
    EXPECT_THROW(read_recording(text), Error);
  }
  EXPECT_THROW(read_holding("{\"chunks\":1,\"total_bytes\":1,\"next\":1,\"bytes\":1,\"missing\":[1]}"), Error);
}

}  // namespace
}  // namespace lucid::node_management
