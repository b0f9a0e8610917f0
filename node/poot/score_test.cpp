// The worked examples of docs/services/node-management/scores.md stand here with the same numbers.
#include "node/poot/score.hpp"

#include <gtest/gtest.h>

#include "node/poot/rank.hpp"
#include "node/poot/test_receipts.hpp"

namespace lucid::poot {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kGiB = 1u << 30;
constexpr Epoch kScoredEpoch = 1056;
const Id kNode = numbered(1);

std::string code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) { return error.code(); }
  return "";
}

TEST(HostingCredits, AreTheLargerOfSessionsAndFiveMiBParts) {
  EXPECT_EQ(hosting_credits({0, 3, 12 * kMiB}), 3u);  // ceil(2.4) = 3
  EXPECT_EQ(hosting_credits({0, 2, 12 * kMiB}), 3u);
  EXPECT_EQ(hosting_credits({0, 4, 12 * kMiB}), 4u);
  EXPECT_EQ(hosting_credits({0, 4, 0}), 0u);  // nothing committed: nothing earned
  EXPECT_EQ(hosting_credits({0, 1, 1}), 1u);
  EXPECT_EQ(hosting_credits({0, 1, 5 * kMiB}), 1u);
  EXPECT_EQ(hosting_credits({0, 1, 5 * kMiB + 1}), 2u);
  EXPECT_EQ(hosting_credits({0, 1, kMaxBytes}), 1'717'986'919u);  // ceil(2^53 / 5 MiB)
}

TEST(StorageCredits, AreScaledByTheShareOfChallengesPassed) {
  EXPECT_EQ(storage_credits({.bytes = 3 * kGiB + kGiB / 4, .chunks = 700, .asked = 24, .passed = 24}), 1432u);  // 32 + 1400
  EXPECT_EQ(storage_credits({.bytes = 3 * kGiB + kGiB / 4, .chunks = 700, .asked = 24, .passed = 23}), 1372u);  // 1432 · 23 / 24 = 1372.33
  EXPECT_EQ(storage_credits({.bytes = 3 * kGiB, .chunks = 700, .asked = 24, .passed = 0}), 0u);
  EXPECT_EQ(storage_credits({.bytes = 3 * kGiB, .chunks = 700, .asked = 0, .passed = 0}), 0u);  // never asked: nothing shown
  EXPECT_EQ(storage_credits({.bytes = kMaxBytes, .chunks = 0xffffffff, .asked = kMaxAsked, .passed = kMaxAsked}),
            83'886'080u + 2ull * 0xffffffff);
}

TEST(Validation, CountsASessionOnceForANodeInSevenEpochs) {
  std::vector<Receipt> receipts = {validation(kScoredEpoch, kNode, {session(1), session(2)}),
                                   validation(kScoredEpoch + 3, kNode, {session(1), session(3)}),
                                   validation(kScoredEpoch + 9, kNode, {session(1)}), validation(kScoredEpoch + 16, kNode, {session(1)}),
                                   validation(kScoredEpoch + 3, numbered(2), {session(1)})};
  NodeScores scores = score_node(kNode, kScoredEpoch, kScoredEpoch + 16, receipts);
  EXPECT_EQ(scores.epochs[0].own.validation, 10u);
  EXPECT_EQ(scores.epochs[3].own.validation, 5u);   // session 1 counted three epochs before
  EXPECT_EQ(scores.epochs[9].own.validation, 0u);   // and is named six epochs before, though it did not count then
  EXPECT_EQ(scores.epochs[16].own.validation, 5u);  // seven epochs before lies outside the window
  EXPECT_EQ(scores.epochs[3].credits, 15u);         // three sessions in the window
  EXPECT_EQ(scores.epochs[6].credits, 15u);
  EXPECT_EQ(scores.epochs[7].credits, 10u);  // session 2 has left the window, session 1 is still named by epoch + 3
  EXPECT_EQ(scores.epochs[9].credits, 10u);
  EXPECT_EQ(scores.epochs[10].credits, 5u);
  EXPECT_EQ(score_node(numbered(2), kScoredEpoch + 3, kScoredEpoch + 3, receipts).epochs[0].own.validation, 5u);  // once for each node
}

TEST(Live, IsCreditsTimesUptimeOfTheWindow) {
  // Up five of seven days; 100 slots of 2 credits on the last of them.
  std::vector<Receipt> receipts;
  for (Epoch e = kScoredEpoch - 4; e <= kScoredEpoch; ++e) receipts.push_back(all_up(e, kNode));
  std::vector<HostingSlot> slots;
  for (std::uint16_t s = 0; s < 100; ++s) slots.push_back({s, 2, kMiB});
  receipts.push_back(hosting(kScoredEpoch, kNode, slots));
  EpochScore score = score_node(kNode, kScoredEpoch, kScoredEpoch, receipts).epochs.at(0);
  EXPECT_EQ(score.credits, 200u);
  EXPECT_EQ(score.slots_up, 3600u);
  EXPECT_TRUE(score.admitted());
  EXPECT_EQ(score.live(), 720'000u);  // 200 · 3600 / 5040 = 142.86
}

TEST(Admission, TakesCreditsAndAFifthOfTheWindow) {
  auto score_with = [](std::uint32_t last_day_slots, bool work) {
    std::vector<Receipt> receipts = {all_up(kScoredEpoch - 1, kNode)};
    if (last_day_slots > 0) receipts.push_back(up(kScoredEpoch, kNode, 0, last_day_slots));
    if (work) receipts.push_back(hosting(kScoredEpoch, kNode, {{0, 1, 1}}));
    return score_node(kNode, kScoredEpoch, kScoredEpoch, receipts).epochs.at(0);
  };
  EXPECT_TRUE(score_with(288, true).admitted());  // 1008 of 5040 is 0.2
  EXPECT_FALSE(score_with(287, true).admitted());
  EXPECT_FALSE(score_with(720, false).admitted());
  EXPECT_EQ(score_with(287, true).earned(), 0u);
  EXPECT_EQ(score_with(288, true).earned(), 1008u);
}

TEST(PeriodLive, CountsEachEpochsWorkOnceAtTheUptimeOfThatDay) {
  // One credit a day for three days by a node that begins on the first: uptime 1/7 (not admitted), 2/7, 3/7.
  std::vector<Receipt> receipts;
  for (Epoch e = kScoredEpoch; e < kScoredEpoch + 3; ++e) {
    receipts.push_back(all_up(e, kNode));
    receipts.push_back(hosting(e, kNode, {{0, 1, 1}}));
  }
  NodeScores scores = score_node(kNode, kScoredEpoch, kScoredEpoch + 2, receipts);
  EXPECT_EQ(scores.epochs[0].earned(), 0u);
  EXPECT_EQ(scores.epochs[1].earned(), 1440u);
  EXPECT_EQ(scores.epochs[2].earned(), 2160u);
  EXPECT_EQ(scores.live(), 3600u);
  // What it did before and after a period is of other periods.
  EXPECT_EQ(score_node(kNode, kScoredEpoch + 2, kScoredEpoch + 2, receipts).live(), 2160u);
}

TEST(Scores, AreTheSameForExactDuplicatesAndRefusedForConflicts) {
  std::vector<Receipt> receipts = {all_up(kScoredEpoch, kNode), hosting(kScoredEpoch, kNode, {{0, 1, 1}}),
                                   hosting(kScoredEpoch, kNode, {{0, 1, 1}})};
  NodeScores once = score_node(kNode, kScoredEpoch, kScoredEpoch, std::span(receipts).first(2));
  EXPECT_EQ(score_node(kNode, kScoredEpoch, kScoredEpoch, receipts), once);
  receipts[2] = hosting(kScoredEpoch, kNode, {{0, 1, 2}});  // worth the same, and yet another receipt
  EXPECT_EQ(code_of([&] { score(kScoredEpoch, kScoredEpoch, receipts); }), "receipts_conflict");
  std::swap(receipts[1], receipts[2]);
  EXPECT_EQ(code_of([&] { score(kScoredEpoch, kScoredEpoch, receipts); }), "receipts_conflict");
  EXPECT_NO_THROW(score(kScoredEpoch + 7, kScoredEpoch + 7, receipts));  // not of this window
}

TEST(Scores, TakeNoNoticeOfReceiptsBeforeAndAfterTheirWindow) {
  std::vector<Receipt> receipts = {all_up(kScoredEpoch, kNode), hosting(kScoredEpoch, kNode, {{0, 1, 1}})};
  auto before = tally(kScoredEpoch, {}, receipts);
  receipts.push_back(hosting(kScoredEpoch + 1, kNode, {{0, 9, 9}}));        // dated in the future
  receipts.push_back(hosting(kScoredEpoch - 7, numbered(2), {{0, 9, 9}}));  // older than the window
  EXPECT_EQ(tally(kScoredEpoch, {}, receipts), before);
  receipts.push_back(hosting(kScoredEpoch + 1, kNode, {{0, 8, 8}}));  // not even when two of them differ
  EXPECT_EQ(tally(kScoredEpoch, {}, receipts), before);
  EXPECT_NO_THROW(score_node(kNode, kScoredEpoch, kScoredEpoch, receipts));
  EXPECT_EQ(code_of([&] { score_node(kNode, kScoredEpoch, kScoredEpoch + 1, receipts); }), "receipts_conflict");
}

TEST(Scores, RefuseReceiptsAndEpochsOutOfBounds) {
  EXPECT_EQ(code_of([&] { score(kScoredEpoch, kScoredEpoch, std::vector<Receipt>{hosting(kScoredEpoch, kNode, {{0, 0, 1}})}); }),
            "receipt_invalid");
  EXPECT_EQ(code_of([&] { score(2, 1, {}); }), "epochs_invalid");
  EXPECT_EQ(code_of([&] { score(0, 366, {}); }), "epochs_invalid");
  EXPECT_EQ(code_of([&] { score(0, kMaxEpoch + 1, {}); }), "epochs_invalid");
  EXPECT_NO_THROW(score(0, 365, {}));
}

TEST(Scores, OfTheLargestReceiptsDoNotOverflow) {
  std::vector<HostingSlot> slots;
  for (std::uint16_t s = 0; s < kSlotsPerEpoch; ++s) slots.push_back({s, kMaxSessionsPerSlot, kMaxBytes});
  std::vector<Receipt> receipts;
  for (Epoch e = 0; e < kMaxEpochsAtOnce; ++e) {
    receipts.push_back(hosting(e, kNode, slots));
    receipts.push_back(all_up(e, kNode));
    receipts.push_back(storage(e, kNode, {.bytes = kMaxBytes, .chunks = 0xffffffff, .asked = 1, .passed = 1}));
  }
  NodeScores scores = score_node(kNode, 0, kMaxEpochsAtOnce - 1, receipts);
  unsigned __int128 live = 0;
  for (std::size_t e = 0; e < kMaxEpochsAtOnce; ++e) {
    std::uint64_t slots_up = std::min<std::uint64_t>(e + 1, 7) * 720;
    if (slots_up >= kAdmittedFromSlots) live += static_cast<unsigned __int128>(scores.epochs[e].own.sum()) * slots_up;
    EXPECT_EQ(scores.epochs[e].slots_up, slots_up);
  }
  EXPECT_LT(live, static_cast<unsigned __int128>(1) << 63);
  EXPECT_EQ(scores.live(), static_cast<std::uint64_t>(live));
}

TEST(Ranks, GoByLiveThenByTheTieBreak) {
  std::vector<Receipt> receipts;
  for (std::uint32_t n : {1u, 2u, 3u, 4u, 5u}) {
    for (Epoch e = kScoredEpoch - 1; e <= kScoredEpoch; ++e) receipts.push_back(all_up(e, numbered(n)));
    if (n != 5) receipts.push_back(hosting(kScoredEpoch, numbered(n), {{0, n == 4 ? 2u : 1u, 1}}));  // 4 did most, 5 nothing
  }
  Hash32 root{};
  root[0] = 0xab;
  auto tallies = tally(kScoredEpoch, root, receipts);
  ASSERT_EQ(tallies.size(), 5u);
  EXPECT_EQ(tallies[0].node, numbered(4));
  EXPECT_EQ(tallies[4].node, numbered(5));
  EXPECT_EQ(tallies[4].rank, 0u);
  for (std::uint32_t i = 0; i < 4; ++i) EXPECT_EQ(tallies[i].rank, i + 1);
  EXPECT_LT(tie_break(kScoredEpoch, root, tallies[1].node), tie_break(kScoredEpoch, root, tallies[2].node));
  EXPECT_LT(tie_break(kScoredEpoch, root, tallies[2].node), tie_break(kScoredEpoch, root, tallies[3].node));
  // Computed by: printf '%s' <hex> | xxd -r -p | sha256sum over 2004000000000000 ‖ ab00…00 ‖ the node id.
  EXPECT_EQ(to_hex(tie_break(kScoredEpoch, root, numbered(1))), "37a09d4fb7727409d6b860e2796b58d96ba7f2a9031eeefd67b2f36928e500b3");
}

}  // namespace
}  // namespace lucid::poot
