// For this folder's tests on a real X server: a Display with the loop its header asks for, which keeps all events and
// builds the picture from the grabs. One thread.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>

#include "lib/desktop/display.hpp"
#include "tests/support/xvfb.hpp"

namespace lucid::desktop {

// Owns a Display and runs the loop its header asks for, keeping all events and a picture made of the grabs.
class Watcher {
 public:
  explicit Watcher(const test_support::Xvfb& server, DisplayOptions options = {})
      : display(Display::open({server.display(), server.xauthority()}, std::move(options), clock)) {
    apply(display->grab_full());
  }

  void step(std::int64_t limit_ms = 50) {
    std::int64_t wait = limit_ms;
    if (auto due = display->next_deadline()) wait = std::clamp<std::int64_t>(*due - clock.steady_ms(), 0, wait);
    std::vector<pollfd> fds;
    for (int fd : display->poll_fds()) fds.push_back({fd, POLLIN, 0});
    ::poll(fds.data(), fds.size(), static_cast<int>(wait));
    ++wakeups;
    display->process_events();
    for (auto& event : display->take_events(clock.steady_ms())) events.push_back(std::move(event));
    if (display->damage_pending()) apply(display->grab());
  }
  template <class Condition>
  bool until(Condition&& condition, std::int64_t limit_ms = 15'000) {
    for (std::int64_t end = clock.steady_ms() + limit_ms; clock.steady_ms() < end; step())
      if (condition()) return true;
    return condition();
  }
  void pump(std::int64_t ms) {
    until([] { return false; }, ms);
  }
  // Until nothing was drawn and nothing happened for `quiet` ms.
  void settle(std::int64_t quiet = 300) {
    std::int64_t last = clock.steady_ms();
    until([&, seen = std::pair(grabs, events.size())]() mutable {
      if (seen != std::pair(grabs, events.size())) {
        seen = {grabs, events.size()};
        last = clock.steady_ms();
      }
      return clock.steady_ms() - last >= quiet;
    });
  }
  // Runs a program while watching.
  void during(const test_support::Xvfb& server, const std::vector<std::string>& argv) {
    test_support::Child child = server.start(argv);
    EXPECT_TRUE(until([&] { return !child.running(); })) << argv[0];
    EXPECT_EQ(child.wait(std::chrono::milliseconds(0)), 0) << argv[0];
  }

  void apply(const GrabResult& grab) {
    if (!grab.areas.empty()) ++grabs;
    resizes += grab.resized;
    hints.insert(hints.end(), grab.hints.begin(), grab.hints.end());
    if (grab.width != width || grab.height != height) picture.assign(static_cast<std::size_t>(grab.width) * grab.height, 0);
    width = grab.width;
    height = grab.height;
    for (const PixelView& view : grab.areas)
      for (int y = 0; y < view.area.height; ++y)
        std::copy_n(view.pixels + static_cast<std::size_t>(y) * view.stride, view.area.width,
                    picture.begin() + (view.area.y + y) * width + view.area.x);
  }

  template <class T>
  std::vector<T> all() const {
    std::vector<T> found;
    for (const auto& event : events)
      if (auto* payload = std::get_if<T>(&event.payload)) found.push_back(*payload);
    return found;
  }
  template <class T, class Condition>
  bool has(Condition&& condition) const {
    auto list = all<T>();
    return std::any_of(list.begin(), list.end(), condition);
  }
  // What was typed; a masked press is '#', Return a line end.
  std::string typed() const {
    std::string text;
    for (const KeyEvent& key : all<KeyEvent>()) {
      if (key.action == KeyAction::release) continue;
      text += key.masked ? "#" : key.keysym == 0xff0d || key.keysym == 0xff0a ? "\n" : key.text;  // xdotool types Linefeed
    }
    return text;
  }

  SystemClock clock;
  std::unique_ptr<Display> display;
  std::vector<DesktopEvent> events;
  std::vector<MoveHint> hints;
  std::vector<std::uint32_t> picture;
  int width = 0, height = 0, grabs = 0, resizes = 0, wakeups = 0;
};

// The screen as ImageMagick sees it, as 0x00RRGGBB.
inline std::vector<std::uint32_t> screenshot(const test_support::Xvfb& server) {
  std::string rgb = server.run({"import", "-window", "root", "-depth", "8", "rgb:-"});
  std::vector<std::uint32_t> pixels(rgb.size() / 3);
  for (std::size_t i = 0; i < pixels.size(); ++i)
    for (std::size_t c = 0; c < 3; ++c) pixels[i] = pixels[i] << 8 | static_cast<std::uint8_t>(rgb[i * 3 + c]);
  return pixels;
}

struct DesktopTest : testing::Test {
  void SetUp() override {
    if (test_support::Xvfb::installed()) return;
    if (std::getenv("CI")) FAIL() << "Xvfb is not installed";
    std::cerr << "not run: Xvfb is not installed\n";
    GTEST_SKIP();
  }
  // An xterm running `command`, focused and drawn.
  test_support::Child terminal(const test_support::Xvfb& server, Watcher& watcher, const std::vector<std::string>& command) {
    std::vector<std::string> argv = {"xterm", "-T", "the terminal", "-geometry", "60x20+20+20", "-e"};
    argv.insert(argv.end(), command.begin(), command.end());
    test_support::Child child = server.start(argv);
    EXPECT_TRUE(watcher.until([&] {
      return watcher.has<WindowEvent>(
          [](const WindowEvent& w) { return w.action == WindowAction::focused && w.wm_class == "xterm.XTerm"; });
    }));
    watcher.settle();
    return child;
  }
};

}  // namespace lucid::desktop
