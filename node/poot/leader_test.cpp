#include "node/poot/leader.hpp"

#include <set>

#include <gtest/gtest.h>

#include "node/poot/test_receipts.hpp"

namespace lucid::poot {
namespace {

constexpr Epoch kEpoch = 1057;

// Nodes 1…n, ranked in that order.
std::vector<Tally> ranked(std::uint32_t n, std::uint32_t not_admitted = 0) {
  std::vector<Tally> tally;
  for (std::uint32_t i = 1; i <= n + not_admitted; ++i) {
    EpochScore score{.epoch = kEpoch - 1, .own = {}, .credits = 1000 - i, .slots_up = i <= n ? 5040u : 0u};
    tally.push_back({.node = numbered(i), .score = score, .rank = i <= n ? i : 0});
  }
  return tally;
}
const WasUp kAllUp = [](const Id&, Slot) { return true; };

TEST(Leader, IsTheBestRankThatDidNotLeadTheLastSixteenSlots) {
  auto leaders = leaders_of_epoch(kEpoch, ranked(20), {}, kAllUp);
  ASSERT_EQ(leaders.size(), kSlotsPerEpoch);
  for (std::uint32_t s = 0; s < kSlotsPerEpoch; ++s) {
    EXPECT_EQ(leaders[s].slot, first_slot(kEpoch) + s);
    EXPECT_EQ(leaders[s].rank, s % 17 + 1);  // after 16 others the best may lead again; ranks 18–20 never need to
    EXPECT_EQ(leaders[s].reason, LeaderReason::leads);
  }
  EXPECT_EQ(leaders[2].text(), "rank 3: 2 of better rank led one of the last 16 slots");
}

TEST(Leader, FallsBackFiveTimesAndNoFurther) {
  auto up_from = [](std::uint32_t first) { return [first](const Id& node, Slot) { return node >= numbered(first); }; };
  Leader sixth = leader_of(first_slot(kEpoch), ranked(20), {}, up_from(6));
  EXPECT_EQ(sixth.node, numbered(6));
  EXPECT_EQ(sixth.reason, LeaderReason::fell_back);
  EXPECT_EQ(sixth.fall_backs, 5u);
  EXPECT_EQ(sixth.text(), "rank 6: 0 of better rank led one of the last 16 slots, 5 before it were not up");
  Leader seventh = leader_of(first_slot(kEpoch), ranked(20), {}, up_from(7));
  EXPECT_EQ(seventh.node, std::nullopt);
  EXPECT_EQ(seventh.reason, LeaderReason::missed_none_up);
  EXPECT_EQ(seventh.fall_backs, 6u);
  EXPECT_EQ(seventh.text(),
            "missed: the first choice and every fall-back (6 nodes) were not up; 0 of better rank led one of the last 16 slots");
}

TEST(Leader, IsMissedWithAReason) {
  EXPECT_EQ(leader_of(first_slot(kEpoch), {}, {}, kAllUp).reason, LeaderReason::missed_no_node);
  EXPECT_EQ(leader_of(first_slot(kEpoch), ranked(0, 3), {}, kAllUp).reason, LeaderReason::missed_no_node);
  // Three nodes lead three slots of every seventeen.
  auto leaders = leaders_of_epoch(kEpoch, ranked(3), {}, kAllUp);
  for (std::uint32_t s = 0; s < kSlotsPerEpoch; ++s) {
    EXPECT_EQ(leaders[s].node.has_value(), s % 17 < 3) << s;
    if (s % 17 >= 3) { EXPECT_EQ(leaders[s].reason, LeaderReason::missed_all_rested); }
  }
  EXPECT_EQ(leaders[3].text(), "missed: every admitted node (3) led one of the last 16 slots");
}

TEST(Leader, RestsAcrossTheEndOfAnEpoch) {
  auto first = leaders_of_epoch(kEpoch, ranked(20), {}, kAllUp);
  auto second = leaders_of_epoch(kEpoch + 1, ranked(20), first, kAllUp);
  EXPECT_EQ(second[0].rank, 720u % 17 + 1);
  std::vector<Leader> shuffled(first.end() - 16, first.end());
  Random(1).shuffle(shuffled);
  EXPECT_EQ(leaders_of_epoch(kEpoch + 1, ranked(20), shuffled, kAllUp), second);
  // The next day's ranks are other ones: whoever led 16 slots ago is now the best and still rests.
  auto other = ranked(20);
  std::swap(other[0].node, other[(720 - 16) % 17].node);
  auto third = leaders_of_epoch(kEpoch + 1, other, first, kAllUp);
  EXPECT_EQ(first[720 - 16].node, other[0].node);
  EXPECT_EQ(third[0].rank, 7u);
  EXPECT_EQ(third[1].rank, 1u);
}

TEST(LeaderSchedule, HoldsItsRulesForRandomUptimesAndIsTheSameSlotBySlot) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Random random(seed);
    std::uint32_t nodes = static_cast<std::uint32_t>(random.from_to(1, 40));
    std::vector<Receipt> receipts;
    for (std::uint32_t n = 1; n <= nodes; ++n) {
      Uptime uptime;
      std::uint64_t often = random.from_to(1, 4);
      for (std::uint32_t s = 0; s < kSlotsPerEpoch; ++s)
        if (random.below(4) < often) uptime.set(s);
      receipts.push_back({kEpoch, numbered(n), uptime});
    }
    random.shuffle(receipts);
    WasUp was_up = up_by_receipts(receipts);
    auto tally = ranked(nodes, 2);
    auto leaders = leaders_of_epoch(kEpoch, tally, {}, was_up);
    std::vector<Leader> so_far;
    for (const Leader& leader : leaders) {
      ASSERT_EQ(leader_of(leader.slot, tally, so_far, was_up), leader);
      std::set<Id> resting;
      for (const Leader& one : so_far)
        if (one.node && leader.slot - one.slot <= kRestSlots) resting.insert(*one.node);
      // The rule again, told the other way: the first six that need no rest, of which the first that is up leads.
      std::vector<Id> choices;
      for (std::uint32_t n = 1; n <= nodes && choices.size() < 6; ++n)
        if (!resting.contains(numbered(n))) choices.push_back(numbered(n));
      auto chosen = std::ranges::find_if(choices, [&](const Id& node) { return was_up(node, leader.slot); });
      ASSERT_EQ(leader.node.has_value(), chosen != choices.end());
      if (leader.node) {
        ASSERT_EQ(*leader.node, *chosen);
        ASSERT_EQ(leader.fall_backs, chosen - choices.begin());
      }
      so_far.push_back(leader);
    }
  }
}

TEST(UpByReceipts, RefusesTwoAnswers) {
  std::vector<Receipt> receipts = {up(kEpoch, numbered(1), 3, 1), up(kEpoch, numbered(1), 3, 1)};
  WasUp was_up = up_by_receipts(receipts);
  EXPECT_TRUE(was_up(numbered(1), first_slot(kEpoch) + 3));
  EXPECT_FALSE(was_up(numbered(1), first_slot(kEpoch) + 4));
  EXPECT_FALSE(was_up(numbered(2), first_slot(kEpoch) + 3));
  receipts[1] = up(kEpoch, numbered(1), 4, 1);
  EXPECT_THROW(up_by_receipts(receipts), Error);
}

}  // namespace
}  // namespace lucid::poot
