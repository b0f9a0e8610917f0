// Pixels, cursor, pointer and the life of the connection, against a real X server.
#include <gmock/gmock.h>

#include "lib/desktop/watcher.hpp"

namespace lucid::desktop {
namespace {

using namespace std::chrono_literals;
using test_support::Child;
using test_support::Xvfb;

TEST_F(DesktopTest, damage_grabs_add_up_to_the_screen_pixel_by_pixel) {
  // ImageMagick rounds to 8 bits differently where a colour has fewer or more: one step is allowed there.
  for (int depth : {24, 16, 30}) {
    SCOPED_TRACE(depth);
    Xvfb server({.depth = depth});
    Child manager = server.start_window_manager();
    Watcher watcher(server);
    EXPECT_EQ(watcher.display->depth(), depth);
    EXPECT_TRUE(watcher.display->shared_memory());
    watcher.during(server, {"xsetroot", "-solid", "#3a6ea5"});
    Child xterm = terminal(server, watcher, {"cat"});
    watcher.during(server, {"xdotool", "type", "--delay", "5", "The quick brown fox jumps over the lazy dog.\nAnd again.\n"});
    watcher.settle();
    auto expected = screenshot(server);
    watcher.settle();
    ASSERT_EQ(watcher.picture.size(), expected.size());
    auto same = [&](std::uint32_t a, std::uint32_t b) {
      bool near = true;
      for (int shift : {0, 8, 16}) near = near && std::abs(static_cast<int>(a >> shift & 255) - static_cast<int>(b >> shift & 255)) <= 1;
      return depth == 24 ? a == b : near;
    };
    int wrong = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) wrong += !same(watcher.picture[i], expected[i]);
    EXPECT_EQ(wrong, 0);
    EXPECT_GT(watcher.grabs, 5);
    EXPECT_TRUE(std::all_of(watcher.picture.begin(), watcher.picture.end(), [](std::uint32_t p) { return p >> 24 == 0; }));
    // Given areas are answered in order and agree with the whole.
    const Rect wanted[] = {{0, 0, 5, 5}, {630, 470, 50, 50}, {10, 10, 200, 100}};
    GrabResult parts = watcher.display->grab_areas(wanted);
    ASSERT_EQ(parts.areas.size(), 3u);
    EXPECT_EQ(parts.areas[1].area, (Rect{630, 470, 10, 10}));
    EXPECT_EQ(parts.areas[2].pixels[7], watcher.picture[10 * 640 + 17]);
  }
}

TEST_F(DesktopTest, pixels_come_through_the_socket_where_memory_cannot_be_shared) {
  Xvfb server({.extra = {"-extension", "MIT-SHM"}});
  Watcher watcher(server);
  EXPECT_FALSE(watcher.display->shared_memory());
  watcher.during(server, {"xsetroot", "-mod", "7", "5", "-fg", "red", "-bg", "blue"});
  watcher.settle();
  EXPECT_EQ(watcher.picture, screenshot(server));
}

TEST_F(DesktopTest, a_resize_is_told_once_and_the_whole_new_screen_is_handed_out) {
  Xvfb server({.width = 1024, .height = 768});
  Watcher watcher(server);
  watcher.during(server, {"xrandr", "--output", "screen", "--off", "--fb", "640x400"});
  ASSERT_TRUE(watcher.until([&] { return watcher.width == 640 && watcher.height == 400; }));
  EXPECT_EQ(watcher.resizes, 1);
  watcher.during(server, {"xsetroot", "-mod", "3", "9", "-fg", "green", "-bg", "black"});
  watcher.settle();
  EXPECT_EQ(watcher.picture, screenshot(server));
  watcher.during(server, {"xrandr", "--fb", "1024x768"});
  ASSERT_TRUE(watcher.until([&] { return watcher.width == 1024; }));
  watcher.settle();
  EXPECT_EQ(watcher.resizes, 2);
  EXPECT_EQ(watcher.picture, screenshot(server));
}

TEST_F(DesktopTest, a_grab_that_meets_a_resize_nobody_told_of_yet_recovers) {
  Xvfb server({.width = 800, .height = 600});
  Watcher watcher(server);
  server.run({"xrandr", "--output", "screen", "--off", "--fb", "640x400"});  // its event waits in the socket
  const Rect corner{700, 500, 50, 50};
  GrabResult grab = watcher.display->grab_areas({&corner, 1});
  EXPECT_TRUE(grab.resized);
  EXPECT_EQ(grab.width, 640);
  ASSERT_EQ(grab.areas.size(), 1u);
  EXPECT_EQ(grab.areas[0].area, (Rect{0, 0, 640, 400}));
}

TEST_F(DesktopTest, a_killed_server_is_an_event_and_not_the_end_of_the_process) {
  Xvfb server;
  Watcher watcher(server);
  server.kill();
  ASSERT_TRUE(watcher.until([&] { return watcher.has<Lost>([](const Lost&) { return true; }); }));
  EXPECT_TRUE(watcher.display->lost());
  EXPECT_TRUE(watcher.display->poll_fds().empty());
  EXPECT_TRUE(watcher.display->grab_full().areas.empty());
  EXPECT_FALSE(watcher.display->damage_pending());
  watcher.pump(100);
  EXPECT_EQ(watcher.all<Lost>().size(), 1u);
  EXPECT_FALSE(watcher.display->next_deadline());
}

TEST_F(DesktopTest, a_server_killed_before_a_grab_is_lost_too) {
  Xvfb server;
  Watcher watcher(server);
  server.kill();
  EXPECT_TRUE(watcher.display->grab_full().areas.empty());
  EXPECT_TRUE(watcher.display->lost());
  EXPECT_TRUE(watcher.until([&] { return watcher.all<Lost>().size() == 1; }));
}

TEST_F(DesktopTest, what_cannot_be_opened_is_said_in_words) {
  SystemClock clock;
  auto reason = [&](const std::string& display, const std::string& xauthority) -> std::string {
    try {
      Display::open({display, xauthority}, {}, clock);
      return "opened";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::unavailable);
      EXPECT_EQ(error.code(), "display_unavailable");
      return error.what();
    }
  };
  Xvfb guarded({.with_cookie = true});
  Xvfb open_server;
  EXPECT_EQ(reason(guarded.display(), guarded.xauthority()), "opened");
  EXPECT_THAT(reason(guarded.display(), open_server.xauthority()), testing::HasSubstr("holds no cookie for this display"));
  EXPECT_THAT(reason(guarded.display(), "/nowhere/auth"), testing::HasSubstr("/nowhere/auth"));
  EXPECT_THAT(reason(":9753", open_server.xauthority()), testing::HasSubstr("no X server listens there"));
  EXPECT_THAT(reason("nonsense", open_server.xauthority()), testing::HasSubstr("not of the form"));
  Xvfb without_damage({.extra = {"-extension", "DAMAGE"}});
  EXPECT_THAT(reason(without_damage.display(), without_damage.xauthority()), testing::HasSubstr("DAMAGE"));
  Xvfb shallow({.depth = 8});
  EXPECT_THAT(reason(shallow.display(), shallow.xauthority()), testing::HasSubstr("depth 8"));
}

TEST_F(DesktopTest, event_times_are_true_though_drained_late) {
  Xvfb server;
  Watcher watcher(server);
  watcher.pump(50);
  watcher.events.clear();
  std::int64_t before = watcher.clock.steady_ms();
  server.run({"xdotool", "click", "1"});
  std::int64_t after = watcher.clock.steady_ms();
  std::this_thread::sleep_for(400ms);
  watcher.pump(20);
  ASSERT_EQ(watcher.all<PointerButton>().size(), 2u);
  for (const auto& event : watcher.events)
    if (std::holds_alternative<PointerButton>(event.payload)) {
      EXPECT_GE(event.ms, before - 10);
      EXPECT_LE(event.ms, after + 10);
    }
}

TEST_F(DesktopTest, pointer_movement_is_thinned_and_its_end_is_kept) {
  Xvfb server;
  Watcher watcher(server);
  watcher.pump(100);
  watcher.events.clear();
  std::vector<std::string> argv = {"xdotool", "mousemove_relative", "--", "-200", "-100"};
  for (int i = 0; i < 100; ++i)
    for (const char* word : {"mousemove_relative", "1", "1", "sleep", "0.005"}) argv.emplace_back(word);
  std::int64_t begin = watcher.clock.steady_ms();
  watcher.during(server, argv);
  watcher.pump(150);
  double seconds = static_cast<double>(watcher.clock.steady_ms() - begin) / 1000;
  auto motions = watcher.all<PointerMotion>();
  ASSERT_GE(motions.size(), 3u);
  EXPECT_LE(static_cast<double>(motions.size()), seconds * 20 + 2);
  EXPECT_EQ(motions.back().x, 320 - 200 + 100);
  EXPECT_EQ(motions.back().y, 240 - 100 + 100);
  auto cursors = watcher.all<CursorPosition>();
  ASSERT_FALSE(cursors.empty());
  EXPECT_EQ(cursors.back().x, 220);
}

TEST_F(DesktopTest, an_idle_desktop_wakes_nobody) {
  Xvfb server;
  Child manager = server.start_window_manager();
  Watcher watcher(server);
  watcher.settle(500);
  ASSERT_FALSE(watcher.display->next_deadline());
  watcher.wakeups = 0;
  watcher.step(2000);
  EXPECT_EQ(watcher.wakeups, 1);
  EXPECT_FALSE(watcher.display->next_deadline());
  EXPECT_FALSE(watcher.display->damage_pending());
}

TEST_F(DesktopTest, the_cursor_shape_is_handed_out_at_the_start) {
  Xvfb server;
  Watcher watcher(server);
  ASSERT_TRUE(watcher.until([&] { return !watcher.all<CursorShape>().empty() && !watcher.all<CursorPosition>().empty(); }));
  CursorShape shape = watcher.all<CursorShape>()[0];
  EXPECT_EQ(shape.argb.size(), std::size_t{shape.width} * shape.height);
  EXPECT_EQ(watcher.all<CursorPosition>()[0].x, 320);
}

}  // namespace
}  // namespace lucid::desktop
