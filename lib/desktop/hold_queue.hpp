// Holds key events for a moment, so that a password prompt which appears just after a key was pressed still masks it. A
// key comes out masked if input was hidden when it was pressed, when it is let go, at any check between, or at most one
// second before the press. Checks run at every key press and every 100 ms while something is held (and let go of
// what was held for 300 ms); when something else wakes the owner 50 ms or more after a check, the next one is done then, for
// a wake-up less. Nothing runs otherwise.
// One thread. What is held is lost in a crash, unwritten.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "lib/desktop/events.hpp"

namespace lucid::desktop {

class HoldQueue {
 public:
  static constexpr std::int64_t kHoldMs = 300;
  static constexpr std::int64_t kCheckEveryMs = 100;
  static constexpr std::int64_t kCheckEarlyMs = 50;
  static constexpr std::int64_t kLookBackMs = 1000;

  // `hides_input(now)`: is typed text hidden at this moment?
  explicit HoldQueue(std::function<bool(std::int64_t)> hides_input) : hides_input_(std::move(hides_input)) {}

  // `key` was pressed (or released) at `at` and drained at `now`. `keycode` joins a release to its press: a release
  // is masked when its press was. `masked` masks whatever the checks say.
  void push(std::int64_t at, std::int64_t now, std::uint32_t keycode, KeyEvent key, bool masked = false);
  // The keys whose hold is over, in order.
  std::vector<DesktopEvent> take(std::int64_t now);
  // All keys; those still on hold are masked.
  std::vector<DesktopEvent> take_all(std::int64_t now);
  // Runs a check if one is due or may be done early.
  void tick(std::int64_t now);
  std::optional<std::int64_t> next_deadline() const;

 private:
  struct Held {
    std::int64_t at, drained;
    std::uint32_t keycode;
    KeyEvent key;
    bool masked;
  };
  void check(std::int64_t now);
  DesktopEvent let_go(Held held);

  std::function<bool(std::int64_t)> hides_input_;
  std::deque<Held> held_;
  std::set<std::uint32_t> masked_down_;  // keys whose press came out masked and that are still down
  std::optional<std::int64_t> last_check_, last_hidden_;
};

}  // namespace lucid::desktop
