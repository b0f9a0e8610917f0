#include <csignal>
#include <fstream>
#include <map>
#include <set>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/random.hpp"
#include "lib/store/documents_conformance.hpp"
#include "lib/store/faulty_vfs.hpp"

namespace lucid::store {
namespace {

INSTANTIATE_TEST_SUITE_P(Sqlite, DocumentsConformance,
                         ::testing::Values(DocumentsBackend{
                             "sqlite", [](const std::string& directory) { return open_sqlite_documents(directory + "/some.db"); }}),
                         [](const auto& one) { return one.param.name; });

int mode_of(const std::string& path) {
  struct stat st{};
  return ::stat(path.c_str(), &st) == 0 ? static_cast<int>(st.st_mode & 0777) : -1;
}

TEST(SqliteDocuments, AllItsFilesArePrivate) {
  TempDir dir;
  auto documents = open_sqlite_documents(dir.path() + "/new/some.db");
  documents->insert("a", "k", "1");
  for (const char* suffix : {"", "-wal", "-shm"}) EXPECT_EQ(mode_of(dir.path() + "/new/some.db" + suffix), 0600) << suffix;
}

TEST(SqliteDocuments, AFileThatIsNoDatabaseIsNamedAndLeftAlone) {
  TempDir dir;
  std::string path = dir.path() + "/some.db", garbage(5000, 'g');
  std::ofstream(path) << garbage;
  try {
    open_sqlite_documents(path);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos);
  }
  EXPECT_EQ(as_text(system_files().read_file(path)), garbage);
}

TEST(SqliteDocuments, AFileOfALaterVersionIsRefused) {
  TempDir dir;
  std::string path = dir.path() + "/some.db";
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  sqlite3_exec(db, "PRAGMA user_version=7", nullptr, nullptr, nullptr);
  sqlite3_close(db);
  try {
    open_sqlite_documents(path);
    FAIL();
  } catch (const Error& error) { EXPECT_EQ(error.code(), "database_version"); }
}

TEST(SqliteDocuments, ConcurrentChangesShareSyncs) {
  TempDir dir;
  std::atomic<std::uint64_t> syncs{0};
  FaultyVfs vfs([&](const char* call, std::uint64_t) {
    if (std::strcmp(call, "sync") == 0) {
      ++syncs;
      ::usleep(2000);  // the disk of the test: slow enough for others to queue up
    }
    return SQLITE_OK;
  });
  auto documents = open_sqlite_documents(dir.path() + "/some.db");
  documents->insert("warm", "up", "1");
  syncs = 0;
  constexpr int kThreads = 8, kEach = 25;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) EXPECT_TRUE(documents->insert("a", std::to_string(t) + "/" + std::to_string(i), "1"));
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(documents->count("a", "", ""), static_cast<std::uint64_t>(kThreads * kEach));
  EXPECT_LT(syncs, static_cast<std::uint64_t>(kThreads * kEach / 2));
}

TEST(SqliteDocuments, EveryChangeIsSyncedBeforeItIsAnswered) {
  TempDir dir;
  std::uint64_t syncs = 0;
  FaultyVfs vfs([&](const char* call, std::uint64_t) {
    if (std::strcmp(call, "sync") == 0) ++syncs;
    return SQLITE_OK;
  });
  auto documents = open_sqlite_documents(dir.path() + "/some.db");
  for (int i = 0; i < 20; ++i) {
    std::uint64_t before = syncs;
    documents->put("a", "k", std::to_string(i));
    EXPECT_GT(syncs, before);
  }
}

TEST(SqliteDocuments, ReadersDoNotWaitForASync) {
  TempDir dir;
  std::atomic<bool> hold{false}, held{false};
  FaultyVfs vfs([&](const char* call, std::uint64_t) {
    if (std::strcmp(call, "sync") == 0 && hold) {
      held = true;
      held.notify_all();
      hold.wait(true);
    }
    return SQLITE_OK;
  });
  auto documents = open_sqlite_documents(dir.path() + "/some.db");
  documents->insert("a", "k", "before");
  hold = true;
  std::thread writer([&] { documents->put("a", "k", "after"); });
  held.wait(false);
  EXPECT_EQ(documents->get("a", "k")->json, "before");
  EXPECT_EQ(documents->count("a", "", ""), 1u);
  hold = false;
  hold.notify_all();
  writer.join();
  EXPECT_EQ(documents->get("a", "k")->json, "after");
}

// Every write and sync fails in turn, once with a full disk and once with an I/O error: what was acknowledged stays,
// what was refused is not there, and the store works again as soon as the disk does.
TEST(SqliteDocuments, WhateverDiskCallFailsAnswersAreTrue) {
  for (int code : {SQLITE_FULL, SQLITE_IOERR_WRITE}) {
    for (std::uint64_t failing = 0;; ++failing) {
      TempDir dir;
      std::string path = dir.path() + "/some.db";
      std::map<std::string, std::string> acknowledged;
      std::set<std::string> refused;
      bool failed = false;
      {
        std::uint64_t from = UINT64_MAX;
        FaultyVfs vfs([&](const char*, std::uint64_t number) {
          if (number < from || number - from != failing) return SQLITE_OK;
          failed = true;
          return code;
        });
        auto documents = open_sqlite_documents(path);
        from = vfs.calls();
        for (int i = 0; i < 12; ++i) {
          std::string key = std::to_string(i), json(3000, static_cast<char>('a' + i));
          try {
            if (i % 3 == 2) {
              std::vector<Documents::Insert> two{{"a", key, json}, {"a", key + "b", json}};
              documents->insert_many(two);
              acknowledged[key + "b"] = json;
            } else {
              documents->put("a", key, json);
            }
            acknowledged[key] = json;
          } catch (const Error& error) {
            EXPECT_EQ(error.kind(), code == SQLITE_FULL ? ErrorKind::storage_full : ErrorKind::unavailable) << error.what();
            refused.insert(key);
            EXPECT_FALSE(documents->get("a", key)) << "visible though refused";
          }
        }
        EXPECT_LE(refused.size(), 1u);
      }
      auto documents = open_sqlite_documents(path);
      std::map<std::string, std::string> found;
      for (const Document& document : documents->scan("a", {})) found[document.key] = document.json;
      EXPECT_EQ(found, acknowledged) << "failing call " << failing;
      if (!failed) break;
    }
  }
}

// A batch with one failing member: the others must not suffer. The failure comes from the disk at the batch's commit.
TEST(SqliteDocuments, AfterAFailedSharedCommitEveryChangeGetsItsOwnAnswer) {
  TempDir dir;
  std::atomic<int> fail_next{0};
  FaultyVfs vfs([&](const char* call, std::uint64_t) {
    if (std::strcmp(call, "sync") == 0 && fail_next > 0) {
      --fail_next;
      return static_cast<int>(SQLITE_IOERR_FSYNC);
    }
    return SQLITE_OK;
  });
  auto documents = open_sqlite_documents(dir.path() + "/some.db");
  fail_next = 3;
  std::atomic<int> acknowledged{0}, refused{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        std::string key = std::to_string(t) + "/" + std::to_string(i);
        try {
          EXPECT_TRUE(documents->insert("a", key, "1"));
          ++acknowledged;
          EXPECT_TRUE(documents->get("a", key));
        } catch (const Error&) {
          ++refused;
          EXPECT_FALSE(documents->get("a", key));
        }
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(acknowledged + refused, 80);
  EXPECT_LE(refused, 3);
  EXPECT_EQ(documents->count("a", "", ""), static_cast<std::uint64_t>(acknowledged.load()));
}

// A child process writes from four threads and reports each acknowledged key through a pipe; kill -9 ends it anywhere.
TEST(SqliteDocuments, KillLosesNothingAcknowledged) {
  TempDir dir;
  std::string path = dir.path() + "/some.db";
  SeededRandom random(7);
  std::set<std::string> acknowledged;
  for (int round = 0; round < 8; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(::pipe(pipe_ends), 0);
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(pipe_ends[0]);
      auto documents = open_sqlite_documents(path);
      std::vector<std::thread> threads;
      for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
          for (std::uint32_t i = 0;; ++i) {
            char key[16] = {};
            std::snprintf(key, sizeof key, "%02d-%d-%08u", round, t, i);
            documents->insert("a", key, std::string(500, 'x'));
            if (::write(pipe_ends[1], key, sizeof key) != sizeof key) ::_exit(1);
          }
        });
      for (auto& thread : threads) thread.join();
    }
    ::close(pipe_ends[1]);
    // Killed after a number of acknowledgements, so wherever the four threads then are.
    std::uint64_t until = 1 + random.array<1>()[0] % 60;
    char key[16];
    for (std::uint64_t n = 0; n < until && ::read(pipe_ends[0], key, sizeof key) == sizeof key; ++n) acknowledged.insert(key);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    while (::read(pipe_ends[0], key, sizeof key) == sizeof key) acknowledged.insert(key);
    ::close(pipe_ends[0]);
    auto documents = open_sqlite_documents(path);
    for (const std::string& each : acknowledged) ASSERT_TRUE(documents->get("a", each)) << each;
  }
  EXPECT_GT(acknowledged.size(), 8u);
}

}  // namespace
}  // namespace lucid::store
