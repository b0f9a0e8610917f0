// The recorder as a whole on a real X server, with a processor and a pipeline on real sockets.
#include <cmath>
#include <fstream>

#include <sys/resource.h>

#include "lib/recording/frame_encoder.hpp"
#include "sessions/recorder/tests/fixture.hpp"

using namespace lucid;
using namespace lucid::recorder;
using namespace lucid::recorder::testing;
using namespace std::chrono_literals;

namespace {

struct Bench {
  TempDir dir;
  SystemRandom random;
  SystemClock clock;
  runtime::Metrics metrics;
  std::unique_ptr<Processor> processor = std::make_unique<Processor>();
  Pipeline pipeline;
  test_support::Xvfb xvfb{test_support::XvfbOptions{.width = 800, .height = 600}};
  contracts::RecordingPlan plan;
  std::unique_ptr<Recorder> recorder;

  Bench() {
    plan.session = new_id();
    plan.name = "test";
    plan.target.display = xvfb.display();
    plan.options.digests = contracts::Digests::all;
  }
  Recorder& start_recorder(FileOps& files = system_files(), std::function<void(RecorderConfig&)> change = {}) {
    recorder.reset();
    RecorderConfig config;
    config.directory = dir.path();
    config.heartbeat = 50ms;
    config.reopen_ms = 500;
    if (change) change(config);
    recorder = std::make_unique<Recorder>(
        config, RecorderParts{files, clock, random, metrics, processor->key(), processor->client(), pipeline.client()});
    return *recorder;
  }
  const Id& id() const { return plan.session; }
  void type(const std::string& text) { xvfb.run({"xdotool", "type", "--delay", "40", text}); }
  bool finished() {
    return eventually([&] { return processor->ended(id()); }, 20s);
  }
  std::string typed() {
    std::string all;
    for (const auto& record : processor->records(id()))
      if (const auto* key = std::get_if<rec::Key>(&record.payload); key != nullptr && key->action != rec::KeyAction::release)
        all += key->text;
    return all;
  }
  template <class T>
  std::vector<std::pair<std::int64_t, T>> all_of() {
    std::vector<std::pair<std::int64_t, T>> out;
    for (const auto& record : processor->records(id()))
      if (const T* p = std::get_if<T>(&record.payload)) out.emplace_back(record.ms, *p);
    return out;
  }
  // Replays everything the processor took; every digest must be that of the picture rebuilt.
  rec::Picture replay(int& frames) {
    rec::Player player;
    frames = 0;
    std::int64_t number = -1;
    for (const auto& record : processor->records(id())) {
      auto closed = player.apply(record);
      if (!closed) {
        ADD_FAILURE() << closed.error().what();
        break;
      }
      if (!*closed) continue;
      ++frames;
      const auto& end = std::get<rec::FrameEnd>(record.payload);
      EXPECT_TRUE(end.digest.has_value());
      if (end.digest) { EXPECT_EQ(*end.digest, rec::frame_digest(player.picture().pixels)) << "frame " << end.number; }
      EXPECT_GT(std::int64_t{end.number}, number);
      number = end.number;
    }
    return player.picture();
  }
  // The screen as another program sees it.
  std::vector<std::uint32_t> screenshot() {
    std::string raw = xvfb.run({"import", "-window", "root", "-depth", "8", "rgb:-"});
    std::vector<std::uint32_t> pixels(raw.size() / 3);
    for (std::size_t i = 0; i < pixels.size(); ++i)
      pixels[i] = static_cast<std::uint32_t>(static_cast<std::uint8_t>(raw[3 * i]) << 16 | static_cast<std::uint8_t>(raw[3 * i + 1]) << 8 |
                                             static_cast<std::uint8_t>(raw[3 * i + 2]));
    return pixels;
  }
};

double cpu_seconds() {
  rusage u{};
  ::getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

#define NEED_XVFB()                                                      \
  if (!test_support::Xvfb::installed()) {                                \
    if (std::getenv("CI") != nullptr) FAIL() << "Xvfb is not installed"; \
    GTEST_SKIP() << "not run: Xvfb absent";                              \
  }

}  // namespace

TEST(Capture, ReplaysToExactlyWhatWasOnTheScreen) {
  NEED_XVFB();
  Bench b;
  auto manager = b.xvfb.start_window_manager();
  auto terminal = b.xvfb.start({"xterm", "-geometry", "80x24+40+30", "+bc", "-e", "cat"});
  b.xvfb.run({"xdotool", "search", "--sync", "--onlyvisible", "--class", "xterm", "windowfocus", "--sync"});
  Recorder& recorder = b.start_recorder();
  auto started = recorder.start(b.plan, {1, 0});
  EXPECT_GT(started.started_wall_ms, 0);
  EXPECT_EQ(recorder.start(b.plan, {1, 0}).started_steady_ms, started.started_steady_ms);  // idempotent
  ASSERT_EQ(recorder.list().size(), 1u);
  EXPECT_EQ(recorder.list()[0].state, "recording");
  EXPECT_GE(recorder.list()[0].frames, 1u);
  b.type("the quick brown fox jumps over the lazy dog, 0123456789");
  b.xvfb.run({"xdotool", "mousemove", "400", "300", "click", "1"});
  std::this_thread::sleep_for(600ms);
  auto screen = b.screenshot();
  recorder.stop(b.id());
  ASSERT_TRUE(b.finished());
  int frames = 0;
  rec::Picture last = b.replay(frames);
  EXPECT_GT(frames, 15);
  EXPECT_EQ(last.width, 800);
  EXPECT_EQ(last.height, 600);
  ASSERT_EQ(last.pixels.size(), screen.size());
  EXPECT_EQ(last.pixels, screen);
  EXPECT_EQ(b.typed(), "the quick brown fox jumps over the lazy dog, 0123456789");
  EXPECT_FALSE(b.all_of<rec::Window>().empty());
  EXPECT_FALSE(b.all_of<rec::PointerButton>().empty());
  EXPECT_FALSE(b.all_of<rec::CursorShape>().empty());
  EXPECT_TRUE(b.processor->segments(b.id()).at(0).flags & rec::kHasFullKeyframe);
  EXPECT_EQ(b.all_of<rec::End>().at(0).second.reason, rec::EndReason::stopped);
  EXPECT_TRUE(eventually([&] { return b.recorder->list().empty() && b.pipeline.reported("ended") && b.pipeline.reported("first_frame"); }));
  EXPECT_GT(b.pipeline.beats(), 3);
  EXPECT_NE(b.pipeline.last_beat().find("\"holder\":\"session-recorder\""), std::string::npos);
  EXPECT_TRUE(eventually(
      [&] { return system_files().list(b.dir.path() + "/spool").empty() && system_files().list(b.dir.path() + "/sessions").size() == 1; }));
}

TEST(Capture, AnIdleDesktopCostsNothing) {
  NEED_XVFB();
  Bench b;
  auto terminal = b.xvfb.start({"xterm", "+bc", "-e", "cat"});
  b.xvfb.run({"xdotool", "search", "--sync", "--onlyvisible", "--class", "xterm"});
  Recorder& recorder = b.start_recorder(system_files(), [](RecorderConfig& c) { c.heartbeat = 1000ms; });
  recorder.start(b.plan, {1, 0});
  std::this_thread::sleep_for(6500ms);  // the first segment closes after five seconds
  std::size_t segments = b.processor->count();
  auto frames = recorder.list()[0].frames;
  double before = cpu_seconds();
  std::this_thread::sleep_for(8s);
  double share = (cpu_seconds() - before) / 8;
  std::printf("idle: %.4f %% of a core, heartbeats, processor and pipeline of this test included\n", share * 100);
  EXPECT_EQ(b.processor->count(), segments);
  EXPECT_EQ(recorder.list()[0].frames, frames);
  EXPECT_LT(share, 0.005);
  recorder.stop(b.id());
}

TEST(Capture, PausesAndGoesOnWithAFullKeyframe) {
  NEED_XVFB();
  Bench b;
  auto terminal = b.xvfb.start({"xterm", "-e", "cat"});
  b.xvfb.run({"xdotool", "search", "--sync", "--onlyvisible", "--class", "xterm", "windowfocus", "--sync"});
  Recorder& recorder = b.start_recorder();
  recorder.start(b.plan, {1, 0});
  b.type("before");
  std::this_thread::sleep_for(500ms);
  recorder.pause(b.id());
  EXPECT_EQ(recorder.list()[0].state, "paused");
  b.type("secret");
  std::this_thread::sleep_for(500ms);
  recorder.resume(b.id());
  b.type("after");
  std::this_thread::sleep_for(500ms);
  auto screen = b.screenshot();
  recorder.stop(b.id());
  ASSERT_TRUE(b.finished());
  EXPECT_EQ(b.typed(), "beforeafter");
  auto pauses = b.all_of<rec::Pause>();
  ASSERT_EQ(pauses.size(), 2u);
  EXPECT_TRUE(pauses[0].second.paused);
  EXPECT_FALSE(pauses[1].second.paused);
  int frames = 0;
  EXPECT_EQ(b.replay(frames).pixels, screen);
  int full = 0;
  for (auto& [ms, keyframe] : b.all_of<rec::Keyframe>()) full += keyframe.kind == rec::KeyframeKind::full;
  EXPECT_GE(full, 2);
}

TEST(Capture, TheStartFailsWhenThereIsNoDisplay) {
  NEED_XVFB();
  Bench b;
  Recorder& recorder = b.start_recorder();
  b.plan.target.display = ":9797";
  try {
    recorder.start(b.plan, {1, 0});
    FAIL() << "started without a display";
  } catch (const Error& e) { EXPECT_EQ(e.code(), "display_unavailable"); }
  EXPECT_TRUE(recorder.list().empty());
  b.plan.target.display = b.xvfb.display();
  recorder.start(b.plan, {2, 0});  // the session is not spoiled by it
  recorder.stop(b.id());
  EXPECT_TRUE(b.finished());
}

TEST(Capture, ADesktopThatDidNotWaitIsRecordedWithTheGapBeforeItsFirstFrame) {
  NEED_XVFB();
  Bench b;
  const std::int64_t went_on = b.clock.wall_ms() - 7'000;
  b.plan.waits_until_wall_ms = went_on;
  Recorder& recorder = b.start_recorder();
  contracts::Started started = recorder.start(b.plan, {1, 0});
  EXPECT_EQ(started.started_wall_ms, went_on);
  recorder.stop(b.id());
  ASSERT_TRUE(b.finished());
  auto gaps = b.all_of<rec::Gap>();
  ASSERT_EQ(gaps.size(), 1u);
  EXPECT_EQ(gaps[0].second.from_ms, 0);
  EXPECT_GE(gaps[0].second.to_ms, 7'000);
  EXPECT_LE(gaps[0].second.to_ms, b.clock.wall_ms() - went_on);
  EXPECT_NE(gaps[0].second.detail.find("unrecorded"), std::string::npos);
  auto frames = b.all_of<rec::FrameEnd>();
  ASSERT_FALSE(frames.empty());
  EXPECT_GE(frames[0].first, gaps[0].second.to_ms);
}

TEST(Capture, ADesktopThatStillWaitsIsRecordedWithoutAGap) {
  NEED_XVFB();
  Bench b;
  b.plan.waits_until_wall_ms = b.clock.wall_ms() + 10'000;
  Recorder& recorder = b.start_recorder();
  EXPECT_LT(recorder.start(b.plan, {1, 0}).started_wall_ms, b.plan.waits_until_wall_ms);
  recorder.stop(b.id());
  ASSERT_TRUE(b.finished());
  EXPECT_TRUE(b.all_of<rec::Gap>().empty());
}

TEST(Capture, TheDeathOfOneXServerEndsItsRecordingAndNoOther) {
  NEED_XVFB();
  Bench b;
  test_support::Xvfb other;
  Recorder& recorder = b.start_recorder();
  recorder.start(b.plan, {1, 0});
  contracts::RecordingPlan second = b.plan;
  second.session = new_id();
  second.target.display = other.display();
  recorder.start(second, {2, 0});
  other.kill();
  ASSERT_TRUE(eventually([&] { return b.processor->ended(second.session); }));
  EXPECT_TRUE(eventually([&] { return b.pipeline.reported("display_lost"); }));
  auto records = b.processor->records(second.session);
  EXPECT_EQ(std::get<rec::End>(records.back().payload).reason, rec::EndReason::display_lost);
  ASSERT_TRUE(eventually([&] { return recorder.list().size() == 1; }));
  EXPECT_EQ(recorder.list()[0].session, b.id());
  EXPECT_EQ(recorder.list()[0].state, "recording");
  recorder.stop(b.id());
  EXPECT_TRUE(b.finished());
}

TEST(Capture, ALostLeaseEndsCaptureAndTheStateSaysSo) {
  NEED_XVFB();
  Bench b;
  Recorder& recorder = b.start_recorder();
  recorder.start(b.plan, {1, 0});
  b.pipeline.lose(b.id(), 1);
  ASSERT_TRUE(eventually([&] { return recorder.list()[0].state == "lost"; }));
  EXPECT_THROW(recorder.stop(b.id()), Error);
  recorder.start(b.plan, {7, 0});      // under a new lease it begins anew
  std::this_thread::sleep_for(150ms);  // several heartbeats
  EXPECT_EQ(recorder.list()[0].state, "recording");
}

TEST(Capture, AKilledRecorderIsTakenUpAgainWithAGapAndEverythingTypedBefore) {
  NEED_XVFB();
  Bench b;
  auto terminal = b.xvfb.start({"xterm", "-e", "cat"});
  b.xvfb.run({"xdotool", "search", "--sync", "--onlyvisible", "--class", "xterm", "windowfocus", "--sync"});
  std::vector<std::string> argv{RECORDER_CHILD,
                                "record",
                                b.dir.path() + "/r",
                                b.processor->key().text(),
                                std::to_string(b.processor->port()),
                                std::to_string(b.pipeline.port()),
                                b.id().text(),
                                b.xvfb.display()};
  std::string out = b.dir.path() + "/out";
  auto ready = [&] { return system_files().exists(out) && system_files().read_file(out).size() > 6; };
  test_support::Child first(argv, {}, out);
  ASSERT_TRUE(eventually(ready));
  b.type("before the crash");
  std::this_thread::sleep_for(
      1000ms);  // the promise: a crash loses at most the last second (holds of 300 ms, batches of 200 ms, a busy machine)
  first.send_signal(SIGKILL);
  first.wait();
  system_files().remove(out);
  test_support::Child second(argv, {}, out);
  ASSERT_TRUE(eventually(ready));
  std::string line(as_text(system_files().read_file(out)));
  long ms = std::stol(line.substr(6));
  std::printf("capturing again %ld ms after the start of main()\n", ms);
  EXPECT_LT(ms, 300);
  b.type(" and after it");
  std::this_thread::sleep_for(600ms);
  second.send_signal(SIGTERM);
  second.wait();
  // It left its recording to be taken up again: end it here.
  Recorder& third = b.start_recorder(system_files(), [&](RecorderConfig& c) { c.directory = b.dir.path() + "/r"; });
  ASSERT_EQ(third.list().size(), 1u);
  ASSERT_TRUE(eventually([&] { return third.list()[0].frames > 0; }));
  third.stop(b.id());
  ASSERT_TRUE(b.finished());
  EXPECT_EQ(b.typed(), "before the crash and after it");
  auto gaps = b.all_of<rec::Gap>();
  ASSERT_EQ(gaps.size(), 2u);
  for (auto& [at, gap] : gaps) {
    EXPECT_EQ(gap.reason, rec::GapReason::recorder_restart);
    EXPECT_LT(gap.from_ms, gap.to_ms);
    EXPECT_EQ(gap.to_ms, at);
  }
  int frames = 0;
  b.replay(frames);
}

TEST(Capture, AFullDiskSuspendsCaptureAndAGapTellsOfIt) {
  NEED_XVFB();
  Bench b;
  auto terminal = b.xvfb.start({"xterm", "-e", "cat"});
  b.xvfb.run({"xdotool", "search", "--sync", "--onlyvisible", "--class", "xterm", "windowfocus", "--sync"});
  std::atomic<bool> disk_full{false};
  FaultyFileOps faulty([&](std::string_view call, const std::string&, std::uint64_t) { return disk_full && call == "write" ? ENOSPC : 0; });
  Recorder& recorder = b.start_recorder(faulty, [](RecorderConfig& c) { c.spool.memory_limit = 1500; });
  recorder.start(b.plan, {1, 0});
  disk_full = true;
  b.processor->judge([](const rec::OpenedSegment&) { throw Error(ErrorKind::storage_full, "full too"); });
  b.type("one two three four five six seven");
  ASSERT_TRUE(eventually([&] { return recorder.list()[0].alarm == "disk_full"; }));
  EXPECT_TRUE(eventually([&] { return b.pipeline.reported("paused_disk_full"); }));
  EXPECT_TRUE(recorder.spool_problem().has_value());
  EXPECT_TRUE(recorder.display_problem().has_value());
  disk_full = false;
  b.processor->judge({});
  ASSERT_TRUE(eventually([&] { return recorder.list()[0].alarm.empty(); }));
  EXPECT_TRUE(eventually([&] { return b.pipeline.reported("resumed"); }));
  b.type("eight");
  std::this_thread::sleep_for(600ms);
  auto screen = b.screenshot();
  recorder.stop(b.id());
  ASSERT_TRUE(b.finished());
  auto gaps = b.all_of<rec::Gap>();
  ASSERT_EQ(gaps.size(), 1u);
  EXPECT_EQ(gaps[0].second.reason, rec::GapReason::disk_full);
  EXPECT_TRUE(b.typed().ends_with("eight"));
  int frames = 0;
  EXPECT_EQ(b.replay(frames).pixels, screen);
}

TEST(Capture, FollowsAResizedScreenInOneRecording) {
  NEED_XVFB();
  Bench b;
  Recorder& recorder = b.start_recorder();
  recorder.start(b.plan, {1, 0});
  b.xvfb.run({"xrandr", "--output", "screen", "--off", "--fb", "640x400"});
  b.xvfb.run({"xsetroot", "-solid", "#336699"});
  std::this_thread::sleep_for(500ms);
  recorder.stop(b.id());
  ASSERT_TRUE(b.finished());
  int frames = 0;
  rec::Picture last = b.replay(frames);
  EXPECT_EQ(last.width, 640);
  EXPECT_EQ(last.height, 400);
  EXPECT_EQ(last.pixels.at(1000), 0x336699u);
}

// ---- restarts in the same process: the recorder is destroyed and built again -----------------------------------------

TEST(Restart, NothingWaitsForAProcessorThatIsAway) {
  NEED_XVFB();
  Bench b;
  b.processor->judge([](const rec::OpenedSegment&) { throw Error(ErrorKind::unavailable, "away"); });
  b.start_recorder().start(b.plan, {1, 0});
  std::this_thread::sleep_for(300ms);
  Recorder& again = b.start_recorder();
  ASSERT_TRUE(eventually([&] { return again.list().size() == 1 && again.list()[0].frames > 0; }, 2s));
  EXPECT_EQ(b.processor->count(), 0u);
  EXPECT_GE(again.list()[0].backlog, 1u);
  b.processor->judge({});
  again.stop(b.id());
  ASSERT_TRUE(b.finished());
  EXPECT_EQ(b.all_of<rec::Gap>().size(), 1u);
  int frames = 0;
  b.replay(frames);
}

TEST(Restart, APausedRecordingStaysPaused) {
  NEED_XVFB();
  Bench b;
  Recorder& first = b.start_recorder();
  first.start(b.plan, {1, 0});
  first.pause(b.id());
  Recorder& again = b.start_recorder();
  ASSERT_EQ(again.list().at(0).state, "paused");
  b.xvfb.run({"xsetroot", "-solid", "#112233"});
  std::this_thread::sleep_for(200ms);
  EXPECT_EQ(again.list()[0].frames, 0u);
  ASSERT_TRUE(eventually([&] {
    try {
      again.resume(b.id());
      return true;
    } catch (const Error&) {
      return false;  // the display is not open yet
    }
  }));
  again.stop(b.id());
  ASSERT_TRUE(b.finished());
  int frames = 0;
  EXPECT_EQ(b.replay(frames).pixels.at(0), 0x112233u);
  EXPECT_TRUE(b.all_of<rec::Gap>().empty());
}

TEST(Restart, ADisplayThatIsGoneEndsTheRecordingWithItsGap) {
  NEED_XVFB();
  Bench b;
  b.start_recorder().start(b.plan, {1, 0});
  b.recorder.reset();
  b.xvfb.kill();
  b.start_recorder();
  ASSERT_TRUE(b.finished());
  auto gaps = b.all_of<rec::Gap>();
  ASSERT_EQ(gaps.size(), 1u);
  EXPECT_GE(gaps[0].second.to_ms - gaps[0].second.from_ms, 500);
  EXPECT_EQ(b.all_of<rec::End>().at(0).second.reason, rec::EndReason::display_lost);
  EXPECT_TRUE(eventually([&] { return b.recorder->list().empty(); }));
}

TEST(Restart, ALostSpoolIsFoundOutAndTheRecordingGoesOnBehindWhatIsCommitted) {
  NEED_XVFB();
  Bench b;
  Recorder& first = b.start_recorder();
  first.start(b.plan, {1, 0});
  for (int i = 0; i < 3; ++i) {
    first.pause(b.id());  // each closes a segment
    first.resume(b.id());
  }
  ASSERT_TRUE(eventually([&] { return b.processor->count() >= 3; }));
  b.recorder.reset();
  std::size_t before = b.processor->count();
  // As a crash would have left it long ago, with the spool deleted since.
  system_files().remove_tree(b.dir.path() + "/spool");
  std::string path = b.dir.path() + "/sessions/" + b.id().text() + ".json";
  json::value state = *parse_json(as_text(system_files().read_file(path)));
  state.at("next_sequence") = 1;
  state.at("committed_below") = 1;
  system_files().replace_file(path, as_bytes(json::serialize(state)));
  Recorder& again = b.start_recorder();
  ASSERT_TRUE(eventually([&] { return again.list().at(0).frames > 0; }));
  ASSERT_TRUE(eventually(
      [&] {
        for (auto& [ms, gap] : b.all_of<rec::Gap>())
          if (gap.reason == rec::GapReason::spool_lost) return true;
        return false;
      },
      20s));
  again.stop(b.id());
  ASSERT_TRUE(b.finished());
  EXPECT_GT(b.processor->count(), before);
  int frames = 0;
  b.replay(frames);
}

TEST(Restart, ANewerLeaseOfTheSameRecorderGoesOnWithoutAHole) {
  NEED_XVFB();
  Bench b;
  Recorder& recorder = b.start_recorder();
  auto started = recorder.start(b.plan, {1, 0});
  EXPECT_EQ(recorder.start(b.plan, {2, 0}).started_steady_ms, started.started_steady_ms);
  recorder.stop(b.id());
  ASSERT_TRUE(b.finished());
  EXPECT_TRUE(b.all_of<rec::Gap>().empty());
}
