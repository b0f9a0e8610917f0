// What must hold for every period, tried on thousands of seeded random ones. The bounds on splitting a node are those
// docs/services/node-management/scores.md derives.
#include <gtest/gtest.h>

#include "node/payouts/statement.hpp"
#include "node/payouts/test_period.hpp"
#include "node/poot/rank.hpp"

namespace lucid::payouts {
namespace {

using poot::numbered;
using poot::Random;
using Wide = unsigned __int128;

constexpr std::uint64_t kPeriods = 3000;

TEST(RandomPeriods, ConserveEverySumExactly) {
  std::uint64_t shared = 0, carried_whole = 0, paid_left = 0, split = 0;
  for (std::uint64_t seed = 1; seed <= kPeriods; ++seed) {
    SCOPED_TRACE(seed);
    RandomPeriod made = random_period(seed);
    Statement statement = close_period(made.period, made.receipts, made.accounts);
    const Policy& policy = made.period.policy;
    __int128 in = made.period.budget + made.period.budget_carried_in, out = statement.budget_carried_out, share = 0;
    for (const Account& account : made.accounts) in += account.carried_in + account.withheld_in;
    for (const Line& line : statement.lines) {
      Micros paid = 0;
      for (Micros payment : line.payments) {
        ASSERT_GE(payment, policy.minimum);
        ASSERT_LE(payment, policy.split_above);
        paid += payment;
      }
      for (Micros amount : {line.share, line.withheld, line.released, line.fee, line.due, line.carried_out, line.withheld_out})
        ASSERT_GE(amount, 0);
      ASSERT_EQ(line.carried_in + line.withheld_in + line.share, paid + line.carried_out + line.withheld_out + line.fee);
      if (line.standing == Standing::left) {
        ASSERT_EQ(line.withheld_out, 0);
        ASSERT_LT(line.carried_out, policy.minimum) << "who left is owed no more than a rest nobody can pay";
        paid_left += paid > 0;
      }
      if (line.standing == Standing::banned) { ASSERT_EQ(paid, 0); }
      if (line.standing == Standing::member && line.due >= policy.threshold) { ASSERT_GT(paid, 0); }
      split += line.payments.size() > 1;
      out += paid + line.carried_out + line.withheld_out + line.fee;
      share += line.share;
    }
    ASSERT_TRUE(in == out);
    ASSERT_TRUE(share + statement.budget_carried_out == made.period.budget + made.period.budget_carried_in);
    ASSERT_TRUE(statement.live == "0" ? share == 0 : statement.budget_carried_out == 0);
    (share > 0 ? shared : carried_whole) += 1;
  }
  // The periods tried were of every kind.
  EXPECT_GT(shared, kPeriods / 2);
  EXPECT_GT(carried_whole, kPeriods / 50);
  EXPECT_GT(paid_left, kPeriods / 10);
  EXPECT_GT(split, kPeriods / 50);
}

TEST(RandomPeriods, ShareByLargestRemainder) {
  for (std::uint64_t seed = 1; seed <= kPeriods; ++seed) {
    RandomPeriod made = random_period(seed);
    Statement statement = close_period(made.period, made.receipts, made.accounts);
    Wide all = 0, budget = static_cast<std::uint64_t>(made.period.budget + made.period.budget_carried_in);
    for (const Line& line : statement.lines) all += line.live;
    if (all == 0) continue;
    Wide least_up = all, most_down = 0;
    for (const Line& line : statement.lines) {
      ASSERT_EQ(static_cast<std::uint64_t>(line.share), static_cast<std::uint64_t>(budget * line.live / all) + line.rounded_up) << seed;
      Wide rest = budget * line.live % all;
      if (line.rounded_up)
        least_up = std::min(least_up, rest);
      else
        most_down = std::max(most_down, rest);
    }
    ASSERT_TRUE(least_up == all || (least_up >= most_down && least_up > 0)) << seed;
  }
}

TEST(RandomPeriods, AreTheSameBytesWhateverTheOrderOfReceiptsDuplicatesAndAccounts) {
  for (std::uint64_t seed = 1; seed <= kPeriods; seed += 3) {
    RandomPeriod made = random_period(seed);
    std::string text = to_json_text(close_period(made.period, made.receipts, made.accounts));
    Random random(seed);
    std::size_t receipts = made.receipts.size();
    for (std::size_t i = 0; i < receipts; ++i)
      if (random.one_in(6)) made.receipts.push_back(poot::Receipt(made.receipts[i]));
    random.shuffle(made.receipts);
    random.shuffle(made.accounts);
    ASSERT_EQ(to_json_text(close_period(made.period, made.receipts, made.accounts)), text) << seed;
  }
}

TEST(RandomPeriods, RecomputedFromTheBytesOfTheReceiptsAloneAreEqual) {
  for (std::uint64_t seed = 1; seed <= kPeriods; seed += 3) {
    RandomPeriod made = random_period(seed);
    std::vector<poot::NodeScores> stored = poot::score(made.period.first, made.period.last, made.receipts);
    std::vector<poot::Receipt> read;
    for (const poot::Receipt& receipt : made.receipts) read.push_back(*poot::parse_receipt(poot::to_bytes(receipt)));
    ASSERT_EQ(poot::score(made.period.first, made.period.last, read), stored) << seed;
    // Epoch by epoch and node by node come to the same.
    for (std::size_t i = 0; i < made.period.last - made.period.first + 1; ++i) {
      const poot::Epoch epoch = made.period.first + i;
      auto tally = poot::tally(epoch, made.period.log_root, read);
      for (const poot::NodeScores& node : stored) {
        auto at = std::ranges::find(tally, node.node, &poot::Tally::node);
        if (at == tally.end()) {
          ASSERT_EQ(node.epochs[i], poot::EpochScore{.epoch = epoch}) << seed;
        } else {
          ASSERT_EQ(at->score, node.epochs[i]) << seed;
        }
      }
    }
    for (const poot::NodeScores& node : stored)
      ASSERT_EQ(poot::score_node(node.node, made.period.first, made.period.last, read), node) << seed;
    ASSERT_EQ(to_json_text(close_period(made.period, stored, made.accounts)), to_json_text(close_period(made.period, read, made.accounts)));
  }
}

TEST(RandomPeriods, OneAfterAnotherLoseNothing) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    std::vector<Account> accounts;
    Micros unspent = 0;
    __int128 in = 0, out = 0;
    for (std::uint64_t step = 0; step < 8; ++step) {
      RandomPeriod made = random_period(seed * 1000 + step);
      made.period.budget = std::min(made.period.budget, kMaxMicros >> 6);
      made.period.budget_carried_in = unspent;
      Random random(seed + step);
      for (Account& account : accounts) account.standing = static_cast<Standing>(random.below(3));
      Statement statement = close_period(made.period, made.receipts, accounts);
      in += made.period.budget;
      out += statement.totals.paid + statement.totals.fee;
      accounts = accounts_after(statement);
      unspent = statement.budget_carried_out;
    }
    for (const Account& account : accounts) out += account.carried_in + account.withheld_in;
    ASSERT_TRUE(in == out + unspent) << seed;
  }
}

// Splitting: the work of one slot cut into parts is never worth more than S + ceil(B / 5 MiB) - 1, and that is reached.
TEST(SplittingANode, GainsAtMostTheStatedCreditsInASlot) {
  Random random(4);
  auto bound = [](const poot::HostingSlot& slot) { return slot.bytes == 0 ? 0 : slot.sessions + (slot.bytes - 1) / poot::kHostingUnit; };
  for (int i = 0; i < 100'000; ++i) {
    poot::HostingSlot whole{0, static_cast<std::uint32_t>(random.from_to(1, 20)), random.below(100u << 20)};
    ASSERT_LE(poot::hosting_credits(whole), bound(whole));
    std::uint32_t sessions = whole.sessions;
    std::uint64_t bytes = whole.bytes, sum = 0;
    while (sessions > 0) {  // a session, and so its bytes, is placed on one node
      poot::HostingSlot part{0, static_cast<std::uint32_t>(random.from_to(1, sessions)), 0};
      sessions -= part.sessions;
      part.bytes = sessions == 0 ? bytes : random.one_in(3) ? std::min<std::uint64_t>(bytes, part.sessions) : random.below(bytes + 1);
      bytes -= part.bytes;
      sum += poot::hosting_credits(part);
    }
    ASSERT_LE(sum, bound(whole)) << whole.sessions << " " << whole.bytes;
  }
  // Reached: ten sessions, 50 MiB. Whole 10; nine with a byte each and one with the rest 9 + 10.
  EXPECT_EQ(poot::hosting_credits({0, 10, 50u << 20}), 10u);
  EXPECT_EQ(poot::hosting_credits({0, 9, 9}) + poot::hosting_credits({0, 1, (50u << 20) - 9}), 19u);
  EXPECT_EQ(bound({0, 10, 50u << 20}), 19u);
}

TEST(SplittingANode, GainsNoStorageCreditsBeyondWhatFailedChallengesCost) {
  Random random(5);
  for (int i = 0; i < 100'000; ++i) {
    poot::Storage whole = random_storage(random);
    whole.chunks += 1, whole.bytes += 2;
    poot::Storage a = whole, b = whole;
    a.chunks = static_cast<std::uint32_t>(random.from_to(1, whole.chunks - 1)), b.chunks = whole.chunks - a.chunks;
    a.bytes = random.from_to(a.chunks, whole.bytes - b.chunks), b.bytes = whole.bytes - a.bytes;
    for (poot::Storage* part : {&a, &b}) part->passed = static_cast<std::uint32_t>(random.below(part->asked + 1));
    poot::Storage all_passed = whole;
    all_passed.asked = all_passed.passed = 1;
    ASSERT_LE(poot::storage_credits(a) + poot::storage_credits(b), poot::storage_credits(all_passed));
  }
}

// The whole way: a node's receipts dealt out to two, everyone else as before.
TEST(SplittingANode, GainsNoMoneyBeyondTheStatedCreditsAndTwoMicroUnits) {
  std::uint64_t gained = 0, split_nodes = 0;
  for (std::uint64_t seed = 1; seed <= kPeriods; ++seed) {
    RandomPeriod made = random_period(seed);
    Random random(seed);
    const Id whole = numbered(1), half = numbered(77);
    std::vector<poot::Receipt> receipts;
    for (poot::Receipt& receipt : made.receipts) {
      if (receipt.node != whole) {
        receipts.push_back(receipt);
        continue;
      }
      poot::Receipt a = receipt, b = receipt;
      b.node = half;
      if (auto* hosting = std::get_if<poot::Hosting>(&a.work)) {
        auto& other = std::get<poot::Hosting>(b.work);
        for (std::size_t i = hosting->slots.size(); i-- > 0;) {
          poot::HostingSlot &to_a = hosting->slots[i], &to_b = other.slots[i];
          to_b.sessions = static_cast<std::uint32_t>(random.below(to_a.sessions + 1));
          to_a.sessions -= to_b.sessions;
          to_b.bytes = to_b.sessions == 0 ? 0 : to_a.sessions == 0 ? to_a.bytes : random.below(to_a.bytes + 1);
          to_a.bytes -= to_b.bytes;
          if (to_a.sessions == 0) hosting->slots.erase(hosting->slots.begin() + static_cast<std::ptrdiff_t>(i));
          if (to_b.sessions == 0) other.slots.erase(other.slots.begin() + static_cast<std::ptrdiff_t>(i));
        }
      } else if (auto* uptime = std::get_if<poot::Uptime>(&a.work)) {
        // Each half is up in some of the slots in which the whole was.
        for (auto* map : {&uptime->map, &std::get<poot::Uptime>(b.work).map})
          if (random.one_in(4))
            for (auto& byte : *map) byte &= static_cast<std::uint8_t>(random.next());
      } else if (auto* storage = std::get_if<poot::Storage>(&a.work)) {
        auto& other = std::get<poot::Storage>(b.work);
        other.chunks = storage->chunks / 2;
        other.bytes = storage->bytes * other.chunks / storage->chunks;
        storage->chunks -= other.chunks, storage->bytes -= other.bytes;
        storage->asked = storage->passed = 1;  // the best a half can do
      } else {
        auto& sessions = std::get<poot::Validation>(a.work).sessions;
        auto& others = std::get<poot::Validation>(b.work).sessions;
        std::erase_if(sessions, [](const Id& id) { return id.bytes()[15] % 2 == 1; });
        std::erase_if(others, [](const Id& id) { return id.bytes()[15] % 2 == 0; });
      }
      for (poot::Receipt* part : {&a, &b})
        if (!part->says_nothing()) receipts.push_back(*part);
    }
    std::erase_if(made.accounts, [&](const Account& account) { return account.node == whole; });
    Statement before = close_period(made.period, made.receipts, made.accounts), after = close_period(made.period, receipts, made.accounts);
    auto figures = [&](const Statement& statement, const Id& node) {
      auto at = std::ranges::find(statement.lines, node, &Line::node);
      return at == statement.lines.end() ? std::pair<std::uint64_t, Micros>{0, 0} : std::pair{at->live, at->share};
    };
    auto [live, share] = figures(before, whole);
    // Stated: every slot S + ceil(B / 5 MiB) - 1, storage as if all had passed, validations as they are, at the uptime of the whole.
    Wide stated = 0;
    for (const poot::EpochScore& score : poot::score_node(whole, made.period.first, made.period.last, made.receipts).epochs) {
      std::uint64_t credits = score.own.validation;
      for (const poot::Receipt& receipt : made.receipts) {
        if (receipt.node != whole || receipt.epoch != score.epoch) continue;
        if (const auto* hosting = std::get_if<poot::Hosting>(&receipt.work))
          for (const auto& slot : hosting->slots) credits += slot.bytes == 0 ? 0 : slot.sessions + (slot.bytes - 1) / poot::kHostingUnit;
        if (const auto* storage = std::get_if<poot::Storage>(&receipt.work))
          credits += poot::storage_credits({.bytes = storage->bytes, .chunks = storage->chunks, .asked = 1, .passed = 1});
      }
      if (score.slots_up >= poot::kAdmittedFromSlots) stated += Wide(credits) * score.slots_up;
    }
    auto [live_a, share_a] = figures(after, whole);
    auto [live_b, share_b] = figures(after, half);
    ASSERT_TRUE(live_a + live_b <= stated) << seed;
    Wide others = 0, budget = static_cast<std::uint64_t>(made.period.budget + made.period.budget_carried_in);
    for (const Line& line : before.lines) others += line.node == whole ? 0 : line.live;
    if (stated == 0) continue;
    ASSERT_TRUE(static_cast<Wide>(share_a + share_b) <= budget * stated / (others + stated) + 2) << seed;
    ++split_nodes;
    gained += share_a + share_b > share && live > 0;
  }
  EXPECT_GT(split_nodes, kPeriods / 3);
  EXPECT_GT(gained, 0u);  // the bound is no empty one: some splits do gain within it
}

// With the same live, k parts get at most k - 1 micro-units more than the whole, and pay at most k - 1 less in fees.
TEST(SplittingANode, WithoutGainingCreditsGainsAtMostAMicroUnitOfShareAndOneOfFeeForEachPart) {
  Random random(6);
  std::int64_t most_share = 0, most_kept = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto scores = [](std::uint32_t node, std::uint64_t credits) {
      poot::EpochScore score{.epoch = 9, .own = {.hosting = credits, .storage = 0, .validation = 0}, .credits = credits, .slots_up = 5040};
      return poot::NodeScores{numbered(node), {score}};
    };
    Period period;
    period.id = "p";
    period.first = period.last = 9;
    period.budget = static_cast<Micros>(random.from_to(1, 5000));
    period.log_root[0] = static_cast<std::uint8_t>(i);
    std::vector<poot::NodeScores> others, parts;
    for (std::uint32_t n = 1; n <= random.below(6); ++n) others.push_back(scores(n, random.from_to(1, 50)));
    std::uint64_t sum = 0, k = random.from_to(2, 5);
    for (std::uint32_t n = 0; n < k; ++n) {
      std::uint64_t credits = random.from_to(1, 50);
      sum += credits;
      parts.push_back(scores(100 + n, credits));
    }
    auto got = [&](std::vector<poot::NodeScores> mine) {
      std::vector<poot::NodeScores> all = others;
      all.insert(all.end(), mine.begin(), mine.end());
      std::pair<Micros, Micros> sums;
      for (const Line& line : close_period(period, all, {}).lines)
        if (line.node >= numbered(100)) sums.first += line.share, sums.second += line.due;
      return sums;
    };
    auto whole = got({scores(100, sum)}), cut = got(parts);
    ASSERT_LE(cut.first - whole.first, static_cast<Micros>(k) - 1);
    ASSERT_LE(cut.second - whole.second, 2 * (static_cast<Micros>(k) - 1));
    if (k == 2) most_share = std::max(most_share, cut.first - whole.first), most_kept = std::max(most_kept, cut.second - whole.second);
  }
  EXPECT_EQ(most_share, 1);  // reached
  EXPECT_EQ(most_kept, 2);
}

}  // namespace
}  // namespace lucid::payouts
