#include "sessions/api/idempotency.hpp"

#include <gtest/gtest.h>

#include "lib/base/file_ops.hpp"

namespace lucid::api {
namespace {

class Idempotency : public testing::Test {
 protected:
  static IdempotencyKeys::Asked post(std::string_view body, std::string_view key = "k1", std::string_view who = "admin") {
    return IdempotencyKeys::asked(who, key, "POST", "/api/v1/sessions", as_bytes(body));
  }
  TempDir dir_;
  std::unique_ptr<store::Documents> documents_ = store::open_sqlite_documents(dir_.path() + "/api.db");
  ManualClock clock_;
  IdempotencyKeys keys_{*documents_, clock_};
};

TEST_F(Idempotency, AnswersARepeatedRequestWithTheFirstValue) {
  EXPECT_EQ(keys_.find(post("{}")), std::nullopt);
  EXPECT_EQ(keys_.claim(post("{}"), "one"), "one");
  EXPECT_EQ(keys_.claim(post("{}"), "two"), "one");
  EXPECT_EQ(keys_.find(post("{}")), "one");
}

TEST_F(Idempotency, RefusesTheSameKeyForAnotherRequest) {
  keys_.claim(post("{}"), "one");
  try {
    keys_.claim(post("{ }"), "two");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "idempotency_key_reused");
    EXPECT_EQ(http_status(e.kind()), 409);
  }
  EXPECT_THROW(keys_.find(IdempotencyKeys::asked("admin", "k1", "POST", "/api/v1/sessions/x/start", as_bytes("{}"))), Error);
}

TEST_F(Idempotency, KeepsKeysOfDifferentPeopleApart) {
  keys_.claim(post("{}", "k1", "ann"), "one");
  EXPECT_EQ(keys_.claim(post("{}", "k1", "bob"), "two"), "two");
  // Parts are hashed with their lengths, so they cannot be shifted into one another.
  EXPECT_EQ(keys_.claim(post("{}", "1", "annk"), "three"), "three");
}

TEST_F(Idempotency, RemembersForADayAndThenForgets) {
  keys_.claim(post("{}"), "one");
  clock_.advance(86'400'000);
  EXPECT_EQ(keys_.find(post("{}")), "one");
  clock_.advance(2 * 86'400'000);
  EXPECT_EQ(keys_.claim(post("{}"), "two"), "two");
  EXPECT_EQ(documents_->count("idempotency", "", ""), 1u) << "what is over is removed";
}

TEST_F(Idempotency, RefusesKeysThatAreNotPrintable) {
  for (const std::string& bad :
       {std::string(), std::string(256, 'x'), std::string("a\nb"), std::string("\xc3\xbc"), std::string("a\0b", 3)})
    EXPECT_THROW(post("{}", bad), Error);
}

}  // namespace
}  // namespace lucid::api
