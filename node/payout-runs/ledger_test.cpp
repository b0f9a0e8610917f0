// The ledger file: what one line says, what a crash may leave, and what the checker sees without the service.
#include <gtest/gtest.h>

#include "lib/crypto/hash.hpp"
#include "node/payout-runs/test_support.hpp"

namespace lucid::payout_runs::test {
namespace {

class Ledger : public testing::Test {
 protected:
  crypto::SigningKey copy() { return *crypto::SigningKey::parse(key_.text()); }
  std::unique_ptr<LedgerRail> rail() { return std::make_unique<LedgerRail>(path_, files_, clock_, copy()); }
  Submission batch(std::uint8_t n, std::size_t payments) {
    Submission s{.batch = node_id(static_cast<std::uint8_t>(200 + n)), .currency = "USDT", .payments = {}};
    for (std::size_t i = 0; i < payments; ++i)
      s.payments.push_back({.payout = payout_id("p-" + std::to_string(n), 3, node_id(n), i),
                            .node = node_id(n),
                            .period = "p-" + std::to_string(n),
                            .micro = static_cast<std::int64_t>(1'000'000 + i)});
    return s;
  }
  std::string text() { return std::string(as_text(system_files().read_file(path_))); }
  void set_text(const std::string& text) { files_.replace_file(path_, as_bytes(text)); }
  LedgerReport check(const std::string& reference = "") { return check_ledger(system_files(), path_, key_.verify_key(), reference); }

  TempDir directory_;
  std::string path_ = directory_.path() + "/ledger.jsonl";
  WatchedFiles files_{[] {}};
  ManualClock clock_;
  SeededRandom random_{3};
  crypto::SigningKey key_ = crypto::SigningKey::make(random_);
};

TEST_F(Ledger, ALineSaysWhatItPaysAndHasOneSpelling) {
  rail()->submit(batch(1, 2), "k1");
  std::string first = text().substr(0, text().find('\n'));
  auto line = parse_ledger_line(first);
  ASSERT_TRUE(line);
  EXPECT_EQ(first.substr(0, 98), R"({"v":1,"n":1,"prev":"0000000000000000000000000000000000000000000000000000000000000000","at":"2023-)");
  EXPECT_EQ(line->payment, batch(1, 2).payments[0]);
  EXPECT_EQ(line->of, 2);
  EXPECT_TRUE(signed_by(first, *line, key_.verify_key()));
  for (const std::string& other : {first + " ", " " + first, first.substr(1), first.substr(0, first.size() - 1), first + "\r",
                                   std::string(first).replace(first.find("\"n\":1"), 5, "\"n\": 1"), std::string("{}"), std::string("null"),
                                   std::string(first).replace(first.find("\"v\":1"), 5, "\"v\":2")})
    EXPECT_FALSE(parse_ledger_line(other)) << other;
  std::string second = text().substr(first.size() + 1, text().size() - first.size() - 2);
  EXPECT_EQ(parse_ledger_line(second)->prev, crypto::sha256(as_bytes(first)));
}

TEST_F(Ledger, TheSameKeyAgainWritesNothingAndAnotherBatchUnderItIsRefused) {
  auto ledger = rail();
  std::string reference = ledger->submit(batch(1, 3), "k1").reference;
  std::string before = text();
  EXPECT_EQ(ledger->submit(batch(1, 3), "k1").reference, reference);
  EXPECT_EQ(rail()->submit(batch(1, 3), "k1").reference, reference) << "in the next life too";
  EXPECT_THROW(ledger->submit(batch(2, 3), "k1"), Error);
  EXPECT_THROW(ledger->submit(batch(1, 2), "k1"), Error);
  EXPECT_NE(ledger->submit(batch(1, 3), "k2").refusal, "") << "the payouts under another key";
  EXPECT_EQ(text(), before);
}

TEST_F(Ledger, StatusKnowsOnlyWholeBatches) {
  auto ledger = rail();
  EXPECT_FALSE(ledger->status("k1", "").known);
  ledger->submit(batch(1, 3), "k1");
  ledger->submit(batch(2, 1), "k2");
  BatchStatus status = rail()->status("k1", "");
  ASSERT_TRUE(status.known);
  EXPECT_EQ(status.payments.size(), 3u);
  EXPECT_EQ(status.payments[1].micro, 1'000'001);
  EXPECT_EQ(status.payments[1].fate, PaymentStatus::Fate::paid);
}

TEST_F(Ledger, ATornTailIsCutOffAtEveryByteAndTheMissingLinesAreWritten) {
  rail()->submit(batch(1, 1), "k1");
  std::size_t kept = text().size();
  std::string reference = rail()->submit(batch(2, 3), "k2").reference;
  std::string whole = text();
  for (std::size_t cut = kept; cut <= whole.size(); cut += cut < whole.size() - 3 && cut > kept + 3 ? 11 : 1) {
    set_text(whole.substr(0, cut));
    LedgerReport torn = check();
    EXPECT_EQ(torn.problem, "");
    EXPECT_EQ(torn.unfinished, cut > kept && cut < whole.size() && torn.lines > 1 ? 1u : 0u);
    auto ledger = rail();
    EXPECT_EQ(ledger->status("k2", "").known, cut == whole.size());
    EXPECT_EQ(ledger->submit(batch(2, 3), "k2").reference, reference);
    EXPECT_EQ(text(), whole) << "cut at " << cut;
  }
  set_text(whole.substr(0, kept + 10) + std::string(500, '\0'));  // blocks that never got to the disk
  EXPECT_EQ(rail()->submit(batch(2, 3), "k2").reference, reference);
  EXPECT_EQ(text(), whole);
}

TEST_F(Ledger, TheCheckerNamesTheFirstLineThatWasTouched) {
  auto ledger = rail();
  ledger->submit(batch(1, 2), "k1");
  std::string reference = ledger->submit(batch(2, 2), "k2").reference;
  std::string whole = text();
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < whole.size(); at = whole.find('\n', at) + 1)
    lines.push_back(whole.substr(at, whole.find('\n', at) + 1 - at));
  ASSERT_EQ(lines.size(), 4u);
  LedgerReport good = check(reference);
  EXPECT_EQ(good.problem, "");
  EXPECT_EQ(good.lines, 4u);
  EXPECT_EQ(good.batches, 2u);
  EXPECT_EQ(good.micro.at("USDT"), 4'000'002);
  EXPECT_EQ(good.head, reference);

  auto problem = [&](const std::string& text, const std::string& asked = "") {
    set_text(text);
    return check(asked).problem;
  };
  auto changed = [&](std::size_t line, const std::string& from, const std::string& to) {
    auto copy = lines;
    copy[line].replace(copy[line].find(from), from.size(), to);
    return copy[0] + copy[1] + copy[2] + copy[3];
  };
  EXPECT_EQ(problem(changed(1, "1000001", "9000001")), "line 2: its signature does not hold");
  EXPECT_EQ(problem(lines[0] + lines[2] + lines[3]), "line 2: its number is 3");
  EXPECT_EQ(problem(lines[1] + lines[2] + lines[3]), "line 1: its number is 2");
  EXPECT_EQ(problem(lines[0] + lines[1] + lines[1] + lines[2]), "line 3: its number is 2");
  EXPECT_EQ(problem(lines[0] + "\n" + lines[1]), "line 2: it is not a line of a ledger");
  EXPECT_EQ(problem(lines[0] + std::string(5'000, 'x') + "\n" + lines[1]), "line 2: it is not a line of a ledger");
  EXPECT_EQ(problem(lines[0] + lines[1]), "") << "a cut at a line's end shows only to who knows a later line";
  EXPECT_NE(problem(lines[0] + lines[1], reference).find("was cut or replaced"), std::string::npos);
  // Signed and chained rightly, but the same payout twice or with lines that contradict one another: only the key's holder can write these.
  auto forged = [&](const std::function<void(LedgerLine&)>& change) {
    LedgerLine line = *parse_ledger_line(lines[3].substr(0, lines[3].size() - 1));
    line.n = 5;
    line.prev = crypto::sha256(as_bytes(lines[3].substr(0, lines[3].size() - 1)));
    change(line);
    return lines[0] + lines[1] + lines[2] + lines[3] + ledger_line(line, key_) + "\n";
  };
  EXPECT_NE(problem(forged([](LedgerLine& l) { l.key = "k3"; })).find("was ordered before"), std::string::npos);
  EXPECT_NE(problem(forged([](LedgerLine& l) { l.payment.payout = node_id(99); })).find("disagrees"), std::string::npos);
  set_text(whole);
  SeededRandom other(8);
  EXPECT_EQ(check_ledger(system_files(), path_, crypto::SigningKey::make(other).verify_key()).problem,
            "line 1: its signature does not hold");
}

TEST_F(Ledger, DamageAndOldCopiesStopTheRail) {
  auto ledger = rail();
  ledger->submit(batch(1, 2), "k1");
  std::string old = text();
  std::string reference = ledger->submit(batch(2, 2), "k2").reference;
  std::string whole = text();
  auto refused = [&](const std::string& text, const std::string& code) {
    set_text(text);
    auto opened = rail();
    try {
      opened->expect(reference);
      opened->submit(batch(3, 1), "k3");
      ADD_FAILURE() << "it went on, instead of " << code;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), code);
      EXPECT_NE(std::string(e.what()).find(path_), std::string::npos);
    }
    EXPECT_EQ(this->text(), text) << "nothing is written to it";
  };
  std::string changed = whole;
  changed[30] = changed[30] == '1' ? '2' : '1';
  refused(changed, "ledger_damaged");
  refused("hello\n" + whole, "ledger_damaged");
  refused(old, "ledger_shortened");
  refused("", "ledger_shortened");
  set_text(whole);
  SeededRandom other(8);
  LedgerRail stranger(path_, system_files(), clock_, crypto::SigningKey::make(other));
  EXPECT_THROW(stranger.status("k1", ""), Error);
}

TEST_F(Ledger, AFullDiskIsAnErrorAndLeavesNothingThatCounts) {
  int fail = 0;
  FaultyFileOps files([&](std::string_view call, const std::string&, std::uint64_t) {
    return (fail == 1 && call == "write") || (fail == 2 && call == "sync_data") ? ENOSPC : 0;
  });
  LedgerRail ledger(path_, files, clock_, copy());
  ledger.submit(batch(1, 1), "k1");
  std::string before = text();
  for (int how : {1, 2}) {
    fail = how;
    EXPECT_THROW(ledger.submit(batch(2, 3), "k2"), Error);
    fail = 0;
    EXPECT_FALSE(ledger.status("k2", "").known);
    EXPECT_EQ(text(), before);
  }
  EXPECT_NE(ledger.submit(batch(2, 3), "k2").reference, "");
  EXPECT_EQ(check().problem, "");
  EXPECT_EQ(check().lines, 4u);
}

}  // namespace
}  // namespace lucid::payout_runs::test
