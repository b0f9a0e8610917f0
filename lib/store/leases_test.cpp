#include "lib/store/leases.hpp"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "lib/base/file_ops.hpp"

namespace lucid::store {
namespace {

constexpr std::int64_t kTtl = 30'000;

class LeasesTest : public ::testing::Test {
 protected:
  void restart() {
    leases_.reset();
    documents_.reset();
    documents_ = open_sqlite_documents(dir_.path() + "/leases.db");
    leases_ = std::make_unique<Leases>(*documents_, clock_, kTtl);
  }
  void SetUp() override { restart(); }
  TempDir dir_;
  ManualClock clock_;
  std::unique_ptr<Documents> documents_;
  std::unique_ptr<Leases> leases_;
};

TEST_F(LeasesTest, OneHolderAtATime) {
  auto first = leases_->acquire("r", "alice");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->holder, "alice");
  EXPECT_EQ(first->expires_wall_ms, clock_.wall_ms() + kTtl);
  EXPECT_FALSE(leases_->acquire("r", "bob"));
  EXPECT_TRUE(leases_->acquire("other", "bob"));
  EXPECT_EQ(leases_->current("r")->fencing_token, first->fencing_token);
  EXPECT_FALSE(leases_->current("nobody's"));
}

TEST_F(LeasesTest, AnExpiredLeaseGoesToTheNextWithAGreaterToken) {
  auto first = leases_->acquire("r", "alice");
  clock_.advance(kTtl - 1);
  EXPECT_FALSE(leases_->acquire("r", "bob"));
  clock_.advance(1);
  EXPECT_FALSE(leases_->current("r"));
  auto second = leases_->acquire("r", "bob");
  ASSERT_TRUE(second);
  EXPECT_GT(second->fencing_token, first->fencing_token);
  EXPECT_FALSE(leases_->renew("r", first->fencing_token));
  EXPECT_FALSE(leases_->release("r", first->fencing_token));
  EXPECT_EQ(leases_->current("r")->holder, "bob");
}

TEST_F(LeasesTest, RenewalExtendsAndIsAcceptedLateIfNobodyCameBetween) {
  auto lease = leases_->acquire("r", "alice");
  clock_.advance(kTtl - 1);
  EXPECT_TRUE(leases_->renew("r", lease->fencing_token));
  clock_.advance(kTtl - 1);
  EXPECT_TRUE(leases_->current("r"));
  clock_.advance(10 * kTtl);
  EXPECT_TRUE(leases_->renew("r", lease->fencing_token));
  EXPECT_FALSE(leases_->acquire("r", "bob"));
}

TEST_F(LeasesTest, TheHolderItselfGetsANewTokenAndItsOldOneDies) {
  auto first = leases_->acquire("r", "alice");
  auto second = leases_->acquire("r", "alice");
  ASSERT_TRUE(second);
  EXPECT_GT(second->fencing_token, first->fencing_token);
  EXPECT_FALSE(leases_->renew("r", first->fencing_token));
  EXPECT_TRUE(leases_->renew("r", second->fencing_token));
}

TEST_F(LeasesTest, AReleasedLeaseIsFreeAtOnceAndTokensStillGrow) {
  auto first = leases_->acquire("r", "alice");
  EXPECT_TRUE(leases_->release("r", first->fencing_token));
  EXPECT_FALSE(leases_->release("r", first->fencing_token));
  EXPECT_FALSE(leases_->current("r"));
  EXPECT_FALSE(leases_->renew("r", first->fencing_token));
  auto second = leases_->acquire("r", "bob");
  ASSERT_TRUE(second);
  EXPECT_GT(second->fencing_token, first->fencing_token);
}

TEST_F(LeasesTest, TokensGrowOverRestartsEvenAfterRelease) {
  std::uint64_t last = 0;
  for (int i = 0; i < 5; ++i) {
    auto lease = leases_->acquire("r", "alice");
    ASSERT_TRUE(lease);
    EXPECT_GT(lease->fencing_token, last);
    last = lease->fencing_token;
    if (i % 2 == 0) leases_->release("r", last);
    restart();
  }
}

TEST_F(LeasesTest, AfterARestartTheHolderHasOneTtlToRenew) {
  auto lease = leases_->acquire("r", "alice");
  clock_.advance(100 * kTtl);
  restart();
  EXPECT_FALSE(leases_->acquire("r", "bob")) << "alice may live on";
  clock_.advance(kTtl - 1);
  EXPECT_TRUE(leases_->renew("r", lease->fencing_token));
  clock_.advance(kTtl - 1);
  EXPECT_FALSE(leases_->acquire("r", "bob"));
  restart();
  clock_.advance(kTtl);
  EXPECT_TRUE(leases_->acquire("r", "bob"));
  EXPECT_FALSE(leases_->renew("r", lease->fencing_token));
}

TEST_F(LeasesTest, RenewalTouchesNoDisk) {
  auto lease = leases_->acquire("r", "alice");
  auto version = documents_->get("leases", "r")->version;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(leases_->renew("r", lease->fencing_token));
  EXPECT_EQ(documents_->get("leases", "r")->version, version);
}

TEST_F(LeasesTest, OfManyThatWantItOneGetsIt) {
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> granted{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; ++t)
      threads.emplace_back([&, t] {
        if (leases_->acquire("r" + std::to_string(round), "holder" + std::to_string(t))) ++granted;
      });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(granted, 1);
  }
}

TEST_F(LeasesTest, ConcurrentUseOfOneResourceKeepsTokensUnique) {
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::vector<std::uint64_t> tokens;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        auto lease = leases_->acquire("r", "same");
        ASSERT_TRUE(lease);
        {
          std::lock_guard lock(mutex);
          tokens.push_back(lease->fencing_token);
        }
        leases_->release("r", lease->fencing_token);
      }
    });
  for (auto& thread : threads) thread.join();
  std::sort(tokens.begin(), tokens.end());
  EXPECT_TRUE(std::adjacent_find(tokens.begin(), tokens.end()) == tokens.end());
}

TEST_F(LeasesTest, ARecordThatIsNotALeaseIsRefusedNotGuessed) {
  documents_->put("leases", "r", "{\"token\":-1}");
  EXPECT_THROW(leases_->acquire("r", "alice"), Error);
  documents_->put("leases", "s", "nonsense");
  EXPECT_THROW(leases_->current("s"), Error);
}

}  // namespace
}  // namespace lucid::store
