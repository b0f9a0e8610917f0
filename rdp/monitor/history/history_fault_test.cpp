// The history when processes are killed, disks are full, bytes rot, and several ask at once.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "lib/store/faulty_vfs.hpp"
#include "lib/store/sqlite_connection.hpp"
#include "rdp/monitor/history/history.hpp"
#include "rdp/monitor/history/history_test_support.hpp"

namespace lucid::monitor {
namespace {

const char* kLoad = "host_load_1m";
const char* kSessionMemory = "session_memory_bytes";

class HistoryFault : public testing::Test {
 protected:
  std::string path() const { return dir_.path() + "/history.db"; }
  TempDir dir_;
};

std::vector<double> raw_values(const History& history, std::int64_t from, std::int64_t to, std::int64_t step) {
  std::vector<double> values;
  for (std::int64_t part = from; part < to; part += 10'000 * step)
    for (const HistoryLine& line : history.query(one_series(kLoad, "", part, std::min(to, part + 10'000 * step), step)).lines)
      for (const HistoryPoint& point : line.points) values.push_back(point.value);
  return values;
}

TEST_F(HistoryFault, AKillLosesNothingThatAppendReturnedFrom) {
  std::int64_t at = kStart;
  int written = 0;
  for (int round = 0; round < 5; ++round) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(pipe[0]);
      try {
        History history(path(), {});
        for (int i = written;; ++i) {
          history.append(kStart + i * 5 * kSecond, {{{kLoad, "", 1.0 * i}, {kSessionMemory, "s" + std::to_string(i / 10), 1}}});
          if (::write(pipe[1], &i, sizeof i) != sizeof i) ::_exit(1);
        }
      } catch (...) { ::_exit(2); }
    }
    ::close(pipe[1]);
    int i = -1, last = -1;
    // Killed at a moment of no importance, often in the middle of an append.
    while (last < written + 120 + round * 37 && ::read(pipe[0], &i, sizeof i) == sizeof i) last = i;
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << status;
    while (::read(pipe[0], &i, sizeof i) == sizeof i) last = i;
    ::close(pipe[0]);
    History history(path(), {});
    std::vector<double> values = raw_values(history, kStart, kStart + kHour * 2, kSecond);
    ASSERT_GE(values.size(), static_cast<std::size_t>(last + 1));
    for (std::size_t v = 0; v < values.size(); ++v) ASSERT_EQ(values[v], static_cast<double>(v));
    HistoryAnswer hour = history.query(one_series(kLoad, "", kStart, kStart + kHour, kHour, Aggregate::max));
    EXPECT_EQ(hour.lines[0].points[0].value, std::min<double>(values.back(), 719));
    written = static_cast<int>(values.size());
    at = kStart + written * 5 * kSecond;
  }
  EXPECT_GT(at, kStart + 60 * kMinute);
}

TEST_F(HistoryFault, WhateverCallFailsWhatWasAnsweredIsKept) {
  for (std::uint64_t fail = 0; fail < 150; fail += 5) {
    std::string file = dir_.path() + "/f" + std::to_string(fail) + ".db";
    std::vector<int> kept;
    int refused = 0;
    {
      bool armed = false;
      std::uint64_t seen = 0;
      store::FaultyVfs vfs([&](const char*, std::uint64_t) { return armed && seen++ == fail ? SQLITE_FULL : SQLITE_OK; });
      History history(file, {});
      armed = true;
      for (int i = 0; i < 40; ++i) {
        try {
          history.append(kStart + 3'590'000 + i * 5 * kSecond, {{{kLoad, "", 1.0 * i}, {kSessionMemory, "s" + std::to_string(i), 1}}});
          kept.push_back(i);
        } catch (const Error& e) {
          EXPECT_EQ(e.kind(), ErrorKind::storage_full) << e.what();
          ++refused;
        }
      }
      std::vector<double> now = raw_values(history, kStart, kStart + 2 * kHour, kSecond);
      EXPECT_GE(now.size(), kept.size());
    }
    EXPECT_LE(refused, 1);
    History history(file, {});
    std::vector<double> values = raw_values(history, kStart, kStart + 2 * kHour, kSecond);
    for (int i : kept) ASSERT_TRUE(std::ranges::find(values, static_cast<double>(i)) != values.end()) << "call " << fail << " tick " << i;
    HistoryAnswer minutes = history.query(one_series(kLoad, "", kStart, kStart + 2 * kHour, kHour, Aggregate::last));
    EXPECT_EQ(minutes.lines.at(0).points.back().value, 39);
  }
}

TEST_F(HistoryFault, GoesOnWhenADiskThatWasFullIsNot) {
  std::atomic<bool> full = false;
  store::FaultyVfs vfs([&](const char* call, std::uint64_t) { return full && std::string(call) == "write" ? SQLITE_FULL : SQLITE_OK; });
  History history(path(), {});
  NaiveHistory model;
  for (int i = 0; i < 300; ++i) {
    full = i >= 100 && i < 200;
    std::vector<Reading> readings{{kLoad, "", 1.0 * i}, {kSessionMemory, "s" + std::to_string(i / 7), 2.0 * i}};
    try {
      history.append(kStart + i * 7 * kSecond, readings);
      model.append(kStart + i * 7 * kSecond, readings);
    } catch (const Error& e) {
      ASSERT_TRUE(full) << e.what();
      EXPECT_EQ(e.kind(), ErrorKind::storage_full);
    }
  }
  EXPECT_EQ(model.last_ms(), kStart + 299 * 7 * kSecond);
  for (const char* metric : {kLoad, kSessionMemory}) {
    HistoryQuery q{.metric = metric, .from_ms = kStart, .to_ms = kStart + kHour, .step_ms = kMinute};
    EXPECT_EQ(lines_of(history.query(q)), model.query(q, 1, kMinute)) << metric;
  }
}

TEST_F(HistoryFault, SkipsAndCountsRowsWhoseBytesAreWrong) {
  {
    History history(path(), {.raw_ms = 10 * kMinute});
    for (int i = 0; i < 2'000; ++i) history.append(kStart + i * 5 * kSecond, {{{kLoad, "", 1.0 * i}}});
  }
  std::mt19937 random(5);
  int damaged = 0;
  {
    store::SqliteConnection db(path(), SQLITE_OPEN_READWRITE);
    std::vector<std::pair<std::int64_t, Bytes>> rows;
    {
      auto all = db.prepare("SELECT key, row FROM minute ORDER BY key");
      while (all.step()) rows.emplace_back(all.integer_at(0), Bytes(all.blob_at(1).begin(), all.blob_at(1).end()));
    }
    for (auto& [key, row] : rows) {
      if (random() % 3 != 0) continue;
      ++damaged;
      switch (random() % 4) {
        case 0: row.clear(); break;
        case 1: row.resize(random() % row.size()); break;
        case 2: row.insert(row.end(), 100'000, 0xff); break;
        default: row[random() % row.size()] ^= static_cast<std::uint8_t>(1 + random() % 255);
      }
      db.prepare("UPDATE minute SET row=?2 WHERE key=?1").integer(1, key).blob(2, row).step();
    }
    db.execute("INSERT INTO series VALUES(99, 'host_load_1m', 'x', 70000, 99, -1, 9223372036854775807)");
    db.execute("INSERT INTO series VALUES(100, 'host_load_1m', 'y', -4, -9, 9223372036854775807, -1)");
    db.execute("INSERT INTO series VALUES(101, 'no_such', X'ff00', 0, 0, 0, 9223372036854775807)");
  }
  History history(path(), {});
  HistoryAnswer answer = history.query(one_series(kLoad, "", kStart, kStart + 2'000 * 5 * kSecond, kMinute));
  EXPECT_EQ(answer.tier, "minute");
  ASSERT_EQ(answer.lines.size(), 1u);
  EXPECT_EQ(answer.lines[0].points.size(), 167u - static_cast<std::size_t>(damaged));
  EXPECT_GE(history.size().damaged_rows, static_cast<std::uint64_t>(damaged));
  history.append(kStart + kDay, {{{kLoad, "", 1}}});
}

TEST_F(HistoryFault, BytesThatRotAnywhereInTheFileNeverEndTheProcess) {
  {
    History history(path(), {});
    for (int i = 0; i < 800; ++i)
      history.append(kStart + i * 5 * kSecond, {{{kLoad, "", 1.0 * i}, {kSessionMemory, "s" + std::to_string(i / 50), 1}}});
  }
  FileOps& files = system_files();
  const Bytes good = files.read_file(path());
  std::mt19937 random(9);
  int failed = 0;
  for (int round = 0; round < 60; ++round) {
    std::string file = dir_.path() + "/rot" + std::to_string(round);
    Bytes bad = good;
    for (int flips = 0; flips < 1 << (round % 10); ++flips) bad[random() % bad.size()] = static_cast<std::uint8_t>(random());
    if (round % 7 == 0) bad.resize(random() % bad.size());
    files.replace_file(file, bad);
    try {
      History history(file, {});
      for (const char* metric : {kLoad, kSessionMemory})
        history.query({.metric = metric, .from_ms = kStart, .to_ms = kStart + kDay, .step_ms = kMinute});
      for (int i = 0; i < 30; ++i) history.append(kStart + kHour + i * 20 * kSecond, {{{kLoad, "", 1}}});
    } catch (const Error&) { ++failed; }
  }
  EXPECT_GT(failed, 0);
}

TEST_F(HistoryFault, AFileThatIsNoHistoryIsNamed) {
  FileOps& files = system_files();
  files.replace_file(path(), as_bytes(std::string(5'000, 'x')));
  auto expect_corrupt = [&] {
    try {
      History history(path(), {});
      ADD_FAILURE() << "opened";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::corrupt) << e.what();
      EXPECT_NE(std::string(e.what()).find(path()), std::string::npos) << e.what();
    }
  };
  expect_corrupt();
  files.remove(path());
  { store::SqliteConnection(path(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE).execute("CREATE TABLE mine(x)"); }
  expect_corrupt();
}

TEST_F(HistoryFault, ReadersSeeWholeTicksWhileOneAppends) {
  History history(path(), {.raw_ms = 5 * kMinute, .minute_ms = kHour, .hour_ms = kDay});
  constexpr int kTicks = 1'500;
  std::atomic<int> appended = -1;
  std::vector<std::thread> readers;
  for (unsigned r = 0; r < 3; ++r)
    readers.emplace_back([&, r] {
      std::mt19937 random(r);
      while (appended < kTicks - 1) {
        int before = appended;
        if (before < 0) continue;
        std::int64_t to = kStart + kDay,
                     from = std::max(kStart, kStart + before * 20 * kSecond - static_cast<std::int64_t>(random() % (9 * kHour)));
        HistoryAnswer answer = history.query({.metric = kSessionMemory, .from_ms = from, .to_ms = to, .aggregate = Aggregate::last});
        ASSERT_EQ(answer.lines.size(), 3u);
        for (const HistoryLine& line : answer.lines) {
          ASSERT_GE(line.points.back().value, before) << "what append returned from is seen";
          for (std::size_t i = 1; i < line.points.size(); ++i) ASSERT_LT(line.points[i - 1].value, line.points[i].value);
          ASSERT_EQ(line.points.back().value, answer.lines[0].points.back().value);
        }
        history.size();
      }
    });
  for (int i = 0; i < kTicks; ++i) {
    history.append(kStart + i * 20 * kSecond,
                   {{{kSessionMemory, "a", 1.0 * i}, {kLoad, "", 1}, {kSessionMemory, "b", 1.0 * i}, {kSessionMemory, "c", 1.0 * i}}});
    appended = i;
  }
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace lucid::monitor
