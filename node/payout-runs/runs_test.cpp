// Periods, payouts and batches from the operator's side: what is asked, what is refused and with which words.
#include <iostream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/net/client.hpp"
#include "lib/net/server.hpp"
#include "node/payout-runs/routes.hpp"
#include "node/payout-runs/test_support.hpp"

namespace lucid::payout_runs::test {
namespace {

using net::Method;
using payouts::Standing;
using testing::ElementsAre;

TEST(PayoutState, MovesExactlyAsTheTableSays) {
  std::map<std::pair<State, Trigger>, State> legal{{{State::pending, Trigger::claim}, State::processing},
                                                   {{State::pending, Trigger::cancel}, State::cancelled},
                                                   {{State::processing, Trigger::confirm}, State::completed},
                                                   {{State::processing, Trigger::reject}, State::failed},
                                                   {{State::failed, Trigger::retry}, State::pending}};
  for (State from : kStates)
    for (Trigger trigger : kTriggers) {
      auto it = legal.find({from, trigger});
      EXPECT_EQ(next(from, trigger), it == legal.end() ? std::nullopt : std::optional(it->second)) << name(from) << " " << name(trigger);
    }
  for (State s : kStates) EXPECT_EQ(state(name(s)), s);
  EXPECT_FALSE(state("paid"));
}

class Runs : public testing::Test {
 protected:
  Runs() {
    for (std::uint8_t n = 1; n <= 4; ++n) source_.works(node_id(n), 0, 60, n);
    source_.open = 61;
    restart();
  }
  void restart() {
    runs_.reset();
    runs_ = std::make_unique<PayoutRuns>(config_, PayoutRuns::Parts{documents_, clock_, random_, rail_, source_});
  }
  // The code and the pointers a call is refused with.
  static std::vector<std::string> refusal(const std::function<void()>& act) {
    try {
      act();
    } catch (const Error& e) {
      std::vector<std::string> said{e.code()};
      for (const FieldError& f : e.fields()) said.push_back(f.pointer);
      return said;
    }
    return {"not refused"};
  }
  std::vector<std::string> closing(PayoutRuns::PeriodRequest request) {
    return refusal([&] { runs_->close_period(request); });
  }
  std::vector<Payout> in(State state) { return all_payouts(*runs_, {.state = state, .node = {}}); }
  void pay_all() {
    runs_->make_batches("USDT");
    run_to_end(*runs_, clock_);
  }

  TestSource source_;
  ManualClock clock_;
  SeededRandom random_{1};
  store::MemoryDocuments documents_;
  BooksRail rail_;
  Config config_{.batch_limit = 3, .poll_ms = 1'000};
  std::unique_ptr<PayoutRuns> runs_;
};

TEST_F(Runs, ClosingAPeriodTwiceIsTheSamePeriodAndAnythingElseUnderItsIdIsAConflict) {
  auto request = period("2024-01", 6, 10, "1000.000000");
  auto first = runs_->close_period(request);
  EXPECT_TRUE(first.created);
  restart();
  clock_.advance(5'000);
  auto again = runs_->close_period(request);
  EXPECT_FALSE(again.created);
  EXPECT_EQ(json::serialize(to_json(again.period)), json::serialize(to_json(first.period)));
  EXPECT_EQ(all_payouts(*runs_).size(), 4u);
  auto other = request;
  other.budget = "1000.000001";
  EXPECT_THAT(closing(other), ElementsAre("period_exists"));
  other = request;
  other.last = 9;
  EXPECT_THAT(closing(other), ElementsAre("period_exists"));
  other = request;
  other.policy.threshold += 1;
  EXPECT_THAT(closing(other), ElementsAre("period_exists"));
}

TEST_F(Runs, BadPeriodsAreRefusedWithTheFieldNamed) {
  auto good = period("p", 6, 10, "10.000000");
  auto with = [&](auto change) {
    auto request = good;
    change(request);
    return closing(request);
  };
  for (const char* budget :
       {"0.000000", "-1.000000", "9007199254.740993", "99999999999999999999.000000", "1", "1.0", "1e3", "", " 1.000000", "NaN"})
    EXPECT_THAT(with([&](auto& r) { r.budget = budget; }), ElementsAre("period_invalid", "/budget")) << budget;
  for (const char* currency : {"EURC", "usdt", "", "US", "USDT "})
    EXPECT_THAT(with([&](auto& r) { r.currency = currency; }), ElementsAre("period_invalid", "/currency")) << currency;
  for (const std::string& id :
       {std::string(), std::string("A"), std::string("a/b"), std::string("a b"), std::string(65, 'a'), std::string("..")})
    EXPECT_THAT(with([&](auto& r) { r.id = id; }), ElementsAre("period_invalid", "/id")) << id;
  EXPECT_THAT(with([](auto& r) { r.last = 5; }), ElementsAre("period_invalid", "/last_epoch"));
  EXPECT_THAT(with([](auto& r) { r.last = poot::kMaxEpoch + 1; }), ElementsAre("period_invalid", "/last_epoch"));
  EXPECT_THAT(with([](auto& r) { r.last = r.first + 366; }), ElementsAre("period_invalid", "/last_epoch"));
  EXPECT_THAT(with([](auto& r) { r.last = 61; }), ElementsAre("epoch_not_over", "/last_epoch"));
  EXPECT_THAT(with([](auto& r) { r.policy.threshold = 0; }), ElementsAre("period_invalid", "/policy"));
  EXPECT_THAT(with([](auto& r) { r.policy.fee = {2, 1}; }), ElementsAre("period_invalid", "/policy"));
  EXPECT_THAT(with([](auto& r) { r.id = "?", r.budget = "x", r.currency = "y", r.first = 11; }),
              ElementsAre("period_invalid", "/id", "/currency", "/budget", "/last_epoch"));
  EXPECT_TRUE(runs_->periods("", 100).empty());
  EXPECT_TRUE(all_payouts(*runs_).empty());

  runs_->close_period(good);
  for (auto [first, last] : {std::pair{6, 10}, {1, 6}, {10, 12}, {0, 3}, {7, 8}})
    EXPECT_THAT(closing(period("q", static_cast<poot::Epoch>(first), static_cast<poot::Epoch>(last), "10.000000")),
                ElementsAre("period_overlaps", "/first_epoch"));
  EXPECT_EQ(runs_->periods("", 100).size(), 1u);
}

TEST_F(Runs, ReceiptsOfANodeNobodyKnowsStopTheClosing) {
  source_.nodes.erase(node_id(2));
  EXPECT_THAT(closing(period("p", 6, 10, "10.000000")), ElementsAre("node_unknown"));
}

TEST_F(Runs, ABudgetNobodyCanEarnIsCarriedToTheNextPeriodAndSaidSo) {
  source_.works(node_id(1), 100, 120, 1);
  source_.open = 121;
  PeriodRecord empty = runs_->close_period(period("empty", 80, 90, "50.000000")).period;
  EXPECT_EQ(empty.budget_carried_out, 50'000'000);
  EXPECT_EQ(empty.payouts, 0u);
  PeriodRecord after = runs_->close_period(period("after", 105, 110, "7.000000")).period;
  EXPECT_EQ(after.budget_carried_in, 50'000'000);
  EXPECT_EQ(after.totals.paid + after.totals.fee, 57'000'000);
}

TEST_F(Runs, WhatIsCarriedAndWithheldGoesOnToTheNextPeriodAndALeaverGetsIt) {
  auto first = period("p-1", 6, 10, "40.000000");  // shares 4, 8, 12, 16: two below the threshold of 10
  first.policy.withheld = {1, 4};
  PeriodRecord one = runs_->close_period(first).period;
  EXPECT_EQ(one.totals.withheld_out, 10'000'000);
  EXPECT_GT(one.totals.carried_out, 0);
  source_.nodes[node_id(1)] = Standing::left;
  source_.receipts.erase(node_id(1));  // gone for a long time already
  restart();
  auto second = period("p-2", 20, 30, "36.000000");
  second.policy.withheld = {1, 4};
  PeriodRecord two = runs_->close_period(second).period;
  EXPECT_EQ(two.previous, "p-1");
  EXPECT_EQ(two.totals.carried_in, one.totals.carried_out);
  EXPECT_EQ(two.totals.withheld_in, one.totals.withheld_out);
  auto paid = all_payouts(*runs_, {.state = {}, .node = node_id(1)});
  ASSERT_EQ(paid.size(), 1u);
  EXPECT_EQ(paid[0].payment.micro, 3'000'000 - 30'000 + 1'000'000 - 10'000) << "its carried 3 and its withheld 1, each less 1 %";
  auto third = period("p-3", 31, 32, "1.000000");
  EXPECT_EQ(runs_->close_period(third).period.totals.carried_in, two.totals.carried_out);
  EXPECT_EQ(all_payouts(*runs_, {.state = {}, .node = node_id(1)}).size(), 1u) << "once";
}

TEST_F(Runs, LargeAmountsAreSplitAndBatchesAreBounded) {
  runs_->close_period(period("p", 6, 10, "121212.121212"));
  auto payouts = all_payouts(*runs_);
  std::size_t split = 0;
  for (const Payout& p : payouts) {
    EXPECT_LE(p.payment.micro, 10'000'000'000);
    split += p.of > 1 ? 1 : 0;
  }
  EXPECT_EQ(payouts.size(), 14u);  // of 12 000, 24 000, 36 000 and 48 000
  EXPECT_EQ(split, 14u);
  auto batches = runs_->make_batches("USDT");
  EXPECT_EQ(batches.size(), 5u);
  for (const Batch& b : batches) EXPECT_LE(b.submission.payments.size(), 3u);
  EXPECT_TRUE(runs_->make_batches("USDT").empty()) << "asked again, nothing is left";
  run_to_end(*runs_, clock_);
  EXPECT_EQ(in(State::completed).size(), 14u);
  EXPECT_EQ(runs_->totals().processing, 0u);
  EXPECT_THAT(refusal([&] { runs_->make_batches("EURC"); }), ElementsAre("currency_unknown", "/currency"));
}

TEST_F(Runs, CancelAndRetryAreRefusedWhereTheTableHasNoSuchMove) {
  runs_->close_period(period("p", 6, 10, "1000.000000"));
  auto all = all_payouts(*runs_);
  Id cancelled = all[0].payment.payout, rejected = all[1].payment.payout, paid = all[2].payment.payout, slow = all[3].payment.payout;
  auto cancel = [&](const Id& id) { return refusal([&] { runs_->cancel(id); })[0]; };
  auto retry = [&](const Id& id) { return refusal([&] { runs_->retry(id); })[0]; };
  EXPECT_EQ(retry(cancelled), "illegal_transition") << "pending";
  EXPECT_EQ(runs_->cancel(cancelled).state(), State::cancelled);
  bool reject = true, done = false;
  rail_.decide = [&](const Payment& p, std::size_t) {
    if (p.payout == slow && !done) return PaymentStatus::Fate::open;
    return p.payout == rejected && reject ? PaymentStatus::Fate::rejected : PaymentStatus::Fate::paid;
  };
  runs_->make_batches("USDT");
  EXPECT_EQ(cancel(slow), "illegal_transition") << "claimed by a batch nobody has heard of yet";
  runs_->step();
  for (const Id& id : {cancelled, paid, slow}) {
    EXPECT_EQ(cancel(id), "illegal_transition");
    EXPECT_EQ(retry(id), "illegal_transition");
  }
  EXPECT_EQ(cancel(rejected), "illegal_transition");
  EXPECT_EQ(cancel(node_id(99)), "payout_not_found");
  EXPECT_EQ(retry(node_id(99)), "payout_not_found");
  EXPECT_EQ(runs_->payout(rejected).events.back().cause, "account closed");
  EXPECT_EQ(runs_->retry(rejected).state(), State::pending);
  reject = false;
  runs_->make_batches("USDT");
  done = true;
  run_to_end(*runs_, clock_);
  restart();
  EXPECT_EQ(runs_->payout(rejected).state(), State::completed);
  EXPECT_EQ(runs_->payout(rejected).attempts(), 2u);
  for (const Id& id : {rejected, paid, slow}) EXPECT_EQ(rail_.times_paid[id], 1);
  EXPECT_FALSE(rail_.times_paid.contains(cancelled));
  for (const Id& id : {cancelled, rejected, paid, slow}) EXPECT_EQ(cancel(id), "illegal_transition") << "of a finished period";
}

TEST_F(Runs, ListsAreNewestFirstFilteredAndPagedWhateverIsInMemory) {
  for (int i = 0; i < 5; ++i) {
    runs_->close_period(period("p-" + std::to_string(i), static_cast<poot::Epoch>(6 + i), static_cast<poot::Epoch>(6 + i), "1000.000000"));
    if (i < 3) pay_all();
  }
  runs_->cancel(in(State::pending)[0].payment.payout);
  auto all = all_payouts(*runs_);
  ASSERT_EQ(all.size(), 20u);
  for (std::size_t i = 1; i < all.size(); ++i) EXPECT_GT(all[i - 1].payment.payout, all[i].payment.payout);
  EXPECT_EQ(all[0].payment.period, "p-4");
  EXPECT_EQ(in(State::completed).size(), 12u);
  EXPECT_EQ(in(State::pending).size(), 7u);
  EXPECT_EQ(in(State::cancelled).size(), 1u);
  EXPECT_EQ(all_payouts(*runs_, {.state = {}, .node = node_id(3)}).size(), 5u);
  EXPECT_EQ(all_payouts(*runs_, {.state = State::completed, .node = node_id(3)}).size(), 3u);
  EXPECT_TRUE(all_payouts(*runs_, {.state = {}, .node = node_id(9)}).empty());
  EXPECT_EQ(runs_->periods("", 2)[1].id, "p-3");
  EXPECT_EQ(runs_->periods("p-3", 10).size(), 3u);
  EXPECT_THAT(refusal([&] { runs_->periods("nowhere", 10); }), ElementsAre("cursor_invalid", "/cursor"));
}

TEST_F(Runs, ManyThreadsAtOnceNeitherLoseNorDoubleAPayout) {
  config_.batch_limit = 2;
  restart();
  std::map<Id, int> asked;
  rail_.decide = [&](const Payment& p, std::size_t looks) {
    if (looks < 2) return PaymentStatus::Fate::open;
    return p.payout.bytes()[15] % 3 == 0 && asked[p.payout]++ == 0 ? PaymentStatus::Fate::rejected : PaymentStatus::Fate::paid;
  };
  std::atomic<bool> over = false;
  std::atomic<int> cancelled = 0;
  auto quietly = [](auto act) {
    try {
      act();
    } catch (const Error& e) { EXPECT_TRUE(e.kind() == ErrorKind::conflict || e.kind() == ErrorKind::not_found) << e.what(); }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      while (!over) {
        runs_->step();
        clock_.advance(1'000);
      }
    });
  threads.emplace_back([&] {
    while (!over) runs_->make_batches("USDT");
  });
  threads.emplace_back([&] {
    while (!over)
      for (const Payout& p : runs_->list({}, "", 100).payouts) {
        if (p.state() == State::pending && p.payment.payout.bytes()[14] % 4 == 0)
          quietly([&] { runs_->cancel(p.payment.payout), ++cancelled; });
        if (p.state() == State::failed) quietly([&] { runs_->retry(p.payment.payout); });
      }
  });
  for (poot::Epoch e = 6; e < 16; ++e) runs_->close_period(period("p-" + std::to_string(e), e, e, "30000.000000"));
  auto settled = [&] {
    auto t = runs_->totals();
    return t.pending + t.processing + t.failed + t.batches == 0;
  };
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!settled() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  over = true;
  for (std::thread& t : threads) t.join();
  EXPECT_TRUE(settled());
  std::size_t completed = in(State::completed).size();
  EXPECT_EQ(completed + in(State::cancelled).size(), all_payouts(*runs_).size());
  EXPECT_EQ(in(State::cancelled).size(), static_cast<std::size_t>(cancelled));
  EXPECT_EQ(rail_.times_paid.size(), completed);
  for (const auto& [id, times] : rail_.times_paid) EXPECT_EQ(times, 1);
}

TEST_F(Runs, NothingIsPaidFromALedgerThatIsAnOldCopy) {
  TempDir directory;
  std::string path = directory.path() + "/ledger.jsonl";
  crypto::SigningKey key = crypto::SigningKey::make(random_);
  auto begin = [&] {
    auto ledger = std::make_unique<LedgerRail>(path, system_files(), clock_, *crypto::SigningKey::parse(key.text()));
    runs_ = std::make_unique<PayoutRuns>(config_, PayoutRuns::Parts{documents_, clock_, random_, *ledger, source_});
    return ledger;
  };
  auto ledger = begin();
  runs_->close_period(period("p-1", 6, 7, "1000.000000"));
  pay_all();
  Bytes whole = system_files().read_file(path);
  runs_->close_period(period("p-2", 8, 9, "1000.000000"));
  system_files().remove(path);
  runs_ = nullptr;
  ledger = begin();
  Id batch = runs_->make_batches("USDT").at(0).submission.batch;
  for (int i = 0; i < 5; ++i) clock_.advance(std::max<std::int64_t>(1, runs_->step()));
  EXPECT_NE(runs_->problem(batch).find("no longer holds"), std::string::npos);
  EXPECT_EQ(in(State::processing).size(), 4u);
  EXPECT_TRUE(system_files().read_file(path).empty());
  runs_ = nullptr;
  system_files().replace_file(path, whole);
  ledger = begin();
  run_to_end(*runs_, clock_);
  EXPECT_EQ(check_ledger(system_files(), path, key.verify_key()).lines, 8u);
  runs_ = nullptr;
}

TEST_F(Runs, AMonthOfManyNodesIsClosedStoredAndPaid) {
  TestSource many;
  poot::Uptime up;
  up.map.fill(0xff);
  for (std::uint32_t n = 1; n <= 1'000; ++n) {
    std::array<std::uint8_t, 16> bytes{1};
    bytes[14] = static_cast<std::uint8_t>(n >> 8), bytes[15] = static_cast<std::uint8_t>(n);
    Id node(bytes);
    many.nodes[node] = Standing::member;
    for (poot::Epoch e = 0; e < 36; ++e) {
      many.receipts[node].push_back({e, node, up});
      many.receipts[node].push_back({e, node, poot::Hosting{{{.slot = 1, .sessions = 1 + n % 9, .bytes = 1}}}});
    }
  }
  many.open = 36;
  TempDir directory;
  auto sqlite = store::open_sqlite_documents(directory.path() + "/nodes.db");
  SystemClock clock;
  LedgerRail ledger(directory.path() + "/ledger.jsonl", system_files(), clock, crypto::SigningKey::make(random_));
  PayoutRuns runs(Config{.poll_ms = 0}, {*sqlite, clock, random_, ledger, many});
  auto since = [t = clock.steady_ms(), &clock]() mutable { return clock.steady_ms() - std::exchange(t, clock.steady_ms()); };
  PeriodRecord closed = runs.close_period(period("month", 6, 35, "1000000.000000")).period;
  std::int64_t closing = since();
  EXPECT_EQ(closed.payouts, 1'000u);
  std::string text;
  for (std::size_t i = 0; i < closed.pieces; ++i) text += runs.statement_piece("month", i);
  EXPECT_EQ(payouts::digest(text), closed.statement);
  EXPECT_TRUE(parse_json(text, 256 << 20));
  since();
  runs.make_batches("USDT");
  while (runs.totals().batches > 0) runs.step();
  std::cout << "1000 nodes, 30 epochs: closed in " << closing << " ms (statement " << text.size() / 1'000 << " kB), paid in " << since()
            << " ms\n";
  EXPECT_EQ(check_ledger(system_files(), directory.path() + "/ledger.jsonl", ledger.verify_key()).lines, 1'000u);
}

// The routes, over a real socket.
class Routes : public Runs {
 protected:
  Routes() {
    net::Router router;
    add_routes(router, *runs_);
    server_ = std::make_unique<net::Server>(
        net::ServerConfig{.worker_threads = 2, .io_threads = 1}, std::move(router),
        [](const net::Request&) { return std::optional<std::string>("admin"); }, [](const net::RequestRecord&) {});
    server_->start();
    client_ = std::make_unique<net::Client>(net::ClientConfig{.base_url = "http://127.0.0.1:" + std::to_string(server_->port())});
  }
  ~Routes() override { server_->stop(std::chrono::milliseconds(1'000)); }
  net::Response call(Method method, const std::string& target, const std::string& body = "") {
    return client_->send(
        {.method = method, .target = "/api/v1" + target, .body = as_bytes(body), .content_type = body.empty() ? "" : "application/json"});
  }
  json::object get(const std::string& target) { return client_->get_json("/api/v1" + target).as_object(); }
  // Status, code and pointers of a problem.
  std::string problem(const net::Response& r) {
    EXPECT_EQ(r.headers.get("Content-Type").value_or(""), "application/problem+json");
    json::value v = parse_json(as_text(r.body)).value();
    std::string said = std::to_string(r.status) + " " + std::string(v.at("code").as_string());
    if (v.as_object().contains("errors"))
      for (const json::value& f : v.at("errors").as_array()) said += " " + std::string(f.at("pointer").as_string());
    return said;
  }
  std::unique_ptr<net::Server> server_;
  std::unique_ptr<net::Client> client_;
};

TEST_F(Routes, AWholeRunOverHttp) {
  const std::string body =
      R"({"id":"p-1","first_epoch":6,"last_epoch":10,"budget":"1000.000000","currency":"USDT","policy":{"withheld":{"part":1,"of":10},"threshold":"1.000000"}})";
  EXPECT_EQ(call(Method::post, "/payouts/periods", body).status, 201);
  EXPECT_EQ(call(Method::post, "/payouts/periods", body).status, 200);
  EXPECT_EQ(get("/payouts/periods").at("periods").as_array().size(), 1u);
  EXPECT_EQ(get("/payouts/periods/p-1").at("totals").at("withheld_out").as_string(), "100.000000");
  net::Response statement = call(Method::get, "/payouts/periods/p-1/statement");
  EXPECT_EQ(statement.status, 200);
  EXPECT_EQ(to_hex(payouts::digest(as_text(statement.body))), get("/payouts/periods/p-1").at("statement_sha256").as_string());

  std::vector<std::string> ids;
  std::string cursor;
  do {
    json::object page = get("/payouts?limit=3" + (cursor.empty() ? "" : "&cursor=" + cursor));
    for (const json::value& p : page.at("payouts").as_array()) ids.emplace_back(p.at("id").as_string());
    cursor = page.at("cursor").as_string();
  } while (!cursor.empty());
  ASSERT_EQ(ids.size(), 4u);
  EXPECT_EQ(call(Method::post, "/payouts/" + ids[0] + "/cancel").status, 200);
  EXPECT_EQ(problem(call(Method::post, "/payouts/" + ids[0] + "/cancel")), "409 illegal_transition");
  net::Response made = call(Method::post, "/payouts/batches", R"({"currency":"USDT"})");
  EXPECT_EQ(made.status, 201);
  json::array batches = parse_json(as_text(made.body)).value().at("batches").as_array();
  ASSERT_EQ(batches.size(), 1u);
  std::string batch(batches[0].at("id").as_string());
  EXPECT_EQ(get("/payouts/batches/" + batch).at("state").as_string(), "open");
  run_to_end(*runs_, clock_);
  EXPECT_EQ(get("/payouts/batches/" + batch).at("state").as_string(), "settled");
  json::object paid = get("/payouts/" + ids[1]);
  EXPECT_EQ(paid.at("state").as_string(), "completed");
  EXPECT_EQ(paid.at("reference").as_string(), "ref-1");
  EXPECT_EQ(paid.at("history").as_array().size(), 2u);
  EXPECT_EQ(get("/payouts?state=completed").at("payouts").as_array().size(), 3u);
  EXPECT_EQ(get("/nodes/" + node_id(2).text() + "/payouts").at("payouts").as_array().size(), 1u);
  EXPECT_EQ(problem(call(Method::post, "/payouts/" + ids[1] + "/retry")), "409 illegal_transition");

  net::Response csv = call(Method::get, "/payouts.csv");
  EXPECT_EQ(csv.status, 200);
  std::string text(as_text(csv.body));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5);
  EXPECT_TRUE(text.starts_with("id,period,node,index,of,amount,currency,state,batch,reference,made_at,since\r\n" + ids[0] + ",p-1,"));
  EXPECT_NE(text.find(",completed," + batch + ",\"ref-1\","), std::string::npos);
  EXPECT_EQ(call(Method::get, "/payouts.csv?state=cancelled").status, 200);
}

TEST_F(Routes, BadRequestsAreProblemsWithTheFieldNamed) {
  auto closing = [&](const std::string& body) { return problem(call(Method::post, "/payouts/periods", body)); };
  auto body = [](const std::string& budget, const std::string& more = "") {
    return R"({"id":"p","first_epoch":6,"last_epoch":10,"currency":"USDT","budget":)" + budget + more + "}";
  };
  EXPECT_EQ(closing("{"), "400 malformed");
  EXPECT_EQ(closing(body("0")), "422 invalid /budget") << "amounts are text: numbers lose digits in other programs";
  EXPECT_EQ(closing(body("\"0.000000\"")), "422 period_invalid /budget");
  EXPECT_EQ(closing(body("\"-5.000000\"")), "422 period_invalid /budget");
  EXPECT_EQ(closing(body("\"9007199254.740993\"")), "422 period_invalid /budget");
  EXPECT_EQ(closing(body("\"1.000000\"", R"(,"surprise":1)")), "422 invalid /surprise");
  EXPECT_EQ(closing(body("\"1.000000\"", R"(,"policy":{"fee":{"part":3,"of":2}})")), "422 invalid /policy/fee");
  EXPECT_EQ(closing(body("\"1.000000\"", R"(,"policy":{"minimum":"0.000000"})")), "422 invalid /policy/minimum");
  EXPECT_EQ(closing(R"({"id":"p","first_epoch":-1,"last_epoch":1.5,"currency":"USDT","budget":"1.000000"})"),
            "422 invalid /first_epoch /last_epoch");
  EXPECT_EQ(closing(R"({"id":"p","first_epoch":6,"last_epoch":61,"currency":"USDT","budget":"1.000000"})"),
            "422 epoch_not_over /last_epoch");
  EXPECT_EQ(problem(call(Method::post, "/payouts/batches", R"({"currency":"EURC"})")), "422 currency_unknown /currency");
  EXPECT_EQ(problem(call(Method::get, "/payouts?state=paid")), "422 query_invalid /state");
  EXPECT_EQ(problem(call(Method::get, "/payouts?node=x")), "422 query_invalid /node");
  EXPECT_EQ(problem(call(Method::get, "/payouts?node=" + node_id(99).text())), "422 query_invalid /node");
  EXPECT_EQ(problem(call(Method::get, "/payouts?cursor=zzz")), "422 query_invalid /cursor");
  EXPECT_EQ(problem(call(Method::get, "/payouts?limit=101")).substr(0, 3), "422");
  EXPECT_EQ(problem(call(Method::get, "/payouts/nothing")), "404 payout_not_found");
  EXPECT_EQ(problem(call(Method::get, "/payouts/batches/" + node_id(1).text())), "404 batch_not_found");
  EXPECT_EQ(problem(call(Method::get, "/payouts/periods/none/statement")), "404 period_not_found");
  EXPECT_EQ(problem(call(Method::get, "/nodes/" + node_id(99).text() + "/payouts")), "404 node_not_found");
  EXPECT_EQ(problem(call(Method::post, "/payouts/" + node_id(1).text() + "/retry", R"({"force":true})")), "422 invalid /force");
}

}  // namespace
}  // namespace lucid::payout_runs::test
