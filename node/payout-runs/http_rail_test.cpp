// The http rail against a real payment service on a real socket that keeps its own books and misbehaves in every way it can.
#include <condition_variable>
#include <thread>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "lib/net/server.hpp"
#include "lib/net/tls_fixture.hpp"
#include "node/payout-runs/http_rail.hpp"
#include "node/payout-runs/test_support.hpp"

namespace lucid::payout_runs::test {
namespace {

using net::Request;
using net::Response;

// Pays every batch once by key. What it answers is bent by `submit` and `state` of the next calls.
class PaymentService {
 public:
  enum class Bend {
    none,
    hang,
    take_and_hang,
    take_and_cut,
    take_and_fail,
    take_and_other_reference,
    refuse,
    take_and_refuse,
    unsigned_,
    malformed,
    not_json,
    huge,
    other_key,
    wrong_amount,
    wrong_payee,
    wrong_currency,
    other_reference,
    missing,
    twice,
    proxy_404,
    forgot,
    unknown_state,
    negative
  };
  std::vector<Bend> submits, states;  // of the next calls, first first
  std::int64_t confirmations = 19, per_look = 0;
  std::string state = "paid";
  std::map<Id, int> times_paid;
  std::map<Id, std::int64_t> micro_paid;
  std::atomic<int> submit_calls = 0, bad_signatures = 0;
  void set(const std::function<void(PaymentService&)>& change) {
    std::lock_guard lock(mutex);
    change(*this);
  }
  std::mutex mutex;

  PaymentService() : ours_(crypto::SigningKey::make(random_)), theirs_(crypto::SigningKey::make(random_)) {
    net::Router router;
    router.add(net::Method::post, "/v1/batches", [this](Request& r) { return submit(r); }, {.auth = net::Auth::open});
    router.add(net::Method::get, "/v1/batches/{key}", [this](Request& r) { return status(r); }, {.auth = net::Auth::open});
    server_ = std::make_unique<net::Server>(
        net::ServerConfig{.worker_threads = 3, .io_threads = 1}, std::move(router),
        [](const Request&) { return std::optional<std::string>("anyone"); }, [](const net::RequestRecord&) {});
    server_->start();
  }
  ~PaymentService() {
    let_go();
    server_->stop(std::chrono::milliseconds(2'000));
  }
  void let_go() {
    std::lock_guard lock(mutex);
    released_ = true;
    changed_.notify_all();
  }
  Credentials credentials() {
    return {.account = "lucid", .signing_key = *crypto::SigningKey::parse(theirs_.text()), .service_key = ours_.verify_key()};
  }
  std::uint16_t port() const { return server_->port(); }
  HttpRail::Config config(std::chrono::milliseconds timeout = std::chrono::milliseconds(5'000)) {
    return {.url = "http://127.0.0.1:" + std::to_string(server_->port()), .timeout = timeout, .max_answer = 64 << 10};
  }

 private:
  struct Entry {
    json::object batch;
    std::string reference;
  };
  static Bend take(std::vector<Bend>& bends) {
    if (bends.empty()) return Bend::none;
    Bend bend = bends.front();
    bends.erase(bends.begin());
    return bend;
  }
  Response answer(const Request& r, const std::string& target, int status, const std::string& body, bool sign = true) {
    std::string key(r.headers.get("Idempotency-Key").value_or(""));
    Response response = Response::json_text(status, body);
    if (sign)
      response.headers.set(kSignatureHeader,
                           to_base64url(ours_.sign(as_bytes(signed_answer(net::name(r.method), target, key, status, as_bytes(body))))));
    return response;
  }
  bool genuine(const Request& r, const std::string& target) {
    std::string key(r.headers.get("Idempotency-Key").value_or(""));
    auto signature = from_base64url(r.headers.get(kSignatureHeader).value_or(""));
    bool good = signature && r.headers.get(kAccountHeader) == "lucid" &&
                theirs_.verify_key().verify(as_bytes(signed_request(net::name(r.method), target, key, r.body)), *signature);
    bad_signatures += good ? 0 : 1;
    return good;
  }
  void book(const std::string& key, const json::object& batch) {
    auto [it, fresh] = books_.try_emplace(key);
    if (!fresh) return;
    it->second = {batch, "tx-" + std::to_string(books_.size())};
    for (const json::value& p : batch.at("payments").as_array()) {
      Id id = *Id::parse(p.at("id").as_string());
      ++times_paid[id];
      micro_paid[id] += p.at("micro").as_int64();
    }
  }
  Response submit(Request& r) {
    std::unique_lock lock(mutex);
    ++submit_calls;
    const std::string target = "/v1/batches";
    if (!genuine(r, target)) return answer(r, target, 401, R"({"code":"signature_invalid"})");
    std::string key(r.headers.get("Idempotency-Key").value_or(""));
    json::value body = r.json_body();
    Bend bend = take(submits);
    auto hang = [&] { changed_.wait(lock, [&] { return released_; }); };
    if (bend == Bend::refuse) return answer(r, target, 422, R"({"code":"batch_refused","detail":"no funds"})");
    if (bend == Bend::proxy_404) return answer(r, target, 404, "<html>", false);
    if (bend == Bend::hang) hang();  // and books it late
    book(key, body.as_object());
    if (bend == Bend::take_and_hang) hang();
    std::string reference = bend == Bend::take_and_other_reference ? "tx-other" : books_.at(key).reference;
    std::string good = json::serialize(json::object{{"key", bend == Bend::other_key ? "another" : key}, {"reference", reference}});
    switch (bend) {
      case Bend::take_and_fail: return answer(r, target, 500, R"({"code":"oops"})");
      case Bend::take_and_refuse: return answer(r, target, 422, R"({"code":"batch_refused","detail":"no"})");
      case Bend::take_and_cut: {
        Response cut;
        cut.stream_size = 100;
        cut.stream = [](std::span<std::uint8_t>) -> std::size_t { throw std::runtime_error("cut"); };
        return cut;
      }
      case Bend::unsigned_: return answer(r, target, 200, good, false);
      case Bend::malformed: return answer(r, target, 200, R"({"key":7,"reference":[]})");
      case Bend::not_json: return answer(r, target, 200, "\x01{{{");
      case Bend::huge: return answer(r, target, 200, good + std::string(300'000, ' '));
      default: return answer(r, target, 202, good);
    }
  }
  Response status(Request& r) {
    std::unique_lock lock(mutex);
    std::string key = r.param("key"), target = "/v1/batches/" + key;
    if (!genuine(r, target)) return answer(r, target, 401, R"({"code":"signature_invalid"})");
    Bend bend = take(states);
    if (bend == Bend::hang) changed_.wait(lock, [&] { return released_; });
    if (bend == Bend::proxy_404) return answer(r, target, 404, R"({"code":"not_found"})");
    auto it = books_.find(key);
    if (it == books_.end() || bend == Bend::forgot) return answer(r, target, 404, R"({"code":"batch_unknown"})", bend != Bend::unsigned_);
    json::array payments;
    for (const json::value& p : it->second.batch.at("payments").as_array()) {
      json::object row{
          {"id", p.at("id")}, {"payee", p.at("payee")}, {"micro", p.at("micro")}, {"state", state}, {"confirmations", confirmations}};
      if (payments.empty()) {
        if (bend == Bend::wrong_amount) row["micro"] = p.at("micro").as_int64() + 1;
        if (bend == Bend::wrong_payee) row["payee"] = node_id(77).text();
        if (bend == Bend::unknown_state) row["state"] = "maybe";
        if (bend == Bend::negative) row["micro"] = -1;
      }
      if (bend != Bend::missing || !payments.empty()) payments.push_back(row);
      if (bend == Bend::twice)
        payments.push_back(row);
      else if (bend == Bend::missing && payments.empty())
        payments.push_back(json::object{{"id", node_id(1).text()},
                                        {"payee", p.at("payee")},
                                        {"micro", p.at("micro")},
                                        {"state", state},
                                        {"confirmations", confirmations}});
    }
    confirmations += per_look;
    std::string body =
        json::serialize(json::object{{"key", bend == Bend::other_key ? "another" : key},
                                     {"reference", bend == Bend::other_reference ? "tx-other" : it->second.reference},
                                     {"currency", bend == Bend::wrong_currency ? "EURC" : it->second.batch.at("currency").as_string()},
                                     {"payments", payments}});
    if (bend == Bend::malformed) body = R"({"key":[]})";
    if (bend == Bend::not_json) body = "{\"key\":";
    if (bend == Bend::huge) body += std::string(300'000, ' ');
    return answer(r, target, 200, body, bend != Bend::unsigned_);
  }

  SeededRandom random_{11};
  crypto::SigningKey ours_, theirs_;
  std::map<std::string, Entry> books_;
  bool released_ = false;
  std::condition_variable changed_;
  std::unique_ptr<net::Server> server_;
};

class HttpRailRuns : public testing::Test {
 protected:
  using Bend = PaymentService::Bend;
  void begin(std::chrono::milliseconds timeout = std::chrono::milliseconds(5'000)) {
    for (std::uint8_t n = 1; n <= 3; ++n) source_.works(node_id(n), 0, 10, n);
    source_.open = 11;
    rail_ = std::make_unique<HttpRail>(service_.config(timeout), service_.credentials());
    restart();
    runs_->close_period(period("p-1", 6, 10, "600.000000"));
    batch_ = runs_->make_batches("USDT").at(0).submission.batch;
  }
  void restart() {
    runs_.reset();
    runs_ = std::make_unique<PayoutRuns>(Config{.poll_ms = 1'000, .first_retry_ms = 100, .last_retry_ms = 1'000},
                                         PayoutRuns::Parts{documents_, clock_, random_, *rail_, source_});
  }
  void look() {
    runs_->step();
    clock_.advance(1'000);
  }
  std::size_t in(State state) { return all_payouts(*runs_, {.state = state, .node = {}}).size(); }
  // After the bend was met: everything is paid, once, as it should be.
  void ends_well() {
    service_.let_go();
    run_to_end(*runs_, clock_, 60);
    EXPECT_EQ(in(State::completed), 3u) << runs_->problem(batch_);
    paid_once();
    EXPECT_EQ(service_.bad_signatures, 0);
  }
  void paid_once() {
    std::lock_guard lock(service_.mutex);
    EXPECT_EQ(service_.times_paid.size(), 3u);
    for (const auto& [id, times] : service_.times_paid) EXPECT_EQ(times, 1);
    std::int64_t sum = 0;
    for (const auto& [id, micro] : service_.micro_paid) sum += micro;
    EXPECT_EQ(sum, runs_->period("p-1").totals.paid);
  }

  TestSource source_;
  ManualClock clock_;
  SeededRandom random_{1};
  store::MemoryDocuments documents_;
  PaymentService service_;
  std::unique_ptr<HttpRail> rail_;
  std::unique_ptr<PayoutRuns> runs_;
  Id batch_;
};

TEST_F(HttpRailRuns, PaysEverythingOnceAndCompletesWithNineteenConfirmations) {
  service_.set([](auto& s) { s.confirmations = 17; });
  service_.set([](auto& s) { s.per_look = 1; });
  begin();
  look();
  EXPECT_EQ(in(State::processing), 3u) << "with 17";
  look();
  EXPECT_EQ(in(State::processing), 3u) << "with 18";
  look();
  EXPECT_EQ(in(State::completed), 3u) << "with 19";
  paid_once();
  EXPECT_EQ(service_.submit_calls, 1);
  EXPECT_EQ(all_payouts(*runs_)[0].reference(), "tx-1");
}

TEST_F(HttpRailRuns, ALostAnswerToASubmitIsFoundByItsKeyAndNotSubmittedAgain) {
  for (Bend bend :
       {Bend::take_and_cut, Bend::take_and_fail, Bend::unsigned_, Bend::malformed, Bend::not_json, Bend::huge, Bend::other_key}) {
    service_.set([&](auto& s) { s.submits = {bend}; });
    if (runs_ == nullptr) {
      begin();
    } else {
      poot::Epoch next = source_.open;
      for (std::uint8_t n = 1; n <= 3; ++n) source_.works(node_id(n), next, next, n);
      source_.open = next + 1;
      runs_->close_period(period("p-" + std::to_string(next), next, next, "600.000000"));
      batch_ = runs_->make_batches("USDT").at(0).submission.batch;
    }
    int before = service_.submit_calls;
    look();
    EXPECT_NE(runs_->problem(batch_), "") << static_cast<int>(bend);
    EXPECT_EQ(in(State::processing), 3u);
    if (bend == Bend::take_and_fail) restart();
    run_to_end(*runs_, clock_);
    EXPECT_EQ(in(State::processing), 0u);
    EXPECT_EQ(service_.submit_calls, before + 1) << static_cast<int>(bend);
  }
  EXPECT_EQ(service_.times_paid.size(), 21u);
  for (const auto& [id, times] : service_.times_paid) EXPECT_EQ(times, 1);
}

TEST_F(HttpRailRuns, AServiceThatTimesOutBeforeItBooksIsPaidOnceThoughItBooksLate) {
  service_.set([](auto& s) { s.submits = {Bend::hang}; });
  begin(std::chrono::milliseconds(150));
  look();
  EXPECT_NE(runs_->problem(batch_).find("did not answer"), std::string::npos) << runs_->problem(batch_);
  EXPECT_EQ(in(State::processing), 3u);
  // The first request is still in its hands; the second, with the same key, overtakes it.
  look();
  EXPECT_EQ(service_.submit_calls, 2);
  ends_well();
}

TEST_F(HttpRailRuns, AServiceThatTimesOutAfterItBookedIsNotToldAgain) {
  service_.set([](auto& s) { s.submits = {Bend::take_and_hang}; });
  begin(std::chrono::milliseconds(150));
  look();
  EXPECT_NE(runs_->problem(batch_), "");
  ends_well();
  EXPECT_EQ(service_.submit_calls, 1);
}

TEST_F(HttpRailRuns, StatusAnswersThatCannotBeChangeNothing) {
  begin();
  service_.set([](auto& s) { s.confirmations = 0; });
  look();
  service_.set([](auto& s) { s.confirmations = 19; });
  for (Bend bend :
       {Bend::wrong_amount, Bend::wrong_payee, Bend::wrong_currency, Bend::other_reference, Bend::missing, Bend::twice, Bend::other_key,
        Bend::malformed, Bend::not_json, Bend::huge, Bend::unsigned_, Bend::proxy_404, Bend::unknown_state, Bend::negative}) {
    service_.set([&](auto& s) { s.states = {bend}; });
    look();
    EXPECT_EQ(in(State::processing), 3u) << static_cast<int>(bend);
    EXPECT_NE(runs_->problem(batch_), "") << static_cast<int>(bend);
    EXPECT_EQ(runs_->totals().problems, 1u);
  }
  EXPECT_EQ(service_.submit_calls, 1);
  ends_well();
}

TEST_F(HttpRailRuns, ABatchTheServiceHasForgottenIsNotSubmittedAgain) {
  service_.set([](auto& s) { s.confirmations = 0; });
  begin();
  look();
  service_.set([](auto& s) { s.confirmations = 19; });
  service_.set([](auto& s) { s.states = {Bend::forgot, Bend::forgot, Bend::forgot, Bend::forgot}; });
  look();
  restart();
  look();
  EXPECT_NE(runs_->problem(batch_).find("no longer knows it"), std::string::npos) << runs_->problem(batch_);
  EXPECT_EQ(service_.submit_calls, 1);
  ends_well();
  EXPECT_EQ(service_.submit_calls, 1);
}

TEST_F(HttpRailRuns, AFirstStatusThatIsNoClearUnknownIsNotFollowedByASubmit) {
  service_.set([](auto& s) { s.states = {Bend::proxy_404, Bend::unsigned_, Bend::hang}; });
  begin(std::chrono::milliseconds(150));
  look();
  look();
  look();
  EXPECT_EQ(service_.submit_calls, 0);
  EXPECT_EQ(in(State::processing), 3u);
  ends_well();
  EXPECT_EQ(service_.submit_calls, 1);
}

TEST_F(HttpRailRuns, AnUnknownReferenceInTheAnswerToASubmitIsNeverFollowedByAnother) {
  service_.set([](auto& s) { s.submits = {Bend::take_and_other_reference}; });
  begin();
  for (int i = 0; i < 10; ++i) look();
  EXPECT_EQ(service_.submit_calls, 1);
  EXPECT_EQ(in(State::processing), 3u) << "a person must look: it is said, and nothing is paid again";
  EXPECT_NE(runs_->problem(batch_).find("another one than before"), std::string::npos);
  paid_once();
}

TEST_F(HttpRailRuns, ARefusedBatchFailsAndIsPaidAfterARetry) {
  service_.set([](auto& s) { s.submits = {Bend::refuse}; });
  begin();
  look();
  EXPECT_EQ(in(State::failed), 3u);
  EXPECT_EQ(service_.times_paid.size(), 0u);
  auto failed = all_payouts(*runs_, {.state = State::failed, .node = {}});
  EXPECT_EQ(failed[0].events.back().cause, "the rail refused the batch: no funds");
  for (const Payout& payout : failed) EXPECT_EQ(runs_->retry(payout.payment.payout).state(), State::pending);
  runs_->make_batches("USDT");
  ends_well();
}

TEST_F(HttpRailRuns, ABatchRefusedAndTakenAllTheSameIsBelievedTaken) {
  service_.set([](auto& s) { s.submits = {Bend::take_and_refuse}; });
  begin();
  look();
  EXPECT_EQ(in(State::completed), 3u);
  paid_once();
}

TEST_F(HttpRailRuns, ARetryOfWhatTheServiceHasPaidAfterAllCompletesItInstead) {
  begin();
  service_.set([](auto& s) { s.state = "rejected"; });
  look();
  EXPECT_EQ(in(State::failed), 3u);
  auto failed = all_payouts(*runs_, {.state = State::failed, .node = {}});
  service_.set([](auto& s) { s.state = "pending"; });
  try {
    runs_->retry(failed[0].payment.payout);
    ADD_FAILURE();
  } catch (const Error& e) { EXPECT_EQ(e.code(), "rail_undecided"); }
  service_.set([](auto& s) { s.states = {Bend::hang}; });
  rail_ = nullptr;
  rail_ = std::make_unique<HttpRail>(service_.config(std::chrono::milliseconds(100)), service_.credentials());
  restart();
  EXPECT_THROW(runs_->retry(failed[0].payment.payout), Error) << "no answer is no leave";
  service_.let_go();
  EXPECT_EQ(in(State::failed), 3u);
  service_.set([](auto& s) { s.state = "paid"; });
  for (const Payout& payout : failed) {
    Payout after = runs_->retry(payout.payment.payout);
    EXPECT_EQ(after.state(), State::completed);
    EXPECT_EQ(after.events.back().cause, "the rail had paid it after all");
  }
  EXPECT_TRUE(runs_->make_batches("USDT").empty());
  paid_once();
}

TEST_F(HttpRailRuns, AServiceThatIsAwayIsAskedEverMoreSeldomAndThePayoutsWait) {
  begin();
  rail_ = std::make_unique<HttpRail>(HttpRail::Config{.url = "http://127.0.0.1:1", .timeout = std::chrono::milliseconds(200)},
                                     service_.credentials());
  restart();
  std::vector<std::int64_t> waits;
  for (int i = 0; i < 6; ++i) {
    waits.push_back(runs_->step());
    clock_.advance(waits.back());
  }
  EXPECT_EQ(waits, (std::vector<std::int64_t>{100, 200, 400, 800, 1'000, 1'000}));
  EXPECT_EQ(in(State::processing), 3u);
  rail_ = std::make_unique<HttpRail>(service_.config(), service_.credentials());
  restart();
  ends_well();
}

TEST_F(HttpRailRuns, PaysOverTlsAndSendsNothingToAServerThatIsAnother) {
  crypto::TestAuthority authority("the test's authority");
  TempDir directory;
  net::TlsFront tls({authority.issue("DNS:localhost"), authority.issue("DNS:other.example")}, service_.port());
  ASSERT_EQ(::setenv("SSL_CERT_FILE", net::ca_file(directory, authority.certificate_pem()).c_str(), 1), 0);
  begin();
  rail_ = std::make_unique<HttpRail>(HttpRail::Config{.url = tls.url("localhost", 1)}, service_.credentials());
  restart();
  look();
  EXPECT_NE(runs_->problem(batch_).find("hostname mismatch"), std::string::npos) << runs_->problem(batch_);
  EXPECT_EQ(service_.submit_calls, 0);
  rail_ = std::make_unique<HttpRail>(HttpRail::Config{.url = tls.url()}, service_.credentials());
  restart();
  ends_well();
  EXPECT_EQ(service_.submit_calls, 1);
  EXPECT_EQ(tls.line(), "TLSv1.3 http/1.1 localhost");
  ::unsetenv("SSL_CERT_FILE");
}

TEST_F(HttpRailRuns, CredentialsComeFromAPrivateFileAndNeverShow) {
  TempDir directory;
  std::string path = directory.path() + "/payments.json";
  Credentials ours = service_.credentials();
  std::string good = json::serialize(
      json::object{{"account", "lucid"}, {"signing_key", ours.signing_key.text()}, {"service_key", ours.service_key.text()}});
  auto code = [&](const std::string& text, mode_t mode) -> std::string {
    system_files().replace_file(path, as_bytes(text));
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    try {
      read_credentials(system_files(), path);
      return "";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(path), std::string::npos);
      EXPECT_EQ(std::string(e.what()).find(ours.signing_key.text().substr(14, 10)), std::string::npos);
      return e.code();
    }
  };
  EXPECT_EQ(code(good, 0600), "");
  EXPECT_EQ(code(good, 0640), "credentials_mode");
  EXPECT_EQ(code(good + "x", 0600), "credentials_malformed");
  EXPECT_EQ(code(R"({"account":"a b"})", 0600), "credentials_malformed");
  EXPECT_EQ(code(std::string(good).replace(good.find("lucid-sig-key:"), 14, "lucid-sig-kex:"), 0600), "credentials_malformed");
  system_files().remove(path);
  try {
    read_credentials(system_files(), path);
    ADD_FAILURE();
  } catch (const Error& e) { EXPECT_EQ(e.code(), "credentials_unreadable"); }
  // What a batch's problem says, whoever reads it.
  service_.set([](auto& s) { s.states = {Bend::unsigned_}; });
  begin();
  look();
  EXPECT_EQ(runs_->problem(batch_).find(ours.signing_key.text().substr(14, 10)), std::string::npos);
  EXPECT_NE(runs_->problem(batch_).find("without its signature"), std::string::npos);
  ends_well();
}

}  // namespace
}  // namespace lucid::payout_runs::test
