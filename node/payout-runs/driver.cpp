// The way of a batch over the rail. Every step may be the last of a life; the next one asks the rail and goes on from there.
#include <algorithm>

#include <fmt/format.h>

#include "node/payout-runs/payout_runs.hpp"

namespace lucid::payout_runs {
namespace {

constexpr std::size_t kCheckedReferences = 20;
constexpr std::size_t kMaxReason = 300;

Error disagrees(const Batch& batch, const std::string& why) {
  return Error(ErrorKind::conflict, "rail_disagrees",
               fmt::format("batch {}: the rail says what cannot be: {}", batch.submission.batch.text(), why));
}

// Nothing is concluded from an answer that is not about exactly this batch.
void check_answer(const Batch& batch, const BatchStatus& status) {
  const std::vector<Payment>& ours = batch.submission.payments;
  if (status.reference.empty() || status.reference.size() > kMaxReference) throw disagrees(batch, "its reference is empty or too long");
  if (!batch.reference.empty() && status.reference != batch.reference) throw disagrees(batch, "its reference is another one than before");
  if (status.currency != batch.submission.currency) throw disagrees(batch, "it is in another currency");
  if (status.payments.size() != ours.size()) throw disagrees(batch, "it has another number of payments");
  std::map<Id, const PaymentStatus*> by_id;
  for (const PaymentStatus& s : status.payments)
    if (!by_id.emplace(s.payout, &s).second) throw disagrees(batch, "a payment stands in it twice");
  for (const Payment& payment : ours) {
    auto it = by_id.find(payment.payout);
    if (it == by_id.end()) throw disagrees(batch, fmt::format("payout {} is missing", payment.payout.text()));
    if (it->second->micro != payment.micro)
      throw disagrees(batch, fmt::format("payout {} is of {} instead of {}", payment.payout.text(), it->second->micro, payment.micro));
    if (it->second->node != payment.node) throw disagrees(batch, fmt::format("payout {} goes to another node", payment.payout.text()));
  }
}

}  // namespace

BatchStatus PayoutRuns::ask(const Batch& batch) {
  BatchStatus status = parts_.rail.status(batch.key, batch.reference);
  if (status.known)
    check_answer(batch, status);
  else if (!batch.reference.empty())
    throw Error(ErrorKind::conflict, "rail_forgot",
                fmt::format("batch {}: the rail gave the reference {} and no longer knows it; it is not submitted again",
                            batch.submission.batch.text(), batch.reference));
  return status;
}

std::int64_t PayoutRuns::step() {
  std::lock_guard rail_lock(rail_mutex_);
  std::vector<Id> due;
  std::int64_t now = parts_.clock.steady_ms();
  {
    Lock lock = fresh();
    for (const auto& [id, open] : open_)
      if (open.due_steady_ms <= now) due.push_back(id);
  }
  for (const Id& id : due) {
    std::string problem;
    bool clear = false, settled = false;
    try {
      settled = advance(id);
      clear = true;
    } catch (const std::exception& e) { problem = e.what(); }
    if (settled) continue;
    Lock lock(mutex_);
    auto it = open_.find(id);
    if (it == open_.end()) continue;
    Open& open = it->second;
    open.problem = problem;
    open.unclear = clear ? 0 : std::min(open.unclear + 1, 30);
    std::int64_t wait = clear ? config_.poll_ms : std::min(config_.last_retry_ms, config_.first_retry_ms << std::min(open.unclear - 1, 20));
    open.due_steady_ms = now + wait;
  }
  Lock lock(mutex_);
  std::int64_t next = config_.poll_ms;
  for (const auto& [id, open] : open_) next = std::min(next, std::max<std::int64_t>(0, open.due_steady_ms - now));
  return next;
}

bool PayoutRuns::advance(const Id& id) {
  Batch batch;
  {
    Lock lock = fresh();
    auto it = open_.find(id);
    if (it == open_.end()) return true;
    batch = it->second.batch;
    for (const Payment& payment : batch.submission.payments) {
      const Payout* payout = live(payment.payout);
      std::vector<Id> in = payout == nullptr ? std::vector<Id>() : payout->batches();
      // Those of a dropped period are final: some were settled in an earlier life, and the rail has the batch.
      if (payout == nullptr ? batch.reference.empty() : std::find(in.begin(), in.end(), id) == in.end())
        throw Error(ErrorKind::corrupt, "batch_unclaimed",
                    fmt::format("batch {} has not claimed payout {}; it is not submitted", id.text(), payment.payout.text()));
    }
  }
  BatchStatus status = ask(batch);
  if (!status.known) {
    expect_books();
    Accepted accepted = parts_.rail.submit(batch.submission, batch.key);
    if (accepted.refusal.empty()) {
      if (accepted.reference.empty() || accepted.reference.size() > kMaxReference)
        throw disagrees(batch, "its reference is empty or too long");
      adopt(batch, accepted.reference);
    }
    status = ask(batch);
    if (!status.known) return refuse(batch, accepted.refusal);
  }
  if (batch.reference.empty()) adopt(batch, status.reference);
  if (!apply(batch, status)) return false;
  settle(std::move(batch));
  return true;
}

// Before the first submit of a life: the rail's books must hold what ours say they hold.
void PayoutRuns::expect_books() {
  if (expected_) return;
  for (const store::Document& d : parts_.documents.scan(kBatches, {.limit = kCheckedReferences, .order = store::Order::descending}))
    if (std::string reference = read_batch(d.json).reference; !reference.empty()) parts_.rail.expect(reference);
  expected_ = true;
}

void PayoutRuns::adopt(Batch& batch, const std::string& reference) {
  Lock lock = fresh();
  Batch known = batch;
  known.reference = reference;
  stale_ = true;
  parts_.documents.put(kBatches, known.submission.batch.text(), json::serialize(to_json(known)));
  stale_ = false;
  open_.at(known.submission.batch).batch = known;
  batch = std::move(known);
}

// Answers whether no payment of the batch is open any more.
bool PayoutRuns::apply(const Batch& batch, const BatchStatus& status) {
  Lock lock = fresh();
  const Id& id = batch.submission.batch;
  std::vector<Move> moves;
  bool all = true;
  for (const PaymentStatus& s : status.payments) {
    Payout* payout = live(s.payout);
    // Moved by an earlier look at this batch, and perhaps tried again in another one since.
    if (payout == nullptr || payout->state() != State::processing || payout->batch() != id) continue;
    switch (s.fate) {
      case PaymentStatus::Fate::open: all = false; break;
      case PaymentStatus::Fate::paid:
        moves.push_back({payout, {.trigger = Trigger::confirm, .batch = id, .reference = status.reference, .cause = ""}});
        break;
      case PaymentStatus::Fate::rejected:
        moves.push_back({payout, {.trigger = Trigger::reject, .batch = id, .reference = "", .cause = to_utf8(s.reason, kMaxReason)}});
        break;
    }
  }
  if (!moves.empty()) store(std::move(moves), {});
  return all;
}

bool PayoutRuns::refuse(const Batch& batch, const std::string& reason) {
  BatchStatus rejected{.known = true, .reference = "", .currency = "", .payments = {}};
  for (const Payment& p : batch.submission.payments)
    rejected.payments.push_back({.payout = p.payout,
                                 .node = p.node,
                                 .micro = p.micro,
                                 .fate = PaymentStatus::Fate::rejected,
                                 .confirmations = 0,
                                 .reason = "the rail refused the batch: " + reason});
  apply(batch, rejected);
  settle(batch);
  return true;
}

void PayoutRuns::settle(Batch batch) {
  Lock lock = fresh();
  batch.settled = true;
  std::string id = batch.submission.batch.text();
  stale_ = true;
  parts_.documents.put(kBatches, id, json::serialize(to_json(batch)));
  parts_.documents.remove(kBatchesOpen, id);
  stale_ = false;
  open_.erase(batch.submission.batch);
}

}  // namespace lucid::payout_runs
