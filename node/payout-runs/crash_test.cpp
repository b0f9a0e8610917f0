// A life may end between any two steps: nothing is ever paid twice, nothing is lost, and the sums are those of the statements.
#include <csignal>
#include <iostream>
#include <random>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/payout-runs/test_support.hpp"

// One thread runs all of it: nothing for the thread sanitizer to see, and at its pace minutes of waiting.
#if defined(__SANITIZE_THREAD__)
#define NOT_FOR_THREADS() GTEST_SKIP() << "not run: a single thread"
#else
#define NOT_FOR_THREADS() (void)0
#endif

namespace lucid::payout_runs::test {
namespace {

using Fate = PaymentStatus::Fate;

// Chosen by the payout alone, so that every life decides alike.
bool to_be_cancelled(const Id& payout) { return payout.bytes()[15] % 8 == 3; }
bool first_rejected(const Id& payout) { return payout.bytes()[14] % 4 == 1; }

// Three periods over twelve nodes: one is split into several payouts, small ones carry over, one leaves, one is banned.
struct World {
  TestSource source;
  ManualClock clock;
  SeededRandom random;
  explicit World(std::uint64_t seed = 1) : random(seed) {
    for (std::uint8_t n = 1; n <= 12; ++n) source.works(node_id(n), 0, 20, n * n);
    source.works(node_id(13), 0, 8, 30);
    source.nodes[node_id(12)] = payouts::Standing::banned;
    source.open = 21;
  }
  Config config() const { return {.batch_limit = 5, .poll_ms = 10, .first_retry_ms = 1, .last_retry_ms = 10}; }
  static std::vector<PayoutRuns::PeriodRequest> periods() {
    auto first = period("p-1", 6, 8, "300.000000"), second = period("p-2", 9, 14, "40000.000001"),
         third = period("p-3", 15, 20, "77.777777");
    for (auto* p : {&first, &second, &third}) p->policy.withheld = {1, 10};
    return {first, second, third};
  }
};

// What an operator does, from the start; whatever an earlier life has done already is done.
void life(World& world, store::Documents& documents, Rail& rail) {
  PayoutRuns runs(world.config(), {documents, world.clock, world.random, rail, world.source});
  for (const auto& request : World::periods()) {
    if (request.id == "p-3") world.source.nodes[node_id(13)] = payouts::Standing::left;
    runs.close_period(request);
    for (const Payout& payout : all_payouts(runs, {.state = State::pending, .node = {}}))
      if (payout.attempts() == 0 && to_be_cancelled(payout.payment.payout)) runs.cancel(payout.payment.payout);
    for (int round = 0; round < 40; ++round) {
      runs.make_batches("USDT");
      run_to_end(runs, world.clock);
      for (const Payout& payout : all_payouts(runs, {.state = State::failed, .node = {}})) runs.retry(payout.payment.payout);
      auto totals = runs.totals();
      if (totals.pending + totals.processing + totals.failed + totals.batches == 0) break;
    }
  }
}

// What must be true in the end, whatever happened: answers what was paid.
std::map<Id, std::int64_t> check_books(World& world, store::Documents& documents, Rail& rail) {
  PayoutRuns runs(world.config(), {documents, world.clock, world.random, rail, world.source});
  std::map<Id, std::int64_t> paid;
  std::map<std::string, std::int64_t> by_period;
  std::size_t cancelled = 0;
  for (const Payout& payout : all_payouts(runs)) {
    const Id& id = payout.payment.payout;
    EXPECT_EQ(payout.state(), to_be_cancelled(id) ? State::cancelled : State::completed);
    by_period[payout.payment.period] += payout.payment.micro;
    cancelled += payout.state() == State::cancelled ? 1u : 0u;
    bool once = payout.state() != State::completed || paid.emplace(id, payout.payment.micro).second;
    EXPECT_TRUE(once);
  }
  const PeriodRecord* before = nullptr;
  PeriodRecord kept;
  for (const auto& request : World::periods()) {
    PeriodRecord p = runs.period(request.id);
    EXPECT_EQ(by_period[p.id], p.totals.paid) << "the payouts are the statement's";
    EXPECT_EQ(p.budget + p.budget_carried_in + p.totals.carried_in + p.totals.withheld_in,
              p.totals.paid + p.totals.fee + p.totals.carried_out + p.totals.withheld_out + p.budget_carried_out);
    EXPECT_EQ(p.totals.carried_in, before != nullptr ? kept.totals.carried_out : 0);
    EXPECT_EQ(p.totals.withheld_in, before != nullptr ? kept.totals.withheld_out : 0);
    kept = p;
    before = &kept;
  }
  EXPECT_GT(cancelled, 0u);
  EXPECT_EQ(runs.totals().batches, 0u);
  return paid;
}

Fate decide(const Payment& payment, std::size_t looks, std::map<Id, int>& asked) {
  if (looks < 2) return Fate::open;
  return first_rejected(payment.payout) && asked[payment.payout]++ == 0 ? Fate::rejected : Fate::paid;
}

struct Plan {
  std::uint64_t first = 0, again = 0;  // at which step; again: in every later life, until it is too late
  std::uint64_t seed = 0;
};

// Answers how many lives were ended.
std::uint64_t run_with_books(const Plan& plan, std::uint64_t* steps = nullptr) {
  World world(plan.seed + 1);
  store::MemoryDocuments memory;
  BooksRail books;
  std::map<Id, int> asked;
  books.decide = [&](const Payment& p, std::size_t looks) { return decide(p, looks, asked); };
  Injector injector;
  auto hit = [&] { injector.hit(); };
  WatchedDocuments documents(memory, hit);
  WatchedRail rail(books, hit);
  injector.arm(plan.first);
  for (int lives = 0; lives < 20; ++lives) {
    try {
      life(world, documents, rail);
      break;
    } catch (const Crash&) {
      if (lives < 8 && plan.again > 0) injector.arm(plan.again);
    }
  }
  injector.disarm();
  auto paid = check_books(world, documents, rail);
  EXPECT_EQ(books.micro_paid, paid) << "crash at step " << plan.first << ", again at " << plan.again;
  for (const auto& [id, times] : books.times_paid) EXPECT_EQ(times, 1) << id.text();
  for (const auto& [key, times] : books.submits) EXPECT_EQ(times, 1) << "the rail is asked before it is told: " << key;
  EXPECT_GT(books.rejected, 0u);
  if (steps != nullptr) *steps = injector.seen();
  return injector.thrown();
}

std::uint64_t run_with_ledger(const Plan& plan, std::uint64_t* steps = nullptr) {
  World world(plan.seed + 1);
  store::MemoryDocuments memory;
  TempDir directory;
  std::string path = directory.path() + "/ledger.jsonl";
  SeededRandom key_random(5);
  crypto::SigningKey key = crypto::SigningKey::make(key_random);
  auto copy = [&] { return *crypto::SigningKey::parse(key.text()); };
  Injector injector;
  auto hit = [&] { injector.hit(); };
  WatchedDocuments documents(memory, hit);
  WatchedFiles files(hit);
  injector.arm(plan.first);
  for (int lives = 0; lives < 20; ++lives) {
    try {
      LedgerRail ledger(path, files, world.clock, copy());
      WatchedRail rail(ledger, hit);
      life(world, documents, rail);
      break;
    } catch (const Crash&) {
      if (lives < 8 && plan.again > 0) injector.arm(plan.again);
    }
  }
  injector.disarm();
  LedgerRail ledger(path, files, world.clock, copy());
  auto paid = check_books(world, documents, ledger);
  LedgerReport report = check_ledger(files, path, key.verify_key());
  EXPECT_EQ(report.problem, "") << "crash at step " << plan.first << ", again at " << plan.again;
  EXPECT_EQ(report.lines, paid.size()) << "each once: the checker refuses a payout that stands in it twice";
  EXPECT_EQ(report.unfinished, 0u);
  EXPECT_EQ(report.torn_bytes, 0u);
  std::int64_t sum = 0;
  for (const auto& [id, micro] : paid) sum += micro;
  EXPECT_EQ(report.micro["USDT"], sum);
  if (steps != nullptr) *steps = injector.seen();
  return injector.thrown();
}

// Every step once, then steps by chance, each followed by further ends at chance steps, until `wanted` lives were ended.
template <class Run>
void thousand_crashes(const char* rail, Run run) {
  constexpr std::uint64_t kWanted = 1'000;
  std::uint64_t steps = 0;
  ASSERT_EQ(run(Plan{}, &steps), 0u);
  ASSERT_GT(steps, 100u);
  std::mt19937_64 chance(20'240'101);
  std::uint64_t crashes = 0, runs = 0;
  for (; runs < steps || crashes < kWanted; ++runs) {
    Plan plan{.first = runs < steps ? runs + 1 : 1 + chance() % steps, .again = runs % 2 == 0 ? 0 : 1 + chance() % 40, .seed = runs};
    std::uint64_t ended = run(plan, nullptr);
    ASSERT_GT(ended, 0u);
    crashes += ended;
    ASSERT_FALSE(testing::Test::HasFailure()) << "run " << runs;
  }
  std::cout << rail << ": " << crashes << " crashes injected into " << runs << " runs of " << steps << " steps, each step at least once\n";
}

TEST(PayoutCrash, NothingIsPaidTwiceOrLostWhereverALifeEnds) {
  NOT_FOR_THREADS();
  thousand_crashes("service with its own books", run_with_books);
}

TEST(PayoutCrash, TheLedgerHoldsEveryPayoutOnceWhereverALifeEnds) {
  NOT_FOR_THREADS();
  thousand_crashes("ledger", run_with_ledger);
}

// The disk fails a change before or after it was made and the service lives on: what it remembers must follow what is stored.
TEST(PayoutCrash, AFailingDatabaseOrDiskLeavesTheSameLifeRight) {
  NOT_FOR_THREADS();
  std::mt19937_64 chance(7);
  std::uint64_t failures = 0;
  bool reached = true;
  for (std::uint64_t at = 1; reached; ++at) {
    World world(at);
    store::MemoryDocuments memory;
    TempDir directory;
    std::string path = directory.path() + "/ledger.jsonl";
    SeededRandom key_random(5);
    crypto::SigningKey key = crypto::SigningKey::make(key_random);
    crypto::VerifyKey verify = key.verify_key();
    Injector injector;
    auto hit = [&] { injector.hit(); };
    WatchedDocuments documents(memory, hit);
    WatchedFiles files(hit);
    LedgerRail ledger(path, files, world.clock, std::move(key));
    PayoutRuns runs(world.config(), {documents, world.clock, world.random, ledger, world.source});
    injector.arm(at, Injector::Kind::error);
    auto trying = [&](auto act) {
      for (int i = 0; i < 20; ++i) {
        try {
          return act();
        } catch (const Error& e) {
          EXPECT_EQ(e.code(), "injected") << e.what();
          if (chance() % 2 == 0) injector.arm(1 + chance() % 10, Injector::Kind::error);
        }
      }
      ADD_FAILURE() << "it never went through";
    };
    for (const auto& request : World::periods()) {
      if (request.id == "p-3") world.source.nodes[node_id(13)] = payouts::Standing::left;
      trying([&] { runs.close_period(request); });
      for (const Payout& payout : all_payouts(runs, {.state = State::pending, .node = {}}))
        trying([&] {
          if (to_be_cancelled(payout.payment.payout) && runs.payout(payout.payment.payout).state() == State::pending)
            runs.cancel(payout.payment.payout);
        });
      trying([&] { runs.make_batches("USDT"); });
      trying([&] { run_to_end(runs, world.clock, 1'000); });
    }
    reached = injector.thrown() > 0;
    failures += injector.thrown();
    injector.disarm();
    auto paid = check_books(world, documents, ledger);
    LedgerReport report = check_ledger(files, path, verify);
    EXPECT_EQ(report.problem, "");
    EXPECT_EQ(report.lines, paid.size());
    ASSERT_FALSE(HasFailure()) << "failure at step " << at;
  }
  EXPECT_GT(failures, 80u);
  std::cout << failures << " failures injected, at each step at least one\n";
}

// The real thing: processes on SQLite and a real file, killed with SIGKILL at chance moments.
TEST(PayoutCrash, ProcessesKilledAtAnyMomentPayEachPayoutOnce) {
  NOT_FOR_THREADS();
  std::mt19937_64 chance(99);
  SeededRandom key_random(5);
  crypto::SigningKey key = crypto::SigningKey::make(key_random);
  constexpr int kRounds = 12;
  int kills = 0, finished = 0;
  for (int round = 0; round < kRounds; ++round) {
    TempDir directory;
    std::string ledger_path = directory.path() + "/ledger.jsonl", database = directory.path() + "/nodes.db";
    for (int lives = 0; lives < 200; ++lives) {
      int steps[2];
      ASSERT_EQ(pipe(steps), 0);
      std::uint64_t seed = static_cast<std::uint64_t>(round * 1'000 + lives);
      pid_t child = fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        // Tells every step; ends without the parent's cleaning up.
        close(steps[0]);
        auto hit = [&] {
          if (write(steps[1], "s", 1) != 1) _exit(3);
        };
        try {
          World world(seed);
          auto sqlite = store::open_sqlite_documents(database);
          WatchedDocuments documents(*sqlite, hit);
          WatchedFiles files(hit);
          LedgerRail ledger(ledger_path, files, world.clock, *crypto::SigningKey::parse(key.text()));
          life(world, documents, ledger);
        } catch (const std::exception& e) {
          std::cerr << e.what() << std::endl;
          _exit(2);
        }
        _exit(0);
      }
      close(steps[1]);
      std::uint64_t wanted = 1 + chance() % 30;
      char step;
      while (wanted > 0 && read(steps[0], &step, 1) == 1) --wanted;
      if (wanted == 0) kill(child, SIGKILL);
      close(steps[0]);
      int status = 0;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      if (WIFEXITED(status)) {
        ASSERT_EQ(WEXITSTATUS(status), 0);
        ++finished;
        break;
      }
      ++kills;
    }
    World world(77);
    auto sqlite = store::open_sqlite_documents(database);
    LedgerRail ledger(ledger_path, system_files(), world.clock, *crypto::SigningKey::parse(key.text()));
    auto paid = check_books(world, *sqlite, ledger);
    LedgerReport report = check_ledger(system_files(), ledger_path, key.verify_key());
    EXPECT_EQ(report.problem, "");
    EXPECT_EQ(report.lines, paid.size());
    EXPECT_EQ(report.unfinished, 0u);
  }
  EXPECT_EQ(finished, kRounds);
  EXPECT_GE(kills, 50);
  std::cout << kills << " processes killed, " << finished << " runs finished\n";
}

}  // namespace
}  // namespace lucid::payout_runs::test
