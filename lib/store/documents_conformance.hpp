// What every Documents backend must do, as one parameterised suite. A backend's test gives a factory:
//   INSTANTIATE_TEST_SUITE_P(Sqlite, DocumentsConformance, ::testing::Values(DocumentsBackend{"sqlite", make}));
// The factory answers an empty store each time it is called with a new name, and the same store for the same name.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "lib/base/file_ops.hpp"
#include "lib/store/documents.hpp"

namespace lucid::store {

struct DocumentsBackend {
  std::string name;
  std::function<std::unique_ptr<Documents>(const std::string& directory)> open;
};

class DocumentsConformance : public ::testing::TestWithParam<DocumentsBackend> {
 protected:
  void SetUp() override { reopen(); }
  void reopen() {
    documents_.reset();
    documents_ = GetParam().open(directory_.path());
  }
  Documents& documents() { return *documents_; }
  std::vector<std::string> keys(const std::string& collection, const Scan& scan) {
    std::vector<std::string> found;
    for (const Document& document : documents().scan(collection, scan)) found.push_back(document.key);
    return found;
  }

 private:
  TempDir directory_;
  std::unique_ptr<Documents> documents_;
};

TEST_P(DocumentsConformance, InsertIsVisibleAtOnceAndAfterReopening) {
  EXPECT_TRUE(documents().insert("a", "k", R"({"n":1})"));
  for (int round = 0; round < 2; ++round) {
    auto found = documents().get("a", "k");
    ASSERT_TRUE(found);
    EXPECT_EQ(found->key, "k");
    EXPECT_EQ(found->version, 1);
    EXPECT_EQ(found->json, R"({"n":1})");
    reopen();
  }
}

TEST_P(DocumentsConformance, InsertOfAKeyThatExistsChangesNothing) {
  EXPECT_TRUE(documents().insert("a", "k", "1"));
  EXPECT_FALSE(documents().insert("a", "k", "2"));
  EXPECT_EQ(documents().get("a", "k")->json, "1");
  EXPECT_EQ(documents().get("a", "k")->version, 1);
}

TEST_P(DocumentsConformance, CollectionsAreApart) {
  documents().insert("a", "k", "1");
  documents().insert("b", "k", "2");
  EXPECT_EQ(documents().get("a", "k")->json, "1");
  EXPECT_EQ(documents().get("b", "k")->json, "2");
  EXPECT_TRUE(documents().remove("a", "k"));
  EXPECT_FALSE(documents().get("a", "k"));
  EXPECT_TRUE(documents().get("b", "k"));
}

TEST_P(DocumentsConformance, GetOfNothingIsNothing) { EXPECT_FALSE(documents().get("a", "k")); }

TEST_P(DocumentsConformance, InsertManyAnswersEachAndKeepsWhatStands) {
  documents().insert("a", "2", "old");
  std::vector<Documents::Insert> inserts{{"a", "1", "x"}, {"a", "2", "y"}, {"b", "1", "z"}, {"a", "1", "again"}};
  EXPECT_EQ(documents().insert_many(inserts), (std::vector<bool>{true, false, true, false}));
  EXPECT_EQ(documents().get("a", "1")->json, "x");
  EXPECT_EQ(documents().get("a", "2")->json, "old");
  EXPECT_EQ(documents().get("b", "1")->json, "z");
  EXPECT_TRUE(documents().insert_many({}).empty());
}

TEST_P(DocumentsConformance, ReplaceNeedsTheVersionThatStands) {
  EXPECT_FALSE(documents().replace("a", "k", "x", 1)) << "there is nothing to replace";
  documents().insert("a", "k", "1");
  EXPECT_FALSE(documents().replace("a", "k", "x", 2));
  EXPECT_TRUE(documents().replace("a", "k", "2", 1));
  EXPECT_FALSE(documents().replace("a", "k", "3", 1));
  EXPECT_EQ(documents().get("a", "k")->version, 2);
  EXPECT_EQ(documents().get("a", "k")->json, "2");
}

TEST_P(DocumentsConformance, PutInsertsThenReplacesCountingVersions) {
  documents().put("a", "k", "1");
  EXPECT_EQ(documents().get("a", "k")->version, 1);
  documents().put("a", "k", "2");
  EXPECT_EQ(documents().get("a", "k")->version, 2);
  EXPECT_EQ(documents().get("a", "k")->json, "2");
}

TEST_P(DocumentsConformance, AKeyRemovedCanBeInsertedAnewFromVersionOne) {
  documents().put("a", "k", "1");
  documents().put("a", "k", "2");
  EXPECT_TRUE(documents().remove("a", "k"));
  EXPECT_FALSE(documents().remove("a", "k"));
  EXPECT_TRUE(documents().insert("a", "k", "3"));
  EXPECT_EQ(documents().get("a", "k")->version, 1);
}

TEST_P(DocumentsConformance, ScanIsHalfOpenInByteOrderFromEitherEnd) {
  for (const char* key : {"a", "b", "c", "d", "Z", "\xc3\xa9"}) documents().insert("s", key, key);
  using Keys = std::vector<std::string>;
  EXPECT_EQ(keys("s", {}), (Keys{"Z", "a", "b", "c", "d", "\xc3\xa9"}));
  EXPECT_EQ(keys("s", {.from = "b", .to = "d"}), (Keys{"b", "c"}));
  EXPECT_EQ(keys("s", {.from = "b", .to = "d", .order = Order::descending}), (Keys{"c", "b"}));
  EXPECT_EQ(keys("s", {.from = "b"}), (Keys{"b", "c", "d", "\xc3\xa9"}));
  EXPECT_EQ(keys("s", {.to = "b"}), (Keys{"Z", "a"}));
  EXPECT_EQ(keys("s", {.limit = 2}), (Keys{"Z", "a"}));
  EXPECT_EQ(keys("s", {.limit = 2, .order = Order::descending}), (Keys{"\xc3\xa9", "d"}));
  EXPECT_EQ(keys("s", {.from = "x", .to = "y"}), Keys{});
  EXPECT_EQ(keys("s", {.limit = 0}), Keys{});
}

TEST_P(DocumentsConformance, NumbersInKeysSortAsNumbers) {
  for (std::uint64_t n : std::initializer_list<std::uint64_t>{9, 10, 255, 256, 1ull << 40, UINT64_MAX})
    documents().insert("s", sortable(n), "1");
  EXPECT_EQ(keys("s", {.from = sortable(10), .to = sortable(256)}), (std::vector<std::string>{sortable(10), sortable(255)}));
  EXPECT_EQ(keys("s", {.limit = 1, .order = Order::descending}), std::vector<std::string>{sortable(UINT64_MAX)});
}

TEST_P(DocumentsConformance, APrefixIsARange) {
  for (const char* key : {"p/", "p/1", "p/\xf4\x8f\xbf\xbf", "p", "p0", "q/1"}) documents().insert("s", key, "1");
  EXPECT_EQ(documents().count("s", "p/", after_prefix("p/")), 3u);
  EXPECT_EQ(documents().remove_range("s", "p/", after_prefix("p/")), 3u);
  EXPECT_EQ(keys("s", {}), (std::vector<std::string>{"p", "p0", "q/1"}));
}

TEST_P(DocumentsConformance, RemoveRangeAndCountWithoutAnEndReachTheEnd) {
  for (int i = 0; i < 10; ++i) documents().insert("s", sortable(i), "1");
  documents().insert("t", sortable(5), "1");
  EXPECT_EQ(documents().count("s", "", ""), 10u);
  EXPECT_EQ(documents().count("s", sortable(7), ""), 3u);
  EXPECT_EQ(documents().remove_range("s", sortable(7), ""), 3u);
  EXPECT_EQ(documents().remove_range("s", sortable(7), ""), 0u);
  EXPECT_EQ(documents().count("s", "", ""), 7u);
  EXPECT_EQ(documents().count("t", "", ""), 1u);
}

TEST_P(DocumentsConformance, TextsKeepEveryByte) {
  std::string key = std::string("nul\0key", 7), text = std::string("{\"a\":\"\0\xf0\x9f\x98\x80\"}", 12) + std::string(300'000, 'x');
  EXPECT_TRUE(documents().insert("a", key, text));
  EXPECT_TRUE(documents().insert("a", "nul", "")) << "the key does not end at the zero byte";
  reopen();
  EXPECT_EQ(documents().get("a", key)->json, text);
  EXPECT_EQ(documents().get("a", "nul")->json, "");
}

TEST_P(DocumentsConformance, QuotesInKeysAreOnlyText) {
  std::string key = R"(x'; DROP TABLE documents; --")";
  EXPECT_TRUE(documents().insert(key, key, key));
  EXPECT_EQ(documents().get(key, key)->json, key);
}

TEST_P(DocumentsConformance, OfManyInsertsOfOneKeyExactlyOneWins) {
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> won{0};
    std::string winner;
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t)
      threads.emplace_back([&, t] {
        if (documents().insert("race", std::to_string(round), std::to_string(t))) {
          ++won;
          winner = std::to_string(t);
        }
      });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(won, 1);
    EXPECT_EQ(documents().get("race", std::to_string(round))->json, winner);
  }
}

TEST_P(DocumentsConformance, ConcurrentReplacesLoseNoUpdate) {
  documents().insert("a", "counter", "0");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        while (true) {
          auto now = documents().get("a", "counter");
          if (documents().replace("a", "counter", std::to_string(std::stoi(now->json) + 1), now->version)) break;
        }
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(documents().get("a", "counter")->json, "100");
  EXPECT_EQ(documents().get("a", "counter")->version, 101);
}

TEST_P(DocumentsConformance, InsertManyIsSeenWholeOrNotAtAll) {
  std::atomic<bool> stop{false};
  std::atomic<int> halves{0};
  std::thread reader([&] {
    while (!stop) {
      if (documents().count("pairs", "", "") % 2 != 0) ++halves;
    }
  });
  for (int i = 0; i < 50; ++i) {
    std::vector<Documents::Insert> pair{{"pairs", "a" + std::to_string(i), "1"}, {"pairs", "b" + std::to_string(i), "1"}};
    documents().insert_many(pair);
  }
  stop = true;
  reader.join();
  EXPECT_EQ(halves, 0);
}

}  // namespace lucid::store
