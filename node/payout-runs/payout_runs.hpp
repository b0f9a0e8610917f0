// Payout runs: closes periods into statements and payouts, gathers payouts into batches, and brings each batch over a rail exactly once. One
// object for a process, over the Documents the service keeps for node management; it alone writes the collections of records.hpp. Thread-safe:
// requests call the upper half, one thread of the service calls step() (or several: they take turns). Time comes from Clock; nothing sleeps.
//
// What survives: when a call returns, what it did survives power loss; when it throws, it did either nothing or everything (the next call looks
// which). A life may end between any two steps: the next one goes on from the documents and from what the rail says.
// Why nothing is paid twice: a payout is claimed by at most one batch at a time; a batch's key is stored before the rail hears of it and never
// changes; the rail is asked for the key before every submit; once the rail has given a reference the batch is never submitted again.
// Why nothing is lost: a batch stays open until the rail has a final answer for each of its payments. No answer is never taken for a no.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <set>

#include "lib/base/clock.hpp"
#include "lib/base/random.hpp"
#include "lib/store/documents.hpp"
#include "node/payout-runs/records.hpp"
#include "node/payouts/statement.hpp"

namespace lucid::payout_runs {

// What the service knows of work and nodes. Any thread; may throw lucid::Error.
class Source {
 public:
  virtual ~Source() = default;
  // The first epoch whose receipts are not all made: epochs before it never change.
  virtual poot::Epoch open_epoch() = 0;
  // The root of the receipts' log at the end of `epoch`.
  virtual Hash32 log_root(poot::Epoch epoch) = 0;
  // Every node that was ever active: left when it retired after draining, banned, else member.
  virtual std::map<Id, payouts::Standing> standings() = 0;
  // Whether it is one of standings().
  virtual bool knows(const Id& node) = 0;
  // Calls `each` once for every node with a receipt in first…last (already widened to the window), with all of them.
  using EachNode = std::function<void(const Id& node, std::span<const poot::Receipt> receipts)>;
  virtual void each_node(poot::Epoch first, poot::Epoch last, const EachNode& each) = 0;
};

struct Config {
  std::vector<payouts::Currency> currencies{payouts::Currency::usdt()};  // that may be paid
  std::size_t batch_limit = 500;                                         // payments, 1–1000
  std::int64_t poll_ms = 5'000;                                          // between two looks at a batch the rail has
  std::int64_t first_retry_ms = 1'000, last_retry_ms = 300'000;          // after an unclear answer, doubling
};

class PayoutRuns {
 public:
  struct Parts {
    store::Documents& documents;
    const Clock& clock;
    RandomSource& random;
    Rail& rail;
    Source& source;
  };
  PayoutRuns(Config config, Parts parts);  // reads what is open

  struct PeriodRequest {
    std::string id;
    poot::Epoch first = 0, last = 0;
    std::string currency, budget;
    payouts::Policy policy;
  };
  // Idempotent by id; Error{conflict, "period_exists"} when the id was closed with anything else. Error{invalid} naming the field.
  struct Closed {
    PeriodRecord period;
    bool created = false;
  };
  Closed close_period(const PeriodRequest& request);
  std::vector<PeriodRecord> periods(const std::string& cursor,
                                    std::size_t limit);                   // newest first; the cursor is the id of the last one seen
  PeriodRecord period(const std::string& id);                             // Error{not_found, "period_not_found"}
  std::string statement_piece(const std::string& id, std::size_t piece);  // from 0 to PeriodRecord::pieces - 1

  // Claims every pending payout of the currency, batch by batch, each in one durable step. None pending: no batch.
  std::vector<Batch> make_batches(const std::string& currency);
  Batch batch(const Id& id);  // Error{not_found, "batch_not_found"}

  struct Filter {
    std::optional<State> state;
    std::optional<Id> node;
  };
  struct Page {
    std::vector<Payout> payouts;
    std::string next;  // "" at the end; a page may hold fewer than asked for and still have a next
  };
  Page list(const Filter& filter, const std::string& cursor, std::size_t limit);  // newest first
  Payout payout(const Id& id);                                                    // Error{not_found, "payout_not_found"}
  Payout cancel(const Id& id);                                                    // Error{conflict, "illegal_transition"}
  // Asks the rail about every batch the payout was in first: what it turns out to have paid is completed instead, what it still may pay is
  // refused (409 "rail_undecided"). Blocks for as long as the rail takes.
  Payout retry(const Id& id);
  bool knows_node(const Id& node);
  // Why a batch does not go on, in words ("" when all is well): the rail is away, or says something that cannot be.
  std::string problem(const Id& batch);

  // Brings every open batch that is due one step on. Never throws for what the rail does; the milliseconds until the next one is due.
  std::int64_t step();
  struct Totals {
    std::size_t pending = 0, processing = 0, failed = 0, batches = 0, problems = 0;
  };
  Totals totals();

 private:
  struct Open {
    Batch batch;
    std::int64_t due_steady_ms = 0;
    int unclear = 0;  // answers in a row that said nothing
    std::string problem;
  };
  struct Move {
    Payout* payout;
    Event event;
  };
  using Lock = std::unique_lock<std::mutex>;
  Lock fresh();  // the lock, with memory as the documents are
  void load();
  void add_live(Payout payout);
  Payout* live(const Id& id);
  Payout read(const Id& id);
  std::vector<Event> events_of(const Id& id);
  // All moves and `more` in one durable step. Error{conflict, "illegal_transition"} before anything is stored.
  void store(std::vector<Move> moves, std::vector<store::Documents::Insert> more);
  void drop_finished(const std::set<std::string>& periods);
  [[noreturn]] void illegal(const Payout& payout, Trigger trigger) const;

  payouts::Statement compute(const PeriodRequest& request, payouts::Micros budget, const PeriodRecord* previous);
  PeriodRecord keep(const payouts::Statement& statement, const std::string& previous);

  // driver.cpp; rail_mutex_ held
  bool advance(const Id& id);           // true: settled
  BatchStatus ask(const Batch& batch);  // checked against the batch; throws when the answer cannot be
  void expect_books();
  void adopt(Batch& batch, const std::string& reference);
  bool apply(const Batch& batch, const BatchStatus& status);
  bool refuse(const Batch& batch, const std::string& reason);
  void settle(Batch batch);

  Config config_;
  Parts parts_;
  std::mutex period_mutex_;  // one period closes at a time; taken first
  std::mutex rail_mutex_;    // one call on the rail at a time; taken before mutex_
  bool expected_ = false;    // the rail was asked for our newest reference in this life
  std::mutex mutex_;         // guards what follows; never held over a call on the rail
  bool stale_ = true;        // a write ended in an error: memory may be behind the documents
  std::map<std::string, PeriodRecord> periods_;
  std::map<Id, Payout> live_;                      // of open periods
  std::map<std::string, std::set<Id>> pending_;    // by currency
  std::map<std::string, std::size_t> unfinished_;  // by open period: payouts neither completed nor cancelled
  std::map<Id, Open> open_;
};

}  // namespace lucid::payout_runs
