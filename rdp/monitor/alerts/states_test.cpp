// The table of moves, whole; and values as people read them.
#include <gtest/gtest.h>

#include "rdp/monitor/alerts/states.hpp"
#include "rdp/monitor/alerts/values.hpp"

using namespace lucid::monitor;

namespace {

TEST(AlertStates, BeginAndFireOnlyOnAValuePastTheThreshold) {
  for (Life life : kAllLives)
    for (Sight sight : kAllSights)
      for (bool held : {false, true}) {
        Move move = next(life, sight, held);
        if (sight != Sight::beyond) { EXPECT_TRUE(move != Move::begin && move != Move::fire); }
        if (move == Move::fire) { EXPECT_TRUE(held && life != Life::firing); }
        if (move == Move::begin) { EXPECT_TRUE(!held && life == Life::quiet); }
        if (move == Move::drop) { EXPECT_EQ(life, Life::pending); }
        if (move == Move::resolve) { EXPECT_EQ(life, Life::firing); }
      }
}

TEST(AlertStates, EveryRowIsAsTheHeaderSays) {
  using enum Move;
  struct Row {
    Life life;
    std::array<Move, 6> moves, moves_held;
  };
  for (const Row& row : {Row{Life::quiet, {begin, stay, stay, stay, stay, stay}, {fire, stay, stay, stay, stay, stay}},
                         Row{Life::pending, {stay, drop, drop, stay, drop, drop}, {fire, drop, drop, stay, drop, drop}},
                         Row{Life::firing, {stay, stay, resolve, stay, resolve, resolve}, {stay, stay, resolve, stay, resolve, resolve}}})
    for (std::size_t i = 0; i < kAllSights.size(); ++i) {
      EXPECT_EQ(next(row.life, kAllSights[i], false), row.moves[i]) << static_cast<int>(row.life) << " " << i;
      EXPECT_EQ(next(row.life, kAllSights[i], true), row.moves_held[i]) << static_cast<int>(row.life) << " " << i;
    }
}

TEST(AlertStates, SeeTheThresholdItselfAsNotPassed) {
  Rule r;
  r.threshold = 10;
  r.clear = 8;
  EXPECT_EQ(sight(r, 10.01), Sight::beyond);
  EXPECT_EQ(sight(r, 10), Sight::between);
  EXPECT_EQ(sight(r, 8.01), Sight::between);
  EXPECT_EQ(sight(r, 8), Sight::clear);
  r.clear = 10;
  EXPECT_EQ(sight(r, 10), Sight::clear);
  r.above = false;
  EXPECT_EQ(sight(r, 9.99), Sight::beyond);
  EXPECT_EQ(sight(r, 10), Sight::clear);
  r.clear = 12;
  EXPECT_EQ(sight(r, 11), Sight::between);
  EXPECT_EQ(sight(r, 12), Sight::clear);
}

TEST(AlertValues, HaveTheUnitOfTheirMetric) {
  EXPECT_EQ(value_text("host_cpu_used_ratio", 0.934), "93.4 %");
  EXPECT_EQ(value_text("host_cpu_used_ratio", 1), "100 %");
  EXPECT_EQ(value_text("session_cpu_ratio", 1.254), "1.25 cores");
  EXPECT_EQ(value_text("session_memory_bytes", 1.5 * 1024 * 1024 * 1024), "1536 MiB");
  EXPECT_EQ(value_text("session_memory_bytes", 0.25 * 1024 * 1024), "0.25 MiB");
  EXPECT_EQ(value_text("host_disk_read_bytes_per_second", 4.5 * 1024 * 1024), "4.5 MiB/s");
  EXPECT_EQ(value_text("service_errors_per_second", 2.25), "2.2/s");
  EXPECT_EQ(value_text("recording_segment_lag_seconds", 2.5), "2.5 s");
  EXPECT_EQ(value_text("recording_checkpoint_age_seconds", 600), "10 min");
  EXPECT_EQ(value_text("certificate_expires_seconds", 86'400), "24 h");
  EXPECT_EQ(value_text("certificate_expires_seconds", 13.2 * 86'400), "13.2 days");
  EXPECT_EQ(value_text("certificate_expires_seconds", -3 * 86'400), "-3.0 days");
  EXPECT_EQ(value_text("host_temperature_celsius", 76.5), "76.5 °C");
  EXPECT_EQ(value_text("recording_backlog_segments", 21), "21");
}

TEST(AlertValues, FillASummaryOnceAndNeverWhatStandsInASubject) {
  EXPECT_EQ(filled("{subject} at {value}: {subject} {other}", "/mnt/{value}", "93 %"), "/mnt/{value} at 93 %: /mnt/{value} {other}");
  EXPECT_EQ(filled("{subject", "x", "y"), "{subject");
}

TEST(AlertPatterns, AreExactOrAPrefixOrEverything) {
  EXPECT_TRUE(covers("", "anything"));
  EXPECT_TRUE(covers("sd*", "sda1"));
  EXPECT_TRUE(covers("sd*", "sd"));
  EXPECT_FALSE(covers("sd*", "s"));
  EXPECT_TRUE(covers("sda", "sda"));
  EXPECT_FALSE(covers("sda", "sda1"));
}

}  // namespace
