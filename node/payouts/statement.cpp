#include "node/payouts/statement.hpp"

#include "lib/crypto/hash.hpp"

namespace lucid::payouts {
namespace {

// Every text that goes in is of our own making and needs no escape: ids, decimal numbers, currency codes, the words below.
class Object {
 public:
  explicit Object(std::string& out) : out_(out) { out_ += '{'; }
  void text(std::string_view key, std::string_view value) { begin(key), out_ += '"', out_ += value, out_ += '"'; }
  void amount(std::string_view key, Micros micros) { text(key, to_text(micros)); }
  void number(std::string_view key, std::uint64_t value) { begin(key), out_ += std::to_string(value); }
  std::string& raw(std::string_view key) { return begin(key), out_; }
  void end() { out_ += '}'; }

 private:
  void begin(std::string_view key) {
    if (out_.back() != '{') out_ += ',';
    out_ += '"', out_ += key, out_ += "\":";
  }
  std::string& out_;
};

template <class Items, class Write>
void list(std::string& out, const Items& items, Write write) {
  out += '[';
  for (const auto& item : items) {
    if (out.back() != '[') out += ',';
    write(item);
  }
  out += ']';
}

std::string quoted(const Ratio& ratio) { return std::to_string(ratio.part) + "/" + std::to_string(ratio.of); }

std::string_view standing_words(Outcome outcome, Standing standing) {
  switch (outcome) {
    case Outcome::paid:
      return standing == Standing::left ? "the node has left: due is paid, however small" : "due reaches the threshold: paid";
    case Outcome::below_threshold: return "due is below the threshold: carried over";
    case Outcome::nothing_due: return "nothing is due";
    case Outcome::banned: return "the node is banned: no share; what it is owed stays";
  }
  return "unknown";
}

void write_line(std::string& out, const Line& line, const Statement& statement) {
  const Policy& policy = statement.period.policy;
  const Micros budget = statement.period.budget + statement.period.budget_carried_in;
  Object o(out);
  o.text("node", line.node.text());
  o.text("standing", name(line.standing));
  auto each = [&](std::string_view key, auto figure) {
    list(o.raw(key), line.scores.epochs, [&](const poot::EpochScore& score) { out += std::to_string(figure(score)); });
  };
  each("hosting", [](const poot::EpochScore& score) { return score.own.hosting; });
  each("storage", [](const poot::EpochScore& score) { return score.own.storage; });
  each("validation", [](const poot::EpochScore& score) { return score.own.validation; });
  each("slots_up", [](const poot::EpochScore& score) { return score.slots_up; });
  o.text("live", std::to_string(line.live));
  o.amount("share", line.share);
  std::string formula;
  if (line.live > 0) {
    formula = "floor(" + to_text(budget) + " * " + std::to_string(line.live) + " / " + statement.live + ")";
    if (line.rounded_up) formula += " + 0.000001";
  } else {
    formula = line.standing == Standing::banned ? "0: banned" : "0: live is 0";
  }
  o.text("share_formula", formula);
  o.amount("withheld", line.withheld);
  o.text("withheld_formula", line.standing == Standing::member ? "floor(" + to_text(line.share) + " * " + quoted(policy.withheld) + ")"
                                                               : "0: " + std::string(name(line.standing)));
  o.amount("withheld_in", line.withheld_in);
  o.amount("released", line.released);
  o.text("released_formula", line.standing == Standing::left ? "withheld_in: left" : "0: " + std::string(name(line.standing)));
  o.amount("withheld_out", line.withheld_out);
  o.text("withheld_out_formula", to_text(line.withheld_in) + " + " + to_text(line.withheld) + " - " + to_text(line.released));
  o.amount("fee", line.fee);
  o.text("fee_formula", "floor((" + to_text(line.share) + " - " + to_text(line.withheld) + " + " + to_text(line.released) + ") * " +
                            quoted(policy.fee) + ")");
  o.amount("carried_in", line.carried_in);
  o.amount("due", line.due);
  o.text("due_formula", to_text(line.carried_in) + " + " + to_text(line.share) + " - " + to_text(line.withheld) + " + " +
                            to_text(line.released) + " - " + to_text(line.fee));
  list(o.raw("payments"), line.payments, [&](Micros micros) { out += '"' + to_text(micros) + '"'; });
  o.amount("paid", line.paid());
  o.amount("carried_out", line.carried_out);
  o.text("outcome", name(line.outcome));
  o.text("why", standing_words(line.outcome, line.standing));
  o.end();
}

void write_formulas(std::string& out) {
  Object o(out);
  o.text("live", "sum over epochs of (hosting + storage + validation) * slots_up where slots_up >= 1008; in 1/5040");
  o.text("share", "largest remainder of (budget + budget_carried_in) * live / live of all, in micro-units");
  o.text("withheld", "floor(share * policy.withheld) of a member, else 0");
  o.text("released", "withheld_in of a node that left, else 0");
  o.text("fee", "floor((share - withheld + released) * policy.fee)");
  o.text("due", "carried_in + share - withheld + released - fee");
  o.text(
      "payments",
      "due from policy.threshold (policy.minimum of a node that left), in parts of at most policy.split_above and at least policy.minimum");
  o.text("carried_out", "due - paid");
  o.text("withheld_out", "withheld_in + withheld - released");
  o.text("balance", "budget + budget_carried_in + carried_in + withheld_in = paid + carried_out + withheld_out + fee + budget_carried_out");
  o.end();
}

}  // namespace

std::string to_json_text(const Line& line, const Statement& statement) {
  std::string out;
  write_line(out, line, statement);
  return out;
}

std::string to_json_text(const Statement& statement) {
  const Period& period = statement.period;
  std::string out;
  Object o(out);
  o.number("version", kStatementVersion);
  o.text("period", period.id);
  o.number("first_epoch", period.first);
  o.number("last_epoch", period.last);
  o.text("currency", period.currency.code());
  o.amount("budget", period.budget);
  o.amount("budget_carried_in", period.budget_carried_in);
  o.text("log_root", to_hex(period.log_root));
  Object policy(o.raw("policy"));
  policy.text("withheld", quoted(period.policy.withheld));
  policy.text("fee", quoted(period.policy.fee));
  policy.amount("threshold", period.policy.threshold);
  policy.amount("split_above", period.policy.split_above);
  policy.amount("minimum", period.policy.minimum);
  policy.end();
  write_formulas(o.raw("formulas"));
  o.text("live", statement.live);
  list(o.raw("lines"), statement.lines, [&](const Line& line) { write_line(out, line, statement); });
  const Totals& sums = statement.totals;
  Object totals(o.raw("totals"));
  totals.amount("carried_in", sums.carried_in);
  totals.amount("withheld_in", sums.withheld_in);
  totals.amount("share", sums.share);
  totals.amount("paid", sums.paid);
  totals.amount("fee", sums.fee);
  totals.amount("carried_out", sums.carried_out);
  totals.amount("withheld_out", sums.withheld_out);
  totals.end();
  o.amount("budget_carried_out", statement.budget_carried_out);
  o.text("budget_why", statement.budget_carried_out > 0 ? "no node is eligible: the whole budget is carried over to the next period"
                                                        : "the whole budget is shared out");
  o.end();
  return out;
}

Hash32 digest(std::string_view statement_text) { return crypto::sha256(as_bytes(statement_text)); }

}  // namespace lucid::payouts
