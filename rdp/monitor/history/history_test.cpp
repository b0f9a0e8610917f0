// The history against a plain list of what was appended, its limits, and what it refuses.
#include "rdp/monitor/history/history.hpp"

#include <sys/stat.h>

#include <cmath>
#include <filesystem>
#include <random>

#include <gtest/gtest.h>

#include "rdp/monitor/history/active.hpp"
#include "rdp/monitor/history/history_test_support.hpp"
#include "rdp/monitor/history/row.hpp"

namespace lucid::monitor {
namespace {

const char* kCpu = "host_cpu_used_ratio";
const char* kDisk = "host_disk_used_ratio";
const char* kSession = "session_cpu_ratio";

class HistoryTest : public testing::Test {
 protected:
  std::string path() const { return dir_.path() + "/history.db"; }
  TempDir dir_;
};

// What kill -9 leaves: the files as they are this moment, nothing closed.
std::string copy_of_files(const std::string& path, const std::string& name) {
  std::string copy = path + name;
  for (const char* suffix : {"", "-wal"})
    if (std::filesystem::exists(path + suffix)) std::filesystem::copy_file(path + suffix, copy + suffix);
  return copy;
}

class Against : public testing::TestWithParam<unsigned> {
 protected:
  void compare(const History& history, const HistoryQuery& q) {
    HistoryAnswer answer = history.query(q);
    NaiveHistory::Lines expected = model_.query(q, span_of(answer.tier), answer.step_ms), got = lines_of(answer);
    std::string what = q.metric + " " + q.subject.value_or("*") + " " + answer.tier + " " + name(q.aggregate) + " step " +
                       std::to_string(answer.step_ms) + " from " + std::to_string(q.from_ms - kStart) + " to " +
                       std::to_string(q.to_ms - kStart);
    ASSERT_EQ(got.size(), expected.size()) << what;
    for (const auto& [subject, points] : expected) {
      ASSERT_EQ(got[subject].size(), points.size()) << what << " of " << subject;
      for (const auto& [at, value] : points) {
        ASSERT_TRUE(got[subject].contains(at)) << what << " of " << subject << " at " << at - kStart;
        ASSERT_NEAR(got[subject][at], value, 1e-9 * (1 + std::abs(value))) << what << " of " << subject << " at " << at - kStart;
      }
    }
    for (const HistoryLine& line : answer.lines) EXPECT_TRUE(std::ranges::is_sorted(line.points, {}, &HistoryPoint::at_ms)) << what;
    std::int64_t now = model_.last_ms();
    if (q.from_ms >= now - limits_.raw_ms) {
      EXPECT_EQ(answer.tier, "raw") << what;
    } else if (q.from_ms >= now - limits_.minute_ms + kMinute) {
      EXPECT_NE(answer.tier, "hour") << what;
    }
  }

  TempDir dir_;
  NaiveHistory model_;
  HistoryLimits limits_{.raw_ms = 25 * kMinute, .minute_ms = 5 * kHour, .hour_ms = 3 * kDay};
};

TEST_P(Against, APlainListTheAnswersAreTheSame) {
  std::mt19937 random(GetParam());
  auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
  std::string path = dir_.path() + "/h.db";
  auto history = std::make_unique<History>(path, limits_);
  std::int64_t wall = kStart + below(3'600'000);
  int sessions_from = 0, copies = 0;
  for (int tick = 0; tick < 1'500; ++tick) {
    std::vector<Reading> readings;
    auto value = [&]() -> double {
      switch (below(8)) {
        case 0: return 0;
        case 1: return below(100);
        case 2: return std::nan("");
        case 3: return below(2) == 0 ? HUGE_VAL : -1e300;
        case 4: return 4096.0 * below(1 << 30);
        default: return static_cast<double>(random()) / 4e9;
      }
    };
    readings.push_back({kCpu, "", value()});
    readings.push_back({"host_load_1m", "", value()});
    for (const char* mount : {"/", "/data", "/a\tb\"\xff"})
      if (below(10) != 0) readings.push_back({kDisk, mount, value()});
    if (below(50) == 0) sessions_from += below(40);  // sessions come and go
    for (int s = sessions_from; s < sessions_from + 38; ++s) readings.push_back({kSession, "s" + std::to_string(s), value()});
    history->append(wall, readings);
    model_.append(wall, readings);
    switch (below(40)) {
      case 0: wall += kHour * below(4) + below(3'600'000); break;  // asleep
      case 1: wall -= below(120'000); break;                       // the clock is set back
      case 2: wall += 10 * kMinute; break;
      default: wall += 5'000 + below(300);
    }
    if (below(150) == 0) history = std::make_unique<History>(path, limits_);
    if (below(150) == 0) {
      path = copy_of_files(path, std::to_string(copies++));
      history = std::make_unique<History>(path, limits_);
    }
    if (tick % 15 != 0) continue;
    HistoryQuery q;
    const char* metrics[] = {kCpu, kDisk, kSession, "host_load_1m", "host_load_5m"};
    q.metric = metrics[below(5)];
    if (q.metric == kSession)
      q.subject = "s" + std::to_string(below(static_cast<unsigned>(sessions_from) + 40));
    else if (below(2) == 0)
      q.subject = q.metric == kDisk ? "/data" : "";
    std::int64_t oldest = std::max(kStart, model_.last_ms() - limits_.hour_ms + 2 * kHour), back = model_.last_ms() - oldest;
    std::int64_t range = below(3) == 0 ? back : std::min<std::int64_t>(back, below(2) == 0 ? kHour : 7 * kHour);
    q.from_ms = model_.last_ms() - 1 - static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(std::max<std::int64_t>(range, 1)));
    q.to_ms = q.from_ms + 1 + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(2 * kHour + range));
    const std::int64_t steps[] = {0, 0, 30 * kSecond, 7'777, kMinute, 90 * kSecond, kHour, kDay};
    q.step_ms = steps[below(8)];
    if (q.step_ms > 0 && (q.to_ms - q.from_ms) / q.step_ms > 10'000) q.step_ms = 0;
    q.aggregate = static_cast<Aggregate>(below(4));
    ASSERT_NO_FATAL_FAILURE(compare(*history, q)) << "tick " << tick;
  }
  EXPECT_EQ(history->size().damaged_rows, 0u);
  EXPECT_EQ(history->size().refused_series, 0u);
}
INSTANTIATE_TEST_SUITE_P(Seeds, Against, testing::Values(1u, 2u, 3u, 4u, 5u, 6u));

TEST_F(HistoryTest, MinutesAndHoursUnderWayAreWholeAfterAKill) {
  std::int64_t at = kStart + 17 * kMinute;
  {
    History history(path(), {});
    for (int i = 0; i < 1'000; ++i, at += 5 * kSecond) history.append(at, {{{kCpu, "", i * 0.1}, {kSession, "a", 1.0 * i}}});
    std::string killed = copy_of_files(path(), "-killed");
    History again(killed, {});
    again.append(at, {{{kSession, "a", 5'000}}});
    HistoryAnswer hour = again.query(one_series(kSession, "a", kStart, kStart + 2 * kHour, kHour, Aggregate::max));
    ASSERT_EQ(hour.lines.size(), 1u);
    ASSERT_EQ(hour.lines[0].points.size(), 2u);
    EXPECT_EQ(hour.lines[0].points[1].value, 5'000);
    again.append(at + 100 * kHour, {});  // raw and minutes are gone by now
    again.append(at + 100 * kHour + kMinute, {{{kCpu, "", 1}}});
    hour = again.query(one_series(kSession, "a", kStart, kStart + 2 * kHour, kHour, Aggregate::avg));
    EXPECT_EQ(hour.tier, "hour");
    ASSERT_EQ(hour.lines.size(), 1u);
    double sum = 0;
    for (int i = 516; i < 1'000; ++i) sum += i;  // 43 minutes of ticks were in the first hour
    EXPECT_NEAR(hour.lines[0].points[1].value, (sum + 5'000) / 485, 1e-6);
  }
}

TEST_F(HistoryTest, KeepsATickOfAClockThatWentBackUnderALaterTime) {
  History history(path(), {});
  history.append(kStart + 500, {{{kCpu, "", 1}}});
  history.append(kStart + 500, {{{kCpu, "", 2}}});
  history.append(kStart - kDay, {{{kCpu, "", 3}}});
  HistoryAnswer answer = history.query(one_series(kCpu, "", kStart, kStart + kSecond, 1));
  ASSERT_EQ(answer.lines.size(), 1u);
  ASSERT_EQ(answer.lines[0].points.size(), 3u);
  EXPECT_EQ(answer.lines[0].points[2].at_ms, kStart + 502);
  EXPECT_EQ(answer.lines[0].points[2].value, 3);
}

TEST_F(HistoryTest, RemovesWhatIsTooOldFromEveryTier) {
  HistoryLimits limits{.raw_ms = 10 * kMinute, .minute_ms = 2 * kHour, .hour_ms = 10 * kHour};
  History history(path(), limits);
  std::int64_t at = kStart;
  std::uint64_t middle = 0;
  for (int i = 0; i < 3'000; ++i, at += 20 * kSecond) {
    history.append(at, {{{kCpu, "", 1.0 * i}}});
    if (i == 2'200) middle = history.size().bytes;
  }
  EXPECT_GE(history.size().oldest_ms, at - limits.hour_ms - kHour);
  EXPECT_LE(history.size().bytes, middle + 256 * 1024) << "space of removed rows is used again";
  for (auto [from, tier] : {std::pair(at - 9 * kMinute, "raw"), std::pair(at - kHour, "minute"), std::pair(at - 9 * kHour, "hour"),
                            std::pair(at - kDay, "hour")})
    EXPECT_EQ(history.query(one_series(kCpu, "", from, at)).tier, tier);
  HistoryAnswer day = history.query(one_series(kCpu, "", at - kDay, at, kHour));
  EXPECT_LE(day.lines[0].points.size(), 12u);
}

TEST_F(HistoryTest, StaysBelowItsSizeAndKeepsTheNewest) {
  HistoryLimits limits{.max_bytes = 2 << 20};
  std::mt19937_64 random(1);
  std::int64_t at = kStart;
  {
    History history(path(), limits);
    for (int i = 0; i < 2'500; ++i, at += 5 * kSecond) {
      std::vector<Reading> readings;
      for (int s = 0; s < 150; ++s) readings.push_back({kSession, "s" + std::to_string(s), static_cast<double>(random())});
      history.append(at, readings);
      if (i % 50 == 0) { ASSERT_LE(history.size().bytes, limits.max_bytes) << i; }
    }
    EXPECT_LE(history.size().bytes, limits.max_bytes);
    EXPECT_FALSE(history.query(one_series(kSession, "s3", at - kMinute, at)).lines.empty());
    EXPECT_FALSE(history.query(one_series(kSession, "s3", kStart, at)).lines.empty()) << "minutes go after the ticks";
  }
  limits.max_bytes = 1 << 20;
  History smaller(path(), limits);
  EXPECT_LE(smaller.size().bytes, limits.max_bytes) << "a file that was allowed more is made smaller";
  smaller.append(at, {{{kSession, "s3", 7}}});
  HistoryAnswer answer = smaller.query(one_series(kSession, "s3", at, at + 1));
  ASSERT_EQ(answer.lines.size(), 1u);
  EXPECT_EQ(answer.lines[0].points[0].value, 7);
}

TEST_F(HistoryTest, AMillionSubjectsLeaveItSmall) {
  HistoryLimits limits{.max_series = 500, .max_bytes = 24 << 20};
  History history(path(), limits);
  std::int64_t at = kStart;
  std::uint64_t subject = 0;
  std::vector<Reading> readings(2'501);
  for (int tick = 0; tick < 400; ++tick, at += kHour) {
    readings[0] = {kSession, "lasting", 1.0 * tick};
    for (std::size_t i = 1; i < readings.size(); ++i) readings[i] = {kSession, "session-" + std::to_string(subject++), 1};
    history.append(at, readings);
    history.append(at + 55 * kMinute, {readings.data(), 1});
    ASSERT_LE(history.size().series, limits.max_series);
  }
  EXPECT_EQ(subject, 1'000'000u);
  EXPECT_EQ(history.size().refused_series, 400u * 2'001);
  EXPECT_LE(history.size().bytes, 16u << 20);
  HistoryAnswer lasting = history.query(one_series(kSession, "lasting", kStart, at, kHour));
  ASSERT_EQ(lasting.lines.size(), 1u);
  EXPECT_EQ(lasting.lines[0].points.size(), 400u);
  EXPECT_EQ(lasting.lines[0].points[399].value, 399);
  HistoryAnswer all = history.query({.metric = kSession, .from_ms = kStart, .to_ms = at});
  EXPECT_TRUE(all.cut);
  EXPECT_EQ(all.lines.size(), 100u);
  // Those of the last hour are shown, not those of two weeks ago.
  EXPECT_EQ(history.query({.metric = kSession, .from_ms = at - kHour, .to_ms = at}).lines.size(), 100u);
}

TEST_F(HistoryTest, ASubjectThatComesBackIsOneLine) {
  History history(path(), {});
  std::int64_t at = kStart;
  for (int i = 0; i < 6; ++i, at += 5 * kHour) {
    history.append(at, {{{kSession, "back", 1.0 * i}}});
    history.append(at + 2 * kHour, {{{kSession, "other" + std::to_string(i), 100}}});  // may get its place
  }
  HistoryAnswer answer = history.query(one_series(kSession, "back", kStart, at, kHour));
  ASSERT_EQ(answer.lines.size(), 1u);
  ASSERT_EQ(answer.lines[0].points.size(), 6u);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(answer.lines[0].points[static_cast<std::size_t>(i)].value, i);
}

TEST_F(HistoryTest, RefusesWithTheFieldNamed) {
  History history(path(), {});
  for (int s = 0; s < 30; ++s) history.append(kStart + s, {{{kSession, "s" + std::to_string(s), 1}}});
  struct Wrong {
    HistoryQuery query;
    const char* pointer;
  };
  HistoryQuery good = one_series(kCpu, "", kStart, kStart + kHour, kMinute);
  auto with = [&](auto change) {
    HistoryQuery q = good;
    change(q);
    return q;
  };
  EXPECT_NO_THROW(history.query(good));
  for (const Wrong& wrong : std::vector<Wrong>{
           {with([](auto& q) { q.metric = "no_such_metric"; }), "/metric"},
           {with([](auto& q) { q.metric = ""; }), "/metric"},
           {with([](auto& q) { q.from_ms = q.to_ms; }), "/from"},
           {with([](auto& q) { q.from_ms = -1; }), "/from"},
           {with([](auto& q) { q.from_ms = INT64_MIN, q.to_ms = INT64_MAX; }), "/from"},
           {with([](auto& q) { q.to_ms = INT64_MAX; }), "/to"},
           {with([](auto& q) { q.step_ms = -5; }), "/step"},
           {with([](auto& q) { q.step_ms = 1; }), "/step"},
           {with([](auto& q) { q.from_ms = 0, q.step_ms = kHour; }), "/step"},
           {with([](auto& q) { q.metric = kSession, q.subject.reset(), q.to_ms = kStart + 10'000, q.step_ms = 1; }), "/step"},
       }) {
    try {
      history.query(wrong.query);
      ADD_FAILURE() << "answered " << wrong.pointer;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::invalid) << e.what();
      ASSERT_EQ(e.fields().size(), 1u);
      EXPECT_EQ(e.fields()[0].pointer, wrong.pointer);
    }
  }
  EXPECT_NO_THROW(history.query(with([](auto& q) { q.from_ms = 0, q.to_ms = 253'402'300'799'000, q.step_ms = 0; })));
  EXPECT_EQ(aggregate("max"), Aggregate::max);
  EXPECT_FALSE(aggregate("sum"));
}

TEST_F(HistoryTest, LeavesOutWhatItCannotKeep) {
  History history(path(), {.max_series = 2});
  history.append(kStart, {{{kCpu, "", 1e308},
                           {kDisk, "/", 1},
                           {kDisk, "/data", 1},
                           {"unknown_metric", "", 1},
                           {kCpu, "", -1e308},
                           {kSession, std::string(300, 'x'), 1}}});
  history.append(kStart + 1, {{{kCpu, "", 1e308}}});
  EXPECT_EQ(history.size().series, 2u);
  EXPECT_EQ(history.size().refused_series, 2u);
  EXPECT_TRUE(history.query(one_series(kDisk, "/data", kStart, kStart + kHour)).lines.empty());
  HistoryAnswer answer = history.query(one_series(kCpu, "", kStart, kStart + kHour, kHour));
  ASSERT_EQ(answer.lines.size(), 1u);
  EXPECT_EQ(answer.lines[0].points[0].value, 0) << "the later of two in one tick, and no overflow of the mean";
}

TEST_F(HistoryTest, IsPrivate) {
  History history(path(), {});
  history.append(kStart, {{{kCpu, "", 1}}});
  for (const char* suffix : {"", "-wal", "-shm"}) {
    struct stat status{};
    ASSERT_EQ(::stat((path() + suffix).c_str(), &status), 0) << suffix;
    EXPECT_EQ(status.st_mode & 0777, 0600u) << suffix;
  }
}

// ---- rows ------------------------------------------------------------------------------------------------------------------------------
TEST(HistoryRow, ComesBackAsItWas) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 300; ++round) {
    history::RawBlock raw;
    history::SummaryBlock rolled, back;
    for (int place = 0; place < history::kPlaces; ++place) {
      if (random() % 3 == 0) continue;
      double value = random() % 2 == 0 ? static_cast<double>(random() % 1000) : std::ldexp(static_cast<double>(random()), -70);
      raw.present |= 1u << place;
      raw.values[place] = value;
      rolled.add(place, {value, value, value, value, 1});
      if (random() % 2 == 0) rolled.add(place, {-value, value * 2, value / 3, 0, random() >> 2});
    }
    Bytes bytes;
    auto key = static_cast<std::int64_t>(random() >> 8);
    encode(raw, key, bytes);
    ASSERT_TRUE(decode(bytes, history::Tier::raw, key, back));
    ASSERT_EQ(back.present, raw.present);
    for (int p = 0; p < history::kPlaces; ++p)
      if ((raw.present >> p & 1) != 0) { ASSERT_EQ(back.values[p].last, raw.values[p]); }
    encode(rolled, history::Tier::hour, key, bytes);
    ASSERT_TRUE(decode(bytes, history::Tier::hour, key, back));
    ASSERT_EQ(back.present, rolled.present);
    for (int p = 0; p < history::kPlaces; ++p)
      if ((rolled.present >> p & 1) != 0) {
        ASSERT_EQ(back.values[p].count, rolled.values[p].count);
        ASSERT_EQ(back.values[p].mean(), rolled.values[p].mean());
        ASSERT_EQ(back.values[p].max, rolled.values[p].max);
      }
    EXPECT_FALSE(decode(bytes, history::Tier::hour, key + 1, back)) << "a row that was moved";
    EXPECT_FALSE(decode(bytes, history::Tier::minute, key, back));
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) ASSERT_FALSE(decode(ByteView(bytes).first(cut), history::Tier::hour, key, back));
    Bytes altered = bytes;
    altered[random() % altered.size()] ^= static_cast<std::uint8_t>(1u << random() % 8);
    ASSERT_FALSE(decode(altered, history::Tier::hour, key, back));
  }
}

}  // namespace
}  // namespace lucid::monitor
