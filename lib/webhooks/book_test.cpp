// Whose turn it is, when, and what is given up; and lives that end or fail at every write.
#include <set>

#include <gtest/gtest.h>

#include "lib/webhooks/book.hpp"
#include "lib/webhooks/test_receiver.hpp"

namespace lucid::webhooks::test {
namespace {

class BookTest : public testing::Test {
 protected:
  void SetUp() override { restart(); }
  void restart() { book_ = std::make_unique<Book>(documents_, clock_, random_, runtime::Log("test")); }
  void queue(int from, int to) {
    for (int n = from; n <= to; ++n) book_->enqueue("alert.firing", {{"n", n}});
  }
  static std::int64_t number(const Job& job) { return Delivery{{}, {}, {}, job.body, {}}.number(); }
  // Fails the next attempt; how long its hook has to wait then.
  std::int64_t fail(Outcome outcome = {.kind = Outcome::Kind::failed, .problem = "answered 500"}) {
    auto job = book_->take();
    EXPECT_TRUE(job);
    if (job) book_->done(*job, outcome);
    return book_->next_in().value_or(-1);
  }

  ManualClock clock_;
  SeededRandom random_{3};
  store::MemoryDocuments documents_;
  std::unique_ptr<Book> book_;
};

TEST_F(BookTest, PausesGrowWithJitterUpToAnHour) {
  book_->add("http://a/", {});
  queue(1, 1);
  std::set<std::int64_t> of_an_hour;
  for (std::int64_t seconds : {5, 30, 120, 600, 1'800, 3'600, 3'600, 3'600, 3'600}) {
    std::int64_t pause = fail();
    EXPECT_GE(pause, seconds * 800);
    EXPECT_LE(pause, seconds * 1'200);
    if (seconds == 3'600) of_an_hour.insert(pause);
    clock_.advance(pause - 1);
    EXPECT_FALSE(book_->take());
    clock_.advance(1);
  }
  EXPECT_GT(of_an_hour.size(), 1u);
  auto job = book_->take();
  book_->done(*job, {});
  queue(2, 2);
  EXPECT_LE(fail(), 6'000) << "a success ends it";
}

TEST_F(BookTest, AReceiverMayAskForALongerPauseUpToAnHour) {
  book_->add("http://a/", {});
  queue(1, 1);
  EXPECT_EQ(fail({.kind = Outcome::Kind::failed, .problem = "answered 429", .retry_after_ms = 60'000}), 60'000);
  clock_.advance(60'000);
  EXPECT_EQ(fail({.kind = Outcome::Kind::failed, .problem = "answered 429", .retry_after_ms = 86'400'000}), 3'600'000);
}

TEST_F(BookTest, OneEventOfAHookAtATimeAndTheHookThatWaitedLongestFirst) {
  Id a = book_->add("http://a/", {}).hook.id;
  clock_.advance(10);
  book_->add("http://b/", {});
  queue(1, 2);
  auto first = book_->take(), second = book_->take();
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->entry, second->entry);
  EXPECT_EQ(first->id, second->id);
  EXPECT_FALSE(book_->take());
  EXPECT_FALSE(book_->next_in());
  clock_.advance(10);
  book_->done(*first, {});
  clock_.advance(10);
  book_->done(*second, {});
  EXPECT_EQ(book_->take()->entry, first->entry);
  EXPECT_EQ(number(*book_->take()), 2);
  book_->remove(a);
  book_->done(*first, {.kind = Outcome::Kind::failed, .problem = "late"});
}

TEST_F(BookTest, WhatIsNotTakenForADayIsLostAndTheHookIsMarkedFailing) {
  book_->add("http://a/", {});
  queue(1, 2);
  clock_.advance(kGiveUpMs / 2);
  queue(3, 3);
  EXPECT_GT(fail(), 0);
  EXPECT_EQ(book_->list()[0].state, HookState::active);
  clock_.advance(kGiveUpMs / 2);
  restart();
  fail();
  EXPECT_EQ(book_->waiting(), 1u) << "the two of a day ago are given up with the attempt that failed";
  EXPECT_EQ(book_->lost(), 2u);
  EXPECT_EQ(book_->list()[0].state, HookState::active) << "it has failed for half a day";
  clock_.advance(kGiveUpMs / 2);
  fail();
  EXPECT_EQ(book_->list()[0].state, HookState::failing);
  EXPECT_EQ(book_->waiting(), 0u);
  queue(4, 4);
  clock_.advance(3'600'000 * 2);
  restart();
  EXPECT_EQ(book_->list()[0].state, HookState::failing);
  auto job = book_->take();
  ASSERT_TRUE(job) << "a failing hook is still tried";
  book_->done(*job, {});
  EXPECT_EQ(book_->list()[0].state, HookState::active);
}

TEST_F(BookTest, AServiceThatWasOffForADayStillTriesWhatWaitsOnce) {
  book_->add("http://a/", {});
  queue(1, 2);
  clock_.advance(2 * kGiveUpMs);
  restart();
  auto job = book_->take();
  ASSERT_TRUE(job);
  EXPECT_EQ(number(*job), 1);
  book_->done(*job, {});
  EXPECT_EQ(number(*book_->take()), 2);
  EXPECT_EQ(book_->lost(), 0u);
}

TEST_F(BookTest, TenThousandWaitAndTheOldestGoFirst) {
  book_->add("http://a/", {});
  queue(1, 10'003);
  EXPECT_EQ(book_->waiting(), 10'000u);
  EXPECT_EQ(book_->lost(), 3u);
  EXPECT_EQ(number(*book_->take()), 4);
  restart();
  EXPECT_EQ(book_->waiting(), 10'000u);
  queue(20'000, 20'000);
  EXPECT_EQ(number(*book_->take()), 5);
}

TEST_F(BookTest, NewEventsComeAfterOldOnesAlsoAfterARestart) {
  book_->add("http://a/", {});
  queue(1, 2);
  restart();
  queue(3, 3);
  for (int n = 1; n <= 3; ++n) {
    auto job = book_->take();
    EXPECT_EQ(number(*job), n);
    book_->done(*job, {});
  }
}

TEST_F(BookTest, WhatIsLeftOfHooksWhoseMakingOrRemovalWasCutShortIsCleanedUp) {
  Id id = book_->add("http://a/", {}).hook.id;
  queue(1, 2);
  documents_.remove("webhooks", id.text());
  restart();
  EXPECT_TRUE(book_->list().empty());
  EXPECT_EQ(documents_.count("webhooks", "", "") + documents_.count("webhook_queue", "", ""), 0u);
}

TEST_F(BookTest, EventsThatCannotBeStoredAreRefusedAndLeaveNothing) {
  book_->add("http://a/", {});
  EXPECT_THROW(book_->enqueue("a", json::value(std::string(300'000, 'x'))), Error);
  EXPECT_THROW(book_->enqueue("a", json::value("\xff\xfe")), Error);
  EXPECT_THROW(book_->enqueue("a b", nullptr), Error);
  EXPECT_EQ(documents_.count("webhook_queue", "", ""), 0u);
}

TEST_F(BookTest, ADocumentThatIsNotWhatWasStoredIsLostAloneAndABadHookIsSaid) {
  Id id = book_->add("http://a/", {}).hook.id;
  queue(1, 2);
  auto first = documents_.scan("webhook_queue", {.limit = 1}).at(0);
  documents_.put("webhook_queue", first.key, "{}");
  EXPECT_EQ(number(*book_->take()), 2);
  EXPECT_EQ(book_->lost(), 1u);
  for (const char* bad : {"", "{}", "[]", R"({"url":7})"}) {
    documents_.put("webhooks", id.text(), bad);
    EXPECT_THROW(restart(), Error) << bad;
  }
}

// Lives with threads, receivers and documents that fail.
class WebhookLives : public testing::Test {
 protected:
  std::unique_ptr<Webhooks> life(store::Documents& documents) {
    return std::make_unique<Webhooks>(Webhooks::Parts{documents, clock_, random_, metrics_, runtime::Log("test")});
  }
  ManualClock clock_;
  SystemRandom random_;
  runtime::Metrics metrics_;
};

// From its n-th write on, a life can write nothing: what kill -9 at that moment leaves behind.
TEST_F(WebhookLives, ALifeThatEndsAtAnyWriteLosesNothingItAcceptedAndRepeatsIdsOnly) {
  int repeated = 0;
  for (int n = 1; n <= 9; ++n) {
    SCOPED_TRACE("killed at write " + std::to_string(n));
    store::MemoryDocuments disk;
    Receiver receiver;
    life(disk)->add(receiver.url(), {});
    std::vector<std::int64_t> accepted;
    {
      FailingDocuments dying(disk, [n](int write) { return write >= n; });
      auto hooks = life(dying);
      for (int i = 1; i <= 4; ++i) try {
          hooks->enqueue("alert.firing", {{"n", i}});
          accepted.push_back(i);
        } catch (const Error&) {}
      ASSERT_TRUE(dying.wait_until([&] { return dying.failed() > 0 || disk.count("webhook_queue", "", "") == 0; }));
    }
    FailingDocuments healthy(disk, [](int) { return false; });
    auto hooks = life(healthy);
    ASSERT_TRUE(healthy.wait_until([&] { return disk.count("webhook_queue", "", "") == 0; }));
    std::map<std::int64_t, std::set<std::string>> ids;
    std::vector<std::int64_t> order;
    for (const Delivery& d : receiver.came()) {
      if (ids[d.number()].empty()) order.push_back(d.number());
      if (!ids[d.number()].insert(d.id).second) ++repeated;
      EXPECT_EQ(ids[d.number()].size(), 1u) << "one id for one event";
    }
    EXPECT_EQ(order, accepted);
  }
  EXPECT_GT(repeated, 0) << "some life ended between a delivery and its mark";
}

TEST_F(WebhookLives, AWriteThatFailsOnceDelaysAtMostAndDeliversNothingTwice) {
  for (int n = 3; n <= 12; ++n) {
    SCOPED_TRACE("write " + std::to_string(n) + " fails");
    store::MemoryDocuments disk;
    FailingDocuments documents(disk, [n](int write) { return write == n; });
    Receiver receiver;
    auto hooks = life(documents);
    hooks->add(receiver.url(), {});
    std::vector<std::int64_t> accepted, came;
    for (int i = 1; i <= 4; ++i) try {
        hooks->enqueue("alert.firing", {{"n", i}});
        accepted.push_back(i);
      } catch (const Error&) {}
    ASSERT_TRUE(documents.wait_until([&] { return disk.count("webhook_queue", "", "") == 0; },
                                     [&] {
                                       clock_.advance(5'000);
                                       hooks->wake();
                                     }));
    for (const Delivery& d : receiver.came()) came.push_back(d.number());
    EXPECT_EQ(came, accepted);
  }
}

TEST_F(WebhookLives, ADirectoryOfHooksThatCannotBeWrittenMakesNoHook) {
  for (int n = 1; n <= 2; ++n) {
    store::MemoryDocuments disk;
    FailingDocuments documents(disk, [n](int write) { return write == n; });
    auto hooks = life(documents);
    EXPECT_THROW(hooks->add("http://a/", {}), Error);
    EXPECT_TRUE(hooks->list().empty());
    EXPECT_TRUE(life(disk)->list().empty());
    EXPECT_EQ(disk.count("webhooks", "", ""), 0u);
  }
}

}  // namespace
}  // namespace lucid::webhooks::test
