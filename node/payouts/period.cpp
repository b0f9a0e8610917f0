#include "node/payouts/period.hpp"

#include <algorithm>
#include <map>
#include <numeric>

#include "node/poot/rank.hpp"

namespace lucid::payouts {
namespace {

using Wide = unsigned __int128;

constexpr std::uint32_t kMaxRatioOf = 1'000'000;
constexpr Micros kMaxPayments = 1'000'000;  // of one statement, were all of it paid to one node
// Nothing receipts can say gives more in an epoch: 720 slots of 2^53 bytes are below 2^41 credits.
constexpr std::uint64_t kMaxCreditsPerEpoch = std::uint64_t{1} << 41;

[[noreturn]] void refuse(const char* code, const std::string& why) { throw Error(ErrorKind::invalid, code, "close a period: " + why); }

Micros part_of(Micros amount, const Ratio& ratio) {
  return static_cast<Micros>(Wide(static_cast<std::uint64_t>(amount)) * ratio.part / ratio.of);  // amount ≤ 2^53
}

std::string decimal(Wide number) {
  std::string digits;
  do digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(number % 10)));
  while ((number /= 10) > 0);
  return digits;
}

void check_period(const Period& period) {
  auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  if (period.id.empty() || period.id.size() > 64 || !std::all_of(period.id.begin(), period.id.end(), good))
    refuse("period_invalid", "its id is not 1 to 64 of a-z, 0-9 and -");
  if (period.first > period.last || period.last > poot::kMaxEpoch || period.last - period.first >= poot::kMaxEpochsAtOnce)
    refuse("period_invalid", "it is not of 1 to 366 epochs");
  if (auto bounds = check_micros(period.budget, Zero::refused); !bounds) throw bounds.error();
  if (auto bounds = check_micros(period.budget_carried_in, Zero::allowed); !bounds) throw bounds.error();
  if (auto policy = check(period.policy); !policy) throw policy.error();
}

// One line for every node that has a score or an account, ascending by node; nothing computed yet.
std::vector<Line> gather(const Period& period, std::vector<poot::NodeScores>&& scores, std::span<const Account> accounts) {
  std::map<Id, Line> by_node;
  for (poot::NodeScores& one : scores) {
    if (one.epochs.size() != period.last - period.first + 1)
      refuse("scores_invalid", "node " + one.node.text() + " has scores of other epochs");
    for (std::size_t i = 0; i < one.epochs.size(); ++i) {
      const poot::EpochScore& score = one.epochs[i];
      if (score.epoch != period.first + i) refuse("scores_invalid", "node " + one.node.text() + " has scores of other epochs");
      if (std::max({score.own.hosting, score.own.storage, score.own.validation}) > kMaxCreditsPerEpoch ||
          score.slots_up > poot::kSlotsPerWindow)
        refuse("scores_invalid", "node " + one.node.text() + " has more credits or slots than receipts can give");
    }
    auto [at, is_new] = by_node.try_emplace(one.node);
    if (!is_new) refuse("scores_invalid", "two scores of node " + one.node.text());
    at->second.node = one.node;
    at->second.scores = std::move(one);
  }
  Micros owed = add(period.budget, period.budget_carried_in);
  std::vector<Id> seen;
  for (const Account& account : accounts) {
    for (Micros amount : {account.carried_in, account.withheld_in}) {
      if (auto bounds = check_micros(amount, Zero::allowed); !bounds) throw bounds.error();
      owed = add(owed, amount);
    }
    if (account.node.is_nil()) refuse("accounts_invalid", "an account of the nil id");
    seen.push_back(account.node);
    auto at = by_node.find(account.node);
    if (at == by_node.end()) {
      if (account.carried_in == 0 && account.withheld_in == 0) continue;  // neither work nor anything owed: no line
      at = by_node.try_emplace(account.node).first;
      at->second.node = at->second.scores.node = account.node;
    }
    at->second.standing = account.standing;
    at->second.carried_in = account.carried_in;
    at->second.withheld_in = account.withheld_in;
  }
  if (owed / period.policy.split_above > kMaxPayments) refuse("policy_invalid", "split_above makes more than a million payments");
  std::sort(seen.begin(), seen.end());
  if (auto twice = std::adjacent_find(seen.begin(), seen.end()); twice != seen.end())
    refuse("accounts_invalid", "two accounts of node " + twice->text());
  std::vector<Line> lines;
  lines.reserve(by_node.size());
  for (auto& [node, line] : by_node) lines.push_back(std::move(line));
  return lines;
}

// Largest remainder: each gets the floor of its quota budget · live / all; what is left, fewer micro-units than nodes, goes one each to the
// largest remainders, equal ones by tie_break().
void share_out(const Period& period, Micros budget, Wide all, std::vector<Line>& lines) {
  struct Remainder {
    Line* line;
    Wide rest;
    Hash32 tie;
  };
  std::vector<Remainder> remainders;
  Micros left = budget;
  for (Line& line : lines) {
    if (line.live == 0) continue;
    Wide quota = Wide(static_cast<std::uint64_t>(budget)) * line.live;  // ≤ 2^53 · 2^63
    line.share = static_cast<Micros>(quota / all);
    left -= line.share;
    remainders.push_back({&line, quota % all, poot::tie_break(period.last, period.log_root, line.node)});
  }
  auto first = [](const Remainder& a, const Remainder& b) {
    if (a.rest != b.rest) return a.rest > b.rest;
    if (a.tie != b.tie) return a.tie < b.tie;
    return a.line->node < b.line->node;
  };
  auto end = remainders.begin() + left;
  std::nth_element(remainders.begin(), end, remainders.end(), first);
  for (auto at = remainders.begin(); at != end; ++at) {
    ++at->line->share;
    at->line->rounded_up = true;
  }
}

void settle(const Policy& policy, Line& line) {
  line.withheld = line.standing == Standing::member ? part_of(line.share, policy.withheld) : 0;
  line.released = line.standing == Standing::left ? line.withheld_in : 0;
  line.fee = part_of(line.share - line.withheld + line.released, policy.fee);
  line.due = line.carried_in + line.share - line.withheld + line.released - line.fee;
  line.withheld_out = line.withheld_in + line.withheld - line.released;
  line.carried_out = line.due;
  if (line.standing == Standing::banned) {
    line.outcome = Outcome::banned;
    return;
  }
  // Who left has no later period to reach the threshold in.
  Micros from = line.standing == Standing::left ? policy.minimum : policy.threshold;
  while (line.due >= from && line.carried_out >= policy.minimum) {
    line.payments.push_back(std::min(line.carried_out, policy.split_above));
    line.carried_out -= line.payments.back();
  }
  line.outcome = !line.payments.empty() ? Outcome::paid : line.due > 0 ? Outcome::below_threshold : Outcome::nothing_due;
}

}  // namespace

const char* name(Standing standing) {
  switch (standing) {
    case Standing::member: return "member";
    case Standing::left: return "left";
    case Standing::banned: return "banned";
  }
  return "unknown";
}

const char* name(Outcome outcome) {
  switch (outcome) {
    case Outcome::paid: return "paid";
    case Outcome::below_threshold: return "below_threshold";
    case Outcome::nothing_due: return "nothing_due";
    case Outcome::banned: return "banned";
  }
  return "unknown";
}

Expected<void> check(const Policy& policy) {
  auto broken = [](const char* why) {
    return std::unexpected(Error(ErrorKind::invalid, "policy_invalid", std::string("check a policy: ") + why));
  };
  for (const Ratio& ratio : {policy.withheld, policy.fee})
    if (ratio.of == 0 || ratio.of > kMaxRatioOf || ratio.part > ratio.of) return broken("withheld and fee must be parts of 1 to 1000000");
  if (policy.minimum < 1 || policy.minimum > policy.threshold || policy.threshold > policy.split_above || policy.split_above > kMaxMicros)
    return broken("minimum, threshold and split_above must ascend from 1 to 2^53 micro-units");
  return {};
}

Micros Line::paid() const { return std::accumulate(payments.begin(), payments.end(), Micros{0}); }

bool Statement::balanced() const {
  return period.budget + period.budget_carried_in + totals.carried_in + totals.withheld_in ==
         totals.paid + totals.carried_out + totals.withheld_out + totals.fee + budget_carried_out;
}

Statement close_period(const Period& period, std::vector<poot::NodeScores> scores, std::span<const Account> accounts) {
  check_period(period);
  Statement statement{.period = period, .live = {}, .lines = gather(period, std::move(scores), accounts), .totals = {}};
  Wide all = 0;
  for (Line& line : statement.lines) {
    line.live = line.standing == Standing::banned ? 0 : line.scores.live();
    all += line.live;
  }
  statement.live = decimal(all);
  Micros budget = period.budget + period.budget_carried_in;
  if (all == 0)
    statement.budget_carried_out = budget;
  else
    share_out(period, budget, all, statement.lines);
  Totals& totals = statement.totals;
  for (Line& line : statement.lines) {
    settle(period.policy, line);
    totals.carried_in += line.carried_in;
    totals.withheld_in += line.withheld_in;
    totals.share += line.share;
    totals.paid += line.paid();
    totals.fee += line.fee;
    totals.carried_out += line.carried_out;
    totals.withheld_out += line.withheld_out;
  }
  if (!statement.balanced()) throw Error(ErrorKind::internal, "statement_unbalanced", "close period " + period.id + ": its sums differ");
  return statement;
}

Statement close_period(const Period& period, std::span<const poot::Receipt> receipts, std::span<const Account> accounts) {
  check_period(period);
  return close_period(period, poot::score(period.first, period.last, receipts), accounts);
}

std::vector<Account> accounts_after(const Statement& statement) {
  std::vector<Account> accounts;
  for (const Line& line : statement.lines)
    if (line.carried_out > 0 || line.withheld_out > 0)
      accounts.push_back({.node = line.node, .standing = line.standing, .carried_in = line.carried_out, .withheld_in = line.withheld_out});
  return accounts;
}

}  // namespace lucid::payouts
