// What stands between events and records, and the state files.
#include "sessions/recorder/convert.hpp"
#include "sessions/recorder/tests/fixture.hpp"

using namespace lucid;
using namespace lucid::recorder;
using namespace lucid::recorder::testing;

TEST(Convert, AnEventBecomesARecordAtTheSessionsTime) {
  auto record = to_record({5000, desktop::KeyEvent{desktop::KeyAction::repeat, 0x61, 4, false, "a"}}, 4000);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->ms, 1000);
  const auto& key = std::get<rec::Key>(record->payload);
  EXPECT_EQ(key.action, rec::KeyAction::repeat);
  EXPECT_EQ(key.text, "a");
  EXPECT_EQ(to_record({10, desktop::PointerMotion{}}, 4000)->ms, 0);  // from before the session began
  EXPECT_FALSE(to_record({10, desktop::Lost{"gone"}}, 0));
}

TEST(Convert, AClipboardIsHashedUnlessItIsMaskedOrIncomplete) {
  desktop::ClipboardEvent event;
  event.content = {'x'};
  EXPECT_TRUE(std::get<rec::Clipboard>(to_record({0, event}, 0)->payload).sha256);
  event.masked = true;
  EXPECT_FALSE(std::get<rec::Clipboard>(to_record({0, event}, 0)->payload).sha256);
  event.masked = false;
  event.complete = false;
  EXPECT_FALSE(std::get<rec::Clipboard>(to_record({0, event}, 0)->payload).sha256);
}

TEST(SessionStates, SurviveARestartAndAFullDiskAndUnreadableOnesAreSetAside) {
  TempDir dir;
  std::atomic<bool> full{false};
  FaultyFileOps files([&](std::string_view call, const std::string& path, std::uint64_t) {
    if (call == "remove" && path.ends_with("/reserve")) full = false;  // what removing the reserve does on a real disk
    return full && call == "write" ? ENOSPC : 0;
  });
  runtime::Log log("test");
  SessionState state;
  state.plan.session = new_id();
  state.plan.name = "s";
  state.plan.target.display = ":1";
  state.plan.options.password_titles = {"bank"};
  state.phase = Phase::paused;
  state.fencing_token = 9;
  state.started_wall_ms = 1000;
  state.started_steady_ms = 77;
  state.boot_id = boot_id();
  state.next_sequence = 12;
  state.last_ms = 500;
  SessionStates states(dir.path() + "/s", files, log);
  states.save(state);
  full = true;
  state.next_sequence = 13;
  states.save(state);
  system_files().replace_file(dir.path() + "/s/bad.json", as_bytes("{"));
  auto loaded = SessionStates(dir.path() + "/s", files, log).load();
  ASSERT_EQ(loaded.size(), 1u);
  EXPECT_EQ(loaded[0].next_sequence, 13u);
  EXPECT_EQ(loaded[0].phase, Phase::paused);
  EXPECT_EQ(loaded[0].plan.options.password_titles, std::vector<std::string>{"bank"});
  EXPECT_TRUE(system_files().exists(dir.path() + "/s/bad.json.unreadable"));
  ManualClock clock;
  EXPECT_EQ(started_steady_now(loaded[0], clock), 77);
  loaded[0].boot_id = "another boot";
  loaded[0].started_wall_ms = clock.wall_ms() - 60'000;
  EXPECT_EQ(started_steady_now(loaded[0], clock), clock.steady_ms() - 60'000);
  loaded[0].last_ms = 90'000;  // the wall clock went back: session time does not
  EXPECT_EQ(started_steady_now(loaded[0], clock), clock.steady_ms() - 90'000);
}

TEST(RecorderMetrics, TellTheAgeOfTheOldestUncommittedSegmentWhenTheyAreAskedAlsoAfterARestart) {
  TempDir dir;
  SystemRandom random;
  SystemClock clock;
  runtime::Metrics metrics;
  runtime::Log log("test");
  std::atomic<bool> hangs{true};
  Processor processor;
  processor.judge([&](const rec::OpenedSegment&) {
    if (hangs) throw Error(ErrorKind::unavailable, "away");
  });
  Pipeline pipeline;
  auto value = [&](const std::string& name) {
    std::string text = metrics.expose(), line = "\n" + name + " ";
    auto at = text.find(line);
    return at == std::string::npos ? -1 : std::stod(text.substr(at + line.size()));
  };
  {  // what an earlier process left
    Spool spool({.directory = dir.path() + "/spool"}, system_files(), random, processor.key(), log, {});
    SegmentPtr segment = spool.open_segment(new_id(), 0, 1);
    ASSERT_TRUE(spool.append(segment, {0, 0, 90, true}, records_of(0, "left behind")));
  }
  auto began = std::chrono::steady_clock::now();
  RecorderConfig config;
  config.directory = dir.path();
  Recorder recorder(config, {system_files(), clock, random, metrics, processor.key(), processor.client(), pipeline.client()});
  auto age = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(); };
  const std::string name = "lucid_recorder_oldest_segment_age_seconds";
  ASSERT_TRUE(eventually([&] { return value(name) >= 0.05; })) << "nothing but time goes by";
  EXPECT_LE(value(name), age()) << "it counts from the restart";
  EXPECT_EQ(value("lucid_recorder_backlog_segments"), 1);
  EXPECT_GT(value("lucid_recorder_spool_bytes"), 0);
  hangs = false;
  EXPECT_TRUE(eventually([&] { return value(name) == 0; }));
  EXPECT_EQ(value("lucid_recorder_backlog_segments"), 0);
}
