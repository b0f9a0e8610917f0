#include "node/payout-runs/payout_runs.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace lucid::payout_runs {
namespace {

constexpr std::size_t kScanPage = 1'000;
constexpr std::size_t kExamined = 2'000;  // payouts looked at for one page of a filtered list
constexpr std::size_t kMaxAttempts = 20;

// Every document of a key range, page by page.
template <class Each>
void scan_all(store::Documents& documents, const char* collection, const std::string& from, const std::string& to, Each each) {
  store::Scan scan{.from = from, .to = to, .limit = kScanPage};
  for (;;) {
    auto page = documents.scan(collection, scan);
    for (const store::Document& d : page) each(d);
    if (page.size() < kScanPage) return;
    scan.from = page.back().key + '\0';
  }
}

// What all payouts of a period's end have in common at the start of their ids.
std::string id_prefix(const PeriodRecord& period) { return payout_id(period.id, period.last, Id(), 1).text().substr(0, 13); }

bool is_final(State state) { return state == State::completed || state == State::cancelled; }

}  // namespace

PayoutRuns::PayoutRuns(Config config, Parts parts) : config_(std::move(config)), parts_(parts) {
  if (config_.batch_limit < 1 || config_.batch_limit > 1'000) throw Error(ErrorKind::invalid, "batch_limit must be 1 to 1000");
  fresh();
}

PayoutRuns::Lock PayoutRuns::fresh() {
  Lock lock(mutex_);
  if (stale_) load();
  return lock;
}

void PayoutRuns::load() {
  store::Documents& documents = parts_.documents;
  periods_.clear();
  live_.clear();
  pending_.clear();
  unfinished_.clear();
  open_.clear();
  scan_all(documents, kPeriods, "", "", [&](const store::Document& d) { periods_.emplace(d.key, read_period_record(d.json)); });
  std::set<std::string> open_periods;
  scan_all(documents, kPeriodsOpen, "", "", [&](const store::Document& d) { open_periods.insert(d.key); });
  for (const std::string& id : open_periods) {
    std::string prefix = id_prefix(periods_.at(id));
    std::map<std::string, std::vector<Event>> events;
    scan_all(documents, kEvents, prefix, store::after_prefix(prefix),
             [&](const store::Document& d) { events[d.key.substr(0, 36)].push_back(read_event(d.json)); });
    scan_all(documents, kPayouts, prefix, store::after_prefix(prefix), [&](const store::Document& d) {
      Payout payout = read_payout(d.json);
      if (payout.payment.period != id) return;
      if (auto it = events.find(d.key); it != events.end()) payout.events = std::move(it->second);
      add_live(std::move(payout));
    });
  }
  scan_all(documents, kBatchesOpen, "", "", [&](const store::Document& d) {
    auto stored = documents.get(kBatches, d.key);
    if (!stored) throw Error(ErrorKind::corrupt, "payout_record_corrupt", "batch " + d.key + " is open and not there");
    Batch batch = read_batch(stored->json);
    Id id = batch.submission.batch;
    open_.emplace(id, Open{.batch = std::move(batch), .due_steady_ms = 0, .unclear = 0, .problem = ""});
  });
  stale_ = false;
  drop_finished(open_periods);
}

void PayoutRuns::add_live(Payout payout) {
  if (payout.state() == State::pending) pending_[payout.currency].insert(payout.payment.payout);
  unfinished_[payout.payment.period] += is_final(payout.state()) ? 0u : 1u;
  Id id = payout.payment.payout;
  live_.emplace(id, std::move(payout));
}

// What may no longer move leaves memory. Only a hint to the next life is removed here, so an end in the middle is harmless.
void PayoutRuns::drop_finished(const std::set<std::string>& periods) {
  for (const std::string& id : periods) {
    auto count = unfinished_.find(id);
    if (count != unfinished_.end() && count->second > 0) continue;
    parts_.documents.remove(kPeriodsOpen, id);
    std::erase_if(live_, [&](const auto& entry) { return entry.second.payment.period == id; });
    unfinished_.erase(id);
  }
}

Payout* PayoutRuns::live(const Id& id) {
  auto it = live_.find(id);
  return it == live_.end() ? nullptr : &it->second;
}

std::vector<Event> PayoutRuns::events_of(const Id& id) {
  std::vector<Event> events;
  std::string prefix = id.text() + "/";
  scan_all(parts_.documents, kEvents, prefix, store::after_prefix(prefix),
           [&](const store::Document& d) { events.push_back(read_event(d.json)); });
  return events;
}

Payout PayoutRuns::read(const Id& id) {
  if (const Payout* known = live(id)) return *known;
  auto stored = parts_.documents.get(kPayouts, id.text());
  if (!stored) throw Error(ErrorKind::not_found, "payout_not_found", "there is no payout of that id");
  Payout payout = read_payout(stored->json);
  payout.events = events_of(id);
  return payout;
}

void PayoutRuns::illegal(const Payout& payout, Trigger trigger) const {
  throw Error(ErrorKind::conflict, "illegal_transition",
              fmt::format("payout {} is {}: {} is not possible", payout.payment.payout.text(), name(payout.state()), name(trigger)));
}

void PayoutRuns::store(std::vector<Move> moves, std::vector<store::Documents::Insert> more) {
  std::size_t first_event = more.size();
  std::map<Payout*, std::vector<Event>> after;
  for (Move& move : moves) {
    std::vector<Event>& added = after[move.payout];
    State from = added.empty() ? move.payout->state() : added.back().to;
    auto to = next(from, move.event.trigger);
    if (!to) illegal(*move.payout, move.event.trigger);
    move.event.at_wall_ms = parts_.clock.wall_ms();
    move.event.to = *to;
    added.push_back(move.event);
    more.push_back(
        {kEvents, event_key(move.payout->payment.payout, move.payout->events.size() + added.size()), json::serialize(to_json(move.event))});
  }
  stale_ = true;  // unless it ends well
  std::vector<bool> stored = parts_.documents.insert_many(more);
  if (std::find(stored.begin() + static_cast<std::ptrdiff_t>(first_event), stored.end(), false) != stored.end())
    throw Error(ErrorKind::conflict, "payout_changed", "a payout changed at the same moment; look at it and ask again");
  stale_ = false;
  std::set<std::string> finished;
  for (auto& [payout, events] : after) {
    State from = payout->state();
    payout->events.insert(payout->events.end(), events.begin(), events.end());
    State to = payout->state();
    std::set<Id>& pending = pending_[payout->currency];
    if (from == State::pending) pending.erase(payout->payment.payout);
    if (to == State::pending) pending.insert(payout->payment.payout);
    if (!is_final(from) && is_final(to) && --unfinished_.at(payout->payment.period) == 0) finished.insert(payout->payment.period);
  }
  if (finished.empty()) return;
  stale_ = true;
  drop_finished(finished);
  stale_ = false;
}

std::vector<Batch> PayoutRuns::make_batches(const std::string& currency) {
  auto parsed = payouts::Currency::parse(currency);
  if (!parsed || std::find(config_.currencies.begin(), config_.currencies.end(), *parsed) == config_.currencies.end())
    throw Error(ErrorKind::invalid, "currency_unknown", "payouts are not made in that currency")
        .with_fields({{"/currency", "must be one of the currencies this deployment pays in"}});
  Lock lock = fresh();
  std::vector<Batch> made;
  const std::set<Id>& pending = pending_[currency];
  while (!pending.empty()) {
    Batch batch;
    batch.submission.batch = Id::make(parts_.clock, parts_.random);
    batch.submission.currency = currency;
    batch.key = "lucid-payouts-" + batch.submission.batch.text();
    batch.made_wall_ms = parts_.clock.wall_ms();
    std::vector<Move> moves;
    for (const Id& id : pending) {
      if (moves.size() == config_.batch_limit) break;
      Payout& payout = live_.at(id);
      batch.submission.payments.push_back(payout.payment);
      Event claim{.trigger = Trigger::claim, .batch = batch.submission.batch, .reference = "", .cause = ""};
      moves.push_back({&payout, std::move(claim)});
    }
    std::string id = batch.submission.batch.text();
    store(std::move(moves), {{kBatches, id, json::serialize(to_json(batch))}, {kBatchesOpen, id, "{}"}});
    open_.emplace(batch.submission.batch, Open{.batch = batch, .due_steady_ms = 0, .unclear = 0, .problem = ""});
    made.push_back(std::move(batch));
  }
  return made;
}

Batch PayoutRuns::batch(const Id& id) {
  auto stored = parts_.documents.get(kBatches, id.text());
  if (!stored) throw Error(ErrorKind::not_found, "batch_not_found", "there is no payout batch of that id");
  return read_batch(stored->json);
}

Payout PayoutRuns::payout(const Id& id) {
  Lock lock = fresh();
  return read(id);
}

PayoutRuns::Page PayoutRuns::list(const Filter& filter, const std::string& cursor, std::size_t limit) {
  Lock lock = fresh();
  Page page;
  auto wanted = [&](const Payout& p) {
    return (!filter.state || p.state() == *filter.state) && (!filter.node || p.payment.node == *filter.node);
  };
  auto full = [&] { return page.payouts.size() == limit; };
  // What may still move is in memory.
  if (filter.state && !is_final(*filter.state)) {
    auto at = cursor.empty() ? live_.end() : live_.lower_bound(*Id::parse(cursor));
    while (at != live_.begin() && !full())
      if (--at; wanted(at->second)) page.payouts.push_back(at->second);
    if (full() && at != live_.begin()) page.next = page.payouts.back().payment.payout.text();
    return page;
  }
  std::string prefix = filter.node ? filter.node->text() + "/" : "";
  store::Scan scan{.from = prefix,
                   .to = cursor.empty() ? (filter.node ? store::after_prefix(prefix) : "") : prefix + cursor,
                   .limit = filter.state ? kExamined : limit,
                   .order = store::Order::descending};
  auto keys = parts_.documents.scan(filter.node ? kByNode : kPayouts, scan);
  std::string last;
  for (const store::Document& d : keys) {
    if (full()) break;
    last = d.key.substr(prefix.size());
    Payout payout = read(*Id::parse(last));
    if (wanted(payout)) page.payouts.push_back(std::move(payout));
  }
  if (full() || keys.size() == scan.limit) page.next = last;
  return page;
}

Payout PayoutRuns::cancel(const Id& id) {
  Lock lock = fresh();
  Payout* payout = live(id);
  if (payout == nullptr) illegal(read(id), Trigger::cancel);
  store({{payout, {.trigger = Trigger::cancel, .batch = {}, .reference = "", .cause = "asked for"}}}, {});
  return read(id);
}

Payout PayoutRuns::retry(const Id& id) {
  std::lock_guard rail_lock(rail_mutex_);
  Payout before;
  {
    Lock lock = fresh();
    before = read(id);
  }
  if (before.state() != State::failed) illegal(before, Trigger::retry);
  if (before.attempts() >= kMaxAttempts)
    throw Error(ErrorKind::conflict, "attempts_exhausted",
                fmt::format("payout {} was tried {} times; find out why first", id.text(), kMaxAttempts));
  const Batch* paid_in = nullptr;
  Batch asked;
  std::string reference;
  for (const Id& batch_id : before.batches()) {
    asked = batch(batch_id);
    BatchStatus status = ask(asked);
    if (!status.known) continue;
    auto fate = std::find_if(status.payments.begin(), status.payments.end(), [&](const PaymentStatus& s) { return s.payout == id; })->fate;
    if (fate == PaymentStatus::Fate::open)
      throw Error(ErrorKind::conflict, "rail_undecided",
                  fmt::format("the rail may still pay payout {} in batch {}; ask again later", id.text(), batch_id.text()));
    if (fate == PaymentStatus::Fate::rejected) continue;
    paid_in = &asked;
    reference = status.reference;
    break;
  }
  Lock lock = fresh();
  Payout* payout = live(id);
  if (payout == nullptr || payout->state() != State::failed) illegal(payout == nullptr ? read(id) : *payout, Trigger::retry);
  if (paid_in == nullptr) {
    store({{payout, {.trigger = Trigger::retry, .batch = {}, .reference = "", .cause = "asked for"}}}, {});
  } else {
    Id in = paid_in->submission.batch;
    const char* cause = "the rail had paid it after all";
    store({{payout, {.trigger = Trigger::retry, .batch = {}, .reference = "", .cause = cause}},
           {payout, {.trigger = Trigger::claim, .batch = in, .reference = "", .cause = cause}},
           {payout, {.trigger = Trigger::confirm, .batch = in, .reference = reference, .cause = cause}}},
          {});
  }
  return read(id);
}

bool PayoutRuns::knows_node(const Id& node) {
  std::string prefix = node.text() + "/";
  return parts_.source.knows(node) ||
         !parts_.documents.scan(kByNode, {.from = prefix, .to = store::after_prefix(prefix), .limit = 1}).empty();
}

std::string PayoutRuns::problem(const Id& batch) {
  Lock lock = fresh();
  auto it = open_.find(batch);
  return it == open_.end() ? "" : it->second.problem;
}

PayoutRuns::Totals PayoutRuns::totals() {
  Lock lock = fresh();
  Totals totals;
  for (const auto& [id, payout] : live_) {
    totals.pending += payout.state() == State::pending ? 1 : 0;
    totals.processing += payout.state() == State::processing ? 1 : 0;
    totals.failed += payout.state() == State::failed ? 1 : 0;
  }
  totals.batches = open_.size();
  for (const auto& [id, open] : open_) totals.problems += open.problem.empty() ? 0 : 1;
  return totals;
}

}  // namespace lucid::payout_runs
