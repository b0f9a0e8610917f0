// Closing a period: from receipts, standings and what the period before left to a stored statement and its payouts, in one durable step.
#include <algorithm>

#include <fmt/format.h>

#include "node/payout-runs/payout_runs.hpp"

namespace lucid::payout_runs {
namespace {

constexpr std::size_t kPiece = 4 << 20;  // of a statement, in a document

bool is_period_id(std::string_view id) {
  return !id.empty() && id.size() <= 64 &&
         std::all_of(id.begin(), id.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

// The period before it: the one of its currency that ends last.
const PeriodRecord* last_of(const std::map<std::string, PeriodRecord>& periods, const payouts::Currency& currency) {
  const PeriodRecord* last = nullptr;
  for (const auto& [id, p] : periods)
    if (p.currency == currency && (last == nullptr || p.last > last->last)) last = &p;
  return last;
}

[[noreturn]] void invalid(const char* code, const std::string& message, std::vector<FieldError> fields) {
  throw Error(ErrorKind::invalid, code, message).with_fields(std::move(fields));
}

}  // namespace

PayoutRuns::Closed PayoutRuns::close_period(const PeriodRequest& request) {
  std::lock_guard period_lock(period_mutex_);
  std::vector<FieldError> wrong;
  if (!is_period_id(request.id)) wrong.push_back({"/id", "must be 1 to 64 of a-z, 0-9 and -"});
  auto currency = payouts::Currency::parse(request.currency);
  if (!currency || std::find(config_.currencies.begin(), config_.currencies.end(), *currency) == config_.currencies.end())
    wrong.push_back({"/currency", "must be one of the currencies this deployment pays in"});
  auto budget = payouts::parse_micros(request.budget, payouts::Zero::refused);
  if (!budget) wrong.push_back({"/budget", budget.error().what()});
  if (request.last > poot::kMaxEpoch)
    wrong.push_back({"/last_epoch", fmt::format("must be at most {}", poot::kMaxEpoch)});
  else if (request.first > request.last)
    wrong.push_back({"/last_epoch", "must not be before first_epoch"});
  else if (request.last - request.first >= poot::kMaxEpochsAtOnce)
    wrong.push_back({"/last_epoch", fmt::format("a period is at most {} epochs", poot::kMaxEpochsAtOnce)});
  if (auto policy = payouts::check(request.policy); !policy) wrong.push_back({"/policy", policy.error().what()});
  if (!wrong.empty()) invalid("period_invalid", "the period cannot be closed as asked", std::move(wrong));

  std::optional<PeriodRecord> previous;
  {
    Lock lock = fresh();
    if (auto it = periods_.find(request.id); it != periods_.end()) {
      const PeriodRecord& p = it->second;
      if (p.first == request.first && p.last == request.last && p.currency == *currency && p.budget == *budget &&
          p.policy == request.policy)
        return {.period = p, .created = false};
      throw Error(ErrorKind::conflict, "period_exists",
                  fmt::format("period {} was closed with other epochs, budget, currency or policy", request.id));
    }
    if (const PeriodRecord* before = last_of(periods_, *currency)) previous = *before;
  }
  if (previous && request.first <= previous->last)
    invalid("period_overlaps",
            fmt::format("period {} covers the epochs up to {}; epochs are paid once, in order", previous->id, previous->last),
            {{"/first_epoch", fmt::format("must be after {}", previous->last)}});
  if (poot::Epoch open = parts_.source.open_epoch(); request.last >= open)
    invalid("epoch_not_over", fmt::format("epoch {} is not over yet", std::max(open, request.first)),
            {{"/last_epoch", open == 0 ? std::string("no epoch is over yet") : fmt::format("must be at most {}", open - 1)}});

  return {.period = keep(compute(request, *budget, previous ? &*previous : nullptr), previous ? previous->id : ""), .created = true};
}

payouts::Statement PayoutRuns::compute(const PeriodRequest& request, payouts::Micros budget, const PeriodRecord* previous) {
  std::map<Id, payouts::Standing> standings = parts_.source.standings();
  std::vector<payouts::Account> accounts;
  if (previous != nullptr) {
    auto stored = parts_.documents.get(kAccounts, previous->id);
    if (!stored) throw Error(ErrorKind::corrupt, "payout_record_corrupt", "what period " + previous->id + " left is not stored");
    accounts = read_accounts(stored->json);
  }
  // Everyone who is owed something, and everyone who is not simply a member, as they stand now.
  for (payouts::Account& account : accounts)
    if (auto it = standings.find(account.node); it != standings.end()) account.standing = it->second;
  std::vector<poot::NodeScores> scores;
  std::set<Id> scored;
  parts_.source.each_node(poot::window_begin(request.first), request.last, [&](const Id& node, std::span<const poot::Receipt> receipts) {
    if (!standings.contains(node))
      throw Error(ErrorKind::corrupt, "node_unknown",
                  fmt::format("there are receipts of node {}, which was never active here; nothing is paid on them", node.text()));
    scores.push_back(poot::score_node(node, request.first, request.last, receipts));
    scored.insert(node);
  });
  for (const payouts::Account& account : accounts) scored.erase(account.node);
  for (const Id& node : scored)
    if (payouts::Standing standing = standings.at(node); standing != payouts::Standing::member)
      accounts.push_back({.node = node, .standing = standing, .carried_in = 0, .withheld_in = 0});

  payouts::Period period{.id = request.id,
                         .first = request.first,
                         .last = request.last,
                         .currency = payouts::Currency::parse(request.currency).value(),
                         .budget = budget,
                         .budget_carried_in = previous != nullptr ? previous->budget_carried_out : 0,
                         .log_root = request.last == 0 ? Hash32{} : parts_.source.log_root(request.last - 1),
                         .policy = request.policy};
  return payouts::close_period(period, std::move(scores), accounts);
}

PeriodRecord PayoutRuns::keep(const payouts::Statement& statement, const std::string& previous) {
  const payouts::Period& p = statement.period;
  std::string text = payouts::to_json_text(statement);
  PeriodRecord record{.id = p.id,
                      .first = p.first,
                      .last = p.last,
                      .currency = p.currency,
                      .budget = p.budget,
                      .budget_carried_in = p.budget_carried_in,
                      .budget_carried_out = statement.budget_carried_out,
                      .policy = p.policy,
                      .totals = statement.totals,
                      .previous = previous,
                      .closed_wall_ms = parts_.clock.wall_ms(),
                      .lines = statement.lines.size(),
                      .payouts = 0,
                      .pieces = (text.size() + kPiece - 1) / kPiece,
                      .statement = payouts::digest(text)};
  std::vector<store::Documents::Insert> inserts(1);  // the period's own comes first
  for (std::size_t i = 0; i < record.pieces; ++i)
    inserts.push_back({kStatements, p.id + "/" + store::sortable(i),
                       json::serialize(json::object{{"text", std::string_view(text).substr(i * kPiece, kPiece)}})});
  inserts.push_back({kAccounts, p.id, json::serialize(to_json(payouts::accounts_after(statement)))});
  std::vector<Payout> made;
  for (const payouts::Line& line : statement.lines)
    for (std::size_t i = 0; i < line.payments.size(); ++i) {
      Payout payout{
          .payment = {.payout = payout_id(p.id, p.last, line.node, i + 1), .node = line.node, .period = p.id, .micro = line.payments[i]},
          .currency = p.currency.code(),
          .index = i + 1,
          .of = line.payments.size(),
          .made_wall_ms = record.closed_wall_ms,
          .events = {}};
      std::string id = payout.payment.payout.text();
      inserts.push_back({kPayouts, id, payout_document(payout)});
      inserts.push_back({kByNode, line.node.text() + "/" + id, "{}"});
      made.push_back(std::move(payout));
    }
  record.payouts = made.size();
  if (!made.empty()) inserts.push_back({kPeriodsOpen, p.id, "{}"});
  inserts[0] = {kPeriods, p.id, json::serialize(to_json(record))};

  Lock lock = fresh();
  stale_ = true;
  std::vector<bool> stored = parts_.documents.insert_many(inserts);
  if (std::find(stored.begin(), stored.end(), false) != stored.end())
    throw Error(ErrorKind::corrupt, "payout_record_corrupt", "records of period " + p.id + " were there before it was closed");
  stale_ = false;
  periods_.emplace(p.id, record);
  for (Payout& payout : made) add_live(std::move(payout));
  return record;
}

std::vector<PeriodRecord> PayoutRuns::periods(const std::string& cursor, std::size_t limit) {
  Lock lock = fresh();
  std::vector<const PeriodRecord*> all;
  for (const auto& [id, p] : periods_) all.push_back(&p);
  std::sort(all.begin(), all.end(),
            [](const PeriodRecord* a, const PeriodRecord* b) { return std::tie(b->last, b->id) < std::tie(a->last, a->id); });
  auto at = all.begin();
  if (!cursor.empty()) {
    at = std::find_if(all.begin(), all.end(), [&](const PeriodRecord* p) { return p->id == cursor; });
    if (at == all.end()) invalid("cursor_invalid", "cursor is not one this service gave", {{"/cursor", "is not one this service gave"}});
    ++at;
  }
  std::vector<PeriodRecord> page;
  for (; at != all.end() && page.size() < limit; ++at) page.push_back(**at);
  return page;
}

PeriodRecord PayoutRuns::period(const std::string& id) {
  Lock lock = fresh();
  auto it = periods_.find(id);
  if (it == periods_.end()) throw Error(ErrorKind::not_found, "period_not_found", "there is no period of that id");
  return it->second;
}

std::string PayoutRuns::statement_piece(const std::string& id, std::size_t piece) {
  auto stored = parts_.documents.get(kStatements, id + "/" + store::sortable(piece));
  auto value = stored ? parse_json(stored->json, 2 * kPiece) : std::unexpected(Error(ErrorKind::corrupt, "absent"));
  const json::string* text = value && value->is_object() && value->as_object().contains("text") ? value->at("text").if_string() : nullptr;
  if (text == nullptr) throw Error(ErrorKind::corrupt, "payout_record_corrupt", "the statement of period " + id + " is not whole");
  return std::string(*text);
}

}  // namespace lucid::payout_runs
