// A period closed: from the scores of its nodes, what earlier periods left and a policy to what each node is paid, exactly. Pure; any thread.
// The order of scores and accounts never matters. Throws Error{invalid} for a policy, budget, account or score out of bounds.
// For every statement, to the micro-unit:
//   budget + budget_carried_in + Σ carried_in + Σ withheld_in = Σ paid + Σ carried_out + Σ withheld_out + Σ fee + budget_carried_out
// The formulas with worked examples: docs/services/node-management/scores.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lib/base/bytes.hpp"
#include "node/payouts/money.hpp"
#include "node/poot/score.hpp"

namespace lucid::payouts {

struct Ratio {
  std::uint32_t part = 0, of = 1;  // part ≤ of ≤ 1 000 000, of > 0
  bool operator==(const Ratio&) const = default;
};

struct Policy {
  Ratio withheld{0, 1};                          // of a member's share, kept until it leaves
  Ratio fee{1, 100};                             // of what a period newly makes payable, rounded down
  Micros threshold = 10 * kMicrosPerUnit;        // less is carried over, unless the node has left
  Micros split_above = 10'000 * kMicrosPerUnit;  // the largest single payment
  Micros minimum = 1;                            // the smallest single payment; a smaller rest is carried over
  bool operator==(const Policy&) const = default;
};
// 1 ≤ minimum ≤ threshold ≤ split_above ≤ 2^53.
Expected<void> check(const Policy& policy);

struct Period {
  std::string id;                   // 1–64 of [a-z0-9-]
  poot::Epoch first = 0, last = 0;  // at most 366 epochs
  Currency currency = Currency::usdt();
  Micros budget = 0;             // > 0
  Micros budget_carried_in = 0;  // what the period before could give nobody
  Hash32 log_root{};             // of the epoch before `last`: decides between equal remainders, as tie_break(last, log_root, node)
  Policy policy;
};

// member: any node that has not left, also one that is offline. left: retired after draining; it gets its withheld part and whatever it is
// owed, however small, even when offline and without work in the period. banned: no share while banned, what it is owed stays as it is.
enum class Standing { member, left, banned };
const char* name(Standing standing);

// What earlier periods left. A node that is owed something has a line in every statement, with work or without.
struct Account {
  Id node;
  Standing standing = Standing::member;
  Micros carried_in = 0, withheld_in = 0;
};

enum class Outcome { paid, below_threshold, nothing_due, banned };
const char* name(Outcome outcome);

struct Line {
  Id node;
  Standing standing = Standing::member;
  poot::NodeScores scores;  // the inputs
  std::uint64_t live = 0;   // in 1/5040; 0 while banned
  Micros share = 0;         // largest remainder of the whole budget over live
  Micros withheld = 0;      // floor(share · policy.withheld) of a member, else 0
  Micros released = 0;      // withheld_in of a node that left, else 0
  Micros fee = 0;           // floor((share - withheld + released) · policy.fee)
  Micros carried_in = 0, withheld_in = 0;
  Micros due = 0;                // carried_in + share - withheld + released - fee
  std::vector<Micros> payments;  // each minimum…split_above, largest first; their sum is paid()
  Micros carried_out = 0, withheld_out = 0;
  bool rounded_up = false;  // the share is one above the floor of its quota
  Outcome outcome = Outcome::nothing_due;
  Micros paid() const;
};

struct Totals {
  Micros carried_in = 0, withheld_in = 0;
  Micros share = 0, paid = 0, fee = 0, carried_out = 0, withheld_out = 0;
};

struct Statement {
  Period period;
  std::string live;         // of all lines, in 1/5040, decimal (it may exceed 64 bits)
  std::vector<Line> lines;  // ascending by node id
  Totals totals;
  Micros budget_carried_out = 0;  // everything, when no node is eligible
  bool balanced() const;          // the equation above; close_period() never answers one that is not
};

// A node with scores and no account is a member that is owed nothing. Scores must be of exactly the epochs first…last. Two accounts or two
// scores of one node are refused. The sum of everything that goes in must not exceed 2^53 micro-units.
Statement close_period(const Period& period, std::vector<poot::NodeScores> scores, std::span<const Account> accounts);
// The same from receipts of window_begin(first)…last (and any others).
Statement close_period(const Period& period, std::span<const poot::Receipt> receipts, std::span<const Account> accounts);

// What the next period takes in from a statement: an account for every node that is still owed something.
std::vector<Account> accounts_after(const Statement& statement);

}  // namespace lucid::payouts
