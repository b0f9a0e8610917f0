#include "sessions/api/listing.hpp"

#include <gtest/gtest.h>

#include "lib/base/bytes.hpp"

namespace lucid::api {
namespace {

using QueryMap = std::map<std::string, std::string>;

Id an_id(std::uint64_t seed = 1) {
  ManualClock clock;
  SeededRandom random(seed);
  return Id::make(clock, random);
}

TEST(Cursor, NamesASessionAndComesBack) {
  Id id = an_id();
  EXPECT_EQ(decode_cursor(encode_cursor(id)), id);
}

TEST(Cursor, RefusesWhatWeDidNotGiveOut) {
  std::string good = encode_cursor(an_id());
  Bytes other_version = from_base64url(good).value();
  other_version[0] = 2;
  for (const std::string& bad : {std::string(), std::string("x"), good + "A", good.substr(1), std::string("../../etc/passwd"),
                                 std::string(100'000, 'A'), to_base64url(other_version)}) {
    try {
      decode_cursor(bad);
      FAIL() << bad.substr(0, 40);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), "invalid_cursor");
      EXPECT_EQ(http_status(e.kind()), 400);
    }
  }
}

TEST(ListQuery, ReadsEveryFilter) {
  ListQuery q = read_list_query(QueryMap{{"limit", "7"},
                                         {"status", "paused"},
                                         {"owner", "ann"},
                                         {"tag", "x"},
                                         {"q", "Deploy"},
                                         {"from", "2026-01-01T00:00:00.000Z"},
                                         {"to", "2026-01-02T00:00:00.000Z"},
                                         {"cursor", encode_cursor(an_id())}});
  EXPECT_EQ(q.limit, 7u);
  EXPECT_EQ(q.status, Status::paused);
  EXPECT_EQ(q.to_ms.value() - q.from_ms.value(), 86'400'000);
  EXPECT_EQ(q.after, an_id());
  EXPECT_EQ(read_list_query({}).limit, 50u);
}

TEST(ListQuery, NamesWhatItDoesNotUnderstand) {
  for (const QueryMap& bad : {QueryMap{{"limit", "0"}}, QueryMap{{"limit", "101"}}, QueryMap{{"limit", "1x"}}, QueryMap{{"status", "live"}},
                              QueryMap{{"from", "yesterday"}}, QueryMap{{"page", "2"}}, QueryMap{{"owner", ""}}, QueryMap{{"q", "\xff"}}}) {
    try {
      read_list_query(bad);
      FAIL() << bad.begin()->first;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::invalid);
      ASSERT_FALSE(e.fields().empty());
      EXPECT_EQ(e.fields().front().pointer, "/" + bad.begin()->first);
    }
  }
}

TEST(ListQuery, MatchesByEveryFilter) {
  Session s;
  s.name = "Deploy of 4.2";
  s.metadata = {.project = "Bank", .environment = "", .description = "with rollback", .owner = "ann", .tags = {"prod", "eu"}};
  s.created_wall_ms = 1000;
  s.status = Status::completed;
  auto matching = [&](auto change) {
    ListQuery q;
    change(q);
    return matches(q, s);
  };
  EXPECT_TRUE(matching([](ListQuery&) {}));
  EXPECT_TRUE(matching([](ListQuery& q) { q.text = "deploy"; }));
  EXPECT_TRUE(matching([](ListQuery& q) { q.text = "ROLLBACK"; }));
  EXPECT_FALSE(matching([](ListQuery& q) { q.text = "rollout"; }));
  EXPECT_TRUE(matching([](ListQuery& q) {
    q.tag = "eu";
    q.owner = "ann";
  }));
  EXPECT_FALSE(matching([](ListQuery& q) { q.tag = "e"; }));
  EXPECT_FALSE(matching([](ListQuery& q) { q.owner = "Ann"; }));
  EXPECT_FALSE(matching([](ListQuery& q) { q.status = Status::recording; }));
  EXPECT_TRUE(matching([](ListQuery& q) {
    q.from_ms = 1000;
    q.to_ms = 1001;
  }));
  EXPECT_FALSE(matching([](ListQuery& q) { q.to_ms = 1000; }));
  EXPECT_FALSE(matching([](ListQuery& q) { q.from_ms = 1001; }));
  s.status = Status::deleted;
  EXPECT_FALSE(matching([](ListQuery&) {}));
  EXPECT_TRUE(matching([](ListQuery& q) { q.status = Status::deleted; }));
}

}  // namespace
}  // namespace lucid::api
