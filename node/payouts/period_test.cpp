// The worked examples of docs/services/node-management/scores.md stand here with the same numbers.
#include "node/payouts/period.hpp"

#include <gtest/gtest.h>

#include "lib/base/json.hpp"
#include "node/payouts/statement.hpp"
#include "node/poot/rank.hpp"
#include "node/poot/test_receipts.hpp"

namespace lucid::payouts {
namespace {

using poot::numbered;

constexpr Micros kUnit = kMicrosPerUnit;

// A node of `credits` in the one epoch of the period, always up.
poot::NodeScores worked(std::uint32_t node, std::uint64_t credits, std::uint32_t slots_up = poot::kSlotsPerWindow) {
  poot::EpochScore score{
      .epoch = 1056, .own = {.hosting = credits, .storage = 0, .validation = 0}, .credits = credits, .slots_up = slots_up};
  return {numbered(node), {score}};
}
Period period(Micros budget) {
  Period period;
  period.id = "2026-11-22";
  period.first = period.last = 1056;
  period.budget = budget;
  return period;
}
std::string code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) { return error.code(); }
  return "";
}

TEST(Shares, GoByLargestRemainder) {
  Statement statement = close_period(period(1000 * kUnit), {worked(1, 3), worked(2, 2), worked(3, 2)}, {});
  // 1000 · 3/7 = 428.571428|57, 1000 · 2/7 = 285.714285|71: the floors leave two micro-units, for the two larger remainders.
  EXPECT_EQ(statement.lines[0].share, 428'571'428);
  EXPECT_EQ(statement.lines[1].share, 285'714'286);
  EXPECT_EQ(statement.lines[2].share, 285'714'286);
  EXPECT_FALSE(statement.lines[0].rounded_up);
  EXPECT_TRUE(statement.lines[1].rounded_up);
  EXPECT_EQ(statement.live, "35280");
  EXPECT_EQ(statement.totals.share, 1000 * kUnit);
}

TEST(Shares, OfEqualRemaindersAreSettledByTheTieBreakOfTheLog) {
  Period one = period(10'000'001);
  one.policy.threshold = 1;
  std::set<std::uint32_t> lucky;
  for (std::uint8_t root = 0; root < 8; ++root) {
    one.log_root[0] = root;
    Statement statement = close_period(one, {worked(1, 1), worked(2, 1)}, {});
    bool first = poot::tie_break(1056, one.log_root, numbered(1)) < poot::tie_break(1056, one.log_root, numbered(2));
    EXPECT_EQ(statement.lines[first ? 0 : 1].share, 5'000'001);
    lucky.insert(first ? 1 : 2);
  }
  EXPECT_EQ(lucky.size(), 2u);
}

TEST(Lines, WithholdThenTakeTheFeeRoundedDownAndPayTheRest) {
  Period one = period(1000 * kUnit);
  one.policy.withheld = {1, 4};
  Statement statement = close_period(one, {worked(1, 3), worked(2, 2), worked(3, 2)}, {});
  const Line& line = statement.lines[0];
  EXPECT_EQ(line.withheld, 107'142'857);  // 428.571428 / 4
  EXPECT_EQ(line.fee, 3'214'285);         // (428.571428 - 107.142857) / 100 = 3.21428571
  EXPECT_EQ(line.due, 318'214'286);
  EXPECT_EQ(line.payments, std::vector<Micros>{318'214'286});
  EXPECT_EQ(line.withheld_out, 107'142'857);
  EXPECT_TRUE(statement.balanced());
}

TEST(Lines, BelowTheThresholdAreCarriedUntilTheyReachIt) {
  Statement first = close_period(period(6 * kUnit), {worked(1, 1)}, {});
  EXPECT_EQ(first.lines[0].outcome, Outcome::below_threshold);
  EXPECT_EQ(first.lines[0].carried_out, 5'940'000);
  Statement second = close_period(period(6 * kUnit), {worked(1, 1)}, accounts_after(first));
  EXPECT_EQ(second.lines[0].fee, 60'000);  // of the new share alone: what was carried has paid its fee
  EXPECT_EQ(second.lines[0].payments, std::vector<Micros>{11'880'000});
  EXPECT_TRUE(accounts_after(second).empty());
  EXPECT_EQ(close_period(period(10'101'010), {worked(1, 1)}, {}).lines[0].outcome, Outcome::paid);  // 10.101010 - 0.101010 = 10.000000
  EXPECT_EQ(close_period(period(10'101'009), {worked(1, 1)}, {}).lines[0].carried_out, 9'999'999);
}

TEST(Lines, AboveTheSplitBecomeSeveralPayments) {
  Period one = period(25'000 * kUnit);
  one.policy.fee = {0, 1};
  EXPECT_EQ(close_period(one, {worked(1, 1)}, {}).lines[0].payments, (std::vector<Micros>{10'000 * kUnit, 10'000 * kUnit, 5'000 * kUnit}));
  one.budget = 10'000 * kUnit;
  EXPECT_EQ(close_period(one, {worked(1, 1)}, {}).lines[0].payments.size(), 1u);
  one.budget = 10'000 * kUnit + 1;
  EXPECT_EQ(close_period(one, {worked(1, 1)}, {}).lines[0].payments, (std::vector<Micros>{10'000 * kUnit, 1}));
  one.policy.minimum = 2;  // a rest below the minimum waits
  Line line = close_period(one, {worked(1, 1)}, {}).lines[0];
  EXPECT_EQ(line.payments, std::vector<Micros>{10'000 * kUnit});
  EXPECT_EQ(line.carried_out, 1);
}

TEST(Budget, WithoutAnEligibleNodeIsCarriedOverAndSaidSo) {
  // One node did nothing, one was up too little, one is banned.
  std::vector<Account> banned = {{.node = numbered(3), .standing = Standing::banned, .carried_in = 0, .withheld_in = 0}};
  Statement statement = close_period(period(50 * kUnit), {worked(1, 0), worked(2, 9, 1007), worked(3, 9)}, banned);
  EXPECT_EQ(statement.budget_carried_out, 50 * kUnit);
  EXPECT_EQ(statement.totals.share, 0);
  EXPECT_NE(to_json_text(statement).find("no node is eligible: the whole budget is carried over to the next period"), std::string::npos);
  Period next = period(50 * kUnit);
  next.budget_carried_in = statement.budget_carried_out;
  Statement after = close_period(next, {worked(1, 1)}, {});
  EXPECT_EQ(after.lines[0].share, 100 * kUnit);
  EXPECT_EQ(after.budget_carried_out, 0);
  EXPECT_EQ(close_period(period(50 * kUnit), std::vector<poot::NodeScores>{}, {}).budget_carried_out, 50 * kUnit);
}

TEST(StorjTrap, ANodeThatLeftGetsItsWithheldPartThoughItIsOfflineAndDidNothing) {
  Period one = period(100 * kUnit);
  one.policy.withheld = {1, 2};
  Statement first = close_period(one, {worked(1, 1), worked(2, 1)}, {});
  EXPECT_EQ(first.lines[0].withheld_out, 25 * kUnit);
  // Node 1 is retired and away: no receipt, no score, nobody eligible even.
  std::vector<Account> accounts = accounts_after(first);
  ASSERT_EQ(accounts.size(), 2u);
  accounts[0].standing = Standing::left;
  for (bool others : {true, false}) {
    Statement second = close_period(one, others ? std::vector{worked(2, 1)} : std::vector<poot::NodeScores>{}, accounts);
    const Line& line = second.lines[0];
    EXPECT_EQ(line.node, numbered(1));
    EXPECT_EQ(line.released, 25 * kUnit);
    EXPECT_EQ(line.fee, 250'000);
    EXPECT_EQ(line.payments, std::vector<Micros>{24'750'000});
    EXPECT_EQ(line.withheld_out, 0);
    EXPECT_EQ(second.lines[1].released, 0) << "who stays has it kept";
  }
}

TEST(StorjTrap, ANodeThatLeftIsPaidEvenBelowTheThreshold) {
  std::vector<Account> left = {{.node = numbered(1), .standing = Standing::left, .carried_in = 3, .withheld_in = 2}};
  Statement statement = close_period(period(kUnit), std::vector<poot::NodeScores>{}, left);
  EXPECT_EQ(statement.lines[0].payments, std::vector<Micros>{5});
  // In the period in which it works and leaves nothing is withheld from it.
  Period one = period(kUnit);
  one.policy.withheld = {1, 2};
  Statement last = close_period(one, {worked(1, 1)}, left);
  EXPECT_EQ(last.lines[0].withheld, 0);
  EXPECT_EQ(last.lines[0].paid(), 990'005);  // 3 + 1.000000 + 2 - floor(1.000002 / 100)
}

TEST(StorjTrap, ANodeThatIsOnlyOfflineKeepsWhatItIsOwed) {
  std::vector<Account> away = {{.node = numbered(1), .standing = Standing::member, .carried_in = 3 * kUnit, .withheld_in = 7 * kUnit}};
  Statement statement = close_period(period(kUnit), {worked(2, 1)}, away);
  EXPECT_EQ(statement.lines[0].carried_out, 3 * kUnit);
  EXPECT_EQ(statement.lines[0].withheld_out, 7 * kUnit);
}

TEST(Banned, NodesHaveNoShareAndLoseNothing) {
  std::vector<Account> accounts = {{.node = numbered(1), .standing = Standing::banned, .carried_in = 30 * kUnit, .withheld_in = 7 * kUnit}};
  Statement statement = close_period(period(20 * kUnit), {worked(1, 9), worked(2, 1)}, accounts);
  EXPECT_EQ(statement.lines[0].share, 0);
  EXPECT_EQ(statement.lines[0].outcome, Outcome::banned);
  EXPECT_TRUE(statement.lines[0].payments.empty());
  EXPECT_EQ(statement.lines[0].carried_out, 30 * kUnit);
  EXPECT_EQ(statement.lines[0].withheld_out, 7 * kUnit);
  EXPECT_EQ(statement.lines[1].share, 20 * kUnit);
}

TEST(ClosingAPeriod, RefusesWhatIsOutOfBounds) {
  auto closing = [](auto change, std::vector<poot::NodeScores> scores = {worked(1, 1)}, std::vector<Account> accounts = {}) {
    Period one = period(kUnit);
    change(one);
    return code_of([&] { close_period(one, scores, accounts); });
  };
  auto same = [](Period&) {};
  EXPECT_EQ(closing(same), "");
  EXPECT_EQ(closing([](Period& p) { p.budget = 0; }), "amount_zero");
  EXPECT_EQ(closing([](Period& p) { p.budget = -1; }), "amount_negative");
  EXPECT_EQ(closing([](Period& p) { p.budget = kMaxMicros + 1; }), "amount_too_large");
  EXPECT_EQ(closing([](Period& p) { p.budget_carried_in = -1; }), "amount_negative");
  EXPECT_EQ(closing([](Period& p) { p.budget_carried_in = kMaxMicros; }), "amount_too_large");  // with the budget
  EXPECT_EQ(closing([](Period& p) { p.id = "A"; }), "period_invalid");
  EXPECT_EQ(closing([](Period& p) { p.id = ""; }), "period_invalid");
  EXPECT_EQ(closing([](Period& p) { p.first = p.last + 1; }), "period_invalid");
  EXPECT_EQ(closing([](Period& p) { p.first = p.last - 366; }), "period_invalid");
  EXPECT_EQ(closing([](Period& p) { p.first = p.last - 1; }), "scores_invalid");
  for (auto change : std::vector<std::function<void(Policy&)>>{
           [](Policy& p) { p.minimum = 0; }, [](Policy& p) { p.minimum = p.threshold + 1; },
           [](Policy& p) { p.split_above = p.threshold - 1; }, [](Policy& p) { p.split_above = kMaxMicros + 1; },
           [](Policy& p) { p.fee = {2, 1}; }, [](Policy& p) { p.fee = {0, 0}; }, [](Policy& p) { p.withheld = {1, 1'000'001}; }})
    EXPECT_EQ(closing([&](Period& p) { change(p.policy); }), "policy_invalid");
  EXPECT_EQ(closing([](Period& p) { p.budget = kMaxMicros, p.policy = {.threshold = 1, .split_above = 1}; }), "policy_invalid");
  EXPECT_EQ(closing(same, {worked(1, 1), worked(1, 1)}), "scores_invalid");
  EXPECT_EQ(closing(same, {worked(1, 1, 5041)}), "scores_invalid");
  EXPECT_EQ(closing(same, {worked(1, std::uint64_t{1} << 42)}), "scores_invalid");
  EXPECT_EQ(closing(same, {}, {{.node = numbered(1)}, {.node = numbered(1)}}), "accounts_invalid");
  EXPECT_EQ(closing(same, {}, {{.node = Id()}}), "accounts_invalid");
  EXPECT_EQ(closing(same, {}, {{.node = numbered(1), .carried_in = -1}}), "amount_negative");
  EXPECT_EQ(closing(same, {}, {{.node = numbered(1), .withheld_in = kMaxMicros + 1}}), "amount_too_large");
  EXPECT_EQ(closing(same, {}, {{.node = numbered(1), .withheld_in = kMaxMicros}}), "amount_too_large");  // with the budget
}

TEST(ClosingAPeriod, OfTheLargestAmountsStaysExact) {
  Period one = period(kMaxMicros);
  one.policy.fee = {999'999, 1'000'000};
  Statement statement = close_period(one, {worked(1, std::uint64_t{1} << 41), worked(2, (std::uint64_t{1} << 41) - 1), worked(3, 1)}, {});
  EXPECT_TRUE(statement.balanced());
  EXPECT_EQ(statement.totals.share, kMaxMicros);
}

TEST(Statement, IsTheSameBytesAsEverAndReadsAsJson) {
  Period one = period(1000 * kUnit);
  one.policy.withheld = {1, 4};
  std::vector<Account> accounts = {
      {.node = numbered(4), .standing = Standing::left, .carried_in = 5, .withheld_in = 12'000 * kUnit},
      {.node = numbered(5), .standing = Standing::banned, .carried_in = kUnit, .withheld_in = 0},
      {.node = numbered(6), .standing = Standing::member, .carried_in = kUnit, .withheld_in = 2 * kUnit},
  };
  Statement statement = close_period(one, {worked(3, 2), worked(2, 2), worked(1, 3), worked(5, 7)}, accounts);
  std::string text = to_json_text(statement);
  poot::expect_golden("statement/v1/statement.json", as_bytes(text));
  auto parsed = parse_json(text);
  ASSERT_TRUE(parsed) << parsed.error().what();
  const auto& lines = parsed->at("lines").as_array();
  ASSERT_EQ(lines.size(), 6u);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(json::serialize(lines[i]), to_json_text(statement.lines[i], statement));
    for (const char* formula :
         {"share_formula", "withheld_formula", "released_formula", "withheld_out_formula", "fee_formula", "due_formula"})
      EXPECT_FALSE(lines[i].at(formula).as_string().empty());
  }
  EXPECT_EQ(lines[1].at("share_formula").as_string(), "floor(1000.000000 * 10080 / 35280) + 0.000001");
  EXPECT_EQ(to_hex(digest("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");  // FIPS 180-4
}

}  // namespace
}  // namespace lucid::payouts
