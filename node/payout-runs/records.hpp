// What payout runs keep, and its JSON. Periods, payouts and batches never change once stored; what happens to a payout is a row of
// events (key: payout id / number), so one insert_many() moves a whole batch at once or not at all, and no event can be
// stored twice. Values; any thread. Readers throw Error{corrupt} naming the record.
//   payout_periods       id → PeriodRecord        payout_periods_open  id: some payout of it may still move
//   payout_statements    id/piece → {"text"}      payout_accounts      id → what the next period takes in
//   payouts              id → Payout (as made)    payouts_by_node      node/payout → {}
//   payout_events        payout/number → Event
//   payout_batches       id → Batch               payout_batches_open  id: not settled
#pragma once

#include <optional>

#include "lib/base/json.hpp"
#include "node/payout-runs/payout_state.hpp"
#include "node/payout-runs/rail.hpp"
#include "node/payouts/period.hpp"

namespace lucid::payout_runs {

inline constexpr const char* kPeriods = "payout_periods";
inline constexpr const char* kPeriodsOpen = "payout_periods_open";
inline constexpr const char* kStatements = "payout_statements";
inline constexpr const char* kAccounts = "payout_accounts";
inline constexpr const char* kPayouts = "payouts";
inline constexpr const char* kByNode = "payouts_by_node";
inline constexpr const char* kEvents = "payout_events";
inline constexpr const char* kBatches = "payout_batches";
inline constexpr const char* kBatchesOpen = "payout_batches_open";

struct PeriodRecord {
  std::string id;
  poot::Epoch first = 0, last = 0;
  payouts::Currency currency = payouts::Currency::usdt();
  payouts::Micros budget = 0, budget_carried_in = 0, budget_carried_out = 0;
  payouts::Policy policy;
  payouts::Totals totals;
  std::string previous;  // the period of this currency before it; "" for the first
  std::int64_t closed_wall_ms = 0;
  std::size_t lines = 0, payouts = 0, pieces = 0;  // pieces of the stored statement
  Hash32 statement{};                              // its digest
};
json::value to_json(const PeriodRecord& period);
PeriodRecord read_period_record(std::string_view text);
json::value to_json(const payouts::Policy& policy);

struct Event {
  std::int64_t at_wall_ms = 0;
  Trigger trigger = Trigger::claim;
  State to = State::pending;
  Id batch;               // claim, confirm, reject: which
  std::string reference;  // confirm: the rail's
  std::string cause;
};
json::value to_json(const Event& event);
Event read_event(std::string_view text);

struct Payout {
  Payment payment;
  std::string currency;
  std::size_t index = 1, of = 1;  // of the payments its line was split into
  std::int64_t made_wall_ms = 0;
  std::vector<Event> events;  // not part of its document

  State state() const { return events.empty() ? State::pending : events.back().to; }
  std::size_t attempts() const;     // batches it was in
  std::optional<Id> batch() const;  // the newest
  std::vector<Id> batches() const;  // all, oldest first
  std::string reference() const;    // what the rail confirmed it under, "" until then
};
std::string payout_document(const Payout& payout);
Payout read_payout(std::string_view text);
json::value describe(const Payout& payout);  // as the API shows it
// The same for the same period, node and number: closing twice can make no second payout.
Id payout_id(const std::string& period, poot::Epoch last, const Id& node, std::size_t index);
std::string event_key(const Id& payout, std::size_t number);  // from 1

struct Batch {
  Submission submission;
  std::string key;        // what the rail knows it by; stored before the first call
  std::string reference;  // the rail's answer, stored before anything is concluded from it
  bool settled = false;
  std::int64_t made_wall_ms = 0;
};
json::value to_json(const Batch& batch);
Batch read_batch(std::string_view text);

json::value to_json(const std::vector<payouts::Account>& accounts);
std::vector<payouts::Account> read_accounts(std::string_view text);

}  // namespace lucid::payout_runs
