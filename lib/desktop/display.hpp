// One X11 display as a recorder sees it: changed pixels on demand, and a queue of what happened (input, windows, cursor,
// clipboard). One thread owns a Display and calls everything; several Displays may live in one process, nothing is
// process-wide (no environment, no X error handler). Nothing here survives a crash and nothing needs to.
//
// The owner's loop:
//   poll(poll_fds(), until next_deadline() or its own next frame)
//   process_events(); for (e : take_events(now)) ...; if (damage_pending() && frame is due) grab();
// The fds must be polled for input even between frames: keys are judged for password masking when they are drained, and
// a key drained more than 250 ms after it was pressed in a terminal is masked unseen. An idle desktop wakes nobody.
//
// What may block: open() (connecting), and short round trips in the other calls, at most 5 s each; a server that does
// not answer in that time counts as lost. A lost display never throws: calls answer empty, `lost()` is true and one Lost
// event tells why. Pitfalls met and the masking rules: docs/capture.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/base/error.hpp"
#include "lib/base/geometry.hpp"
#include "lib/desktop/events.hpp"

namespace lucid::desktop {

// Which display: ":10", "host:0.0". `xauthority`: path of the cookie file, read here and never through the environment;
// empty means libxcb's own lookup ($XAUTHORITY, ~/.Xauthority).
struct DisplayTarget {
  std::string display;
  std::string xauthority;
};

// full: text and keysyms, passwords masked; metadata: every key masked, times remain; off: no key events.
enum class Keystrokes : std::uint8_t { full, metadata, off };

struct DisplayOptions {
  Keystrokes keystrokes = Keystrokes::full;
  bool clipboard = true;
  bool windows = true;
  bool processes = false;
  // Windows in which everything typed is masked, beside the built-in list: patterns with * and ?, letter case ignored,
  // for the title and for the executable's name (last path component) or WM_CLASS.
  std::vector<std::string> title_rules;
  std::vector<std::string> executable_rules;
};

struct GrabResult {
  std::vector<PixelView> areas;  // valid until the next grab of any kind
  std::vector<MoveHint> hints;   // windows that moved since the previous grab
  // The screen has another size than at the previous grab (false for the first one). The areas then cover all of it.
  bool resized = false;
  int width = 0, height = 0;
};

class Display {
 public:
  // Throws Error{unavailable, "display_unavailable"} saying which of these it was: no such server, authorization
  // refused, an extension missing (named), a depth or pixel layout we cannot read. `clock` must outlive the Display.
  static std::unique_ptr<Display> open(const DisplayTarget& target, const DisplayOptions& options, const Clock& clock);
  ~Display();
  Display(const Display&) = delete;
  Display& operator=(const Display&) = delete;

  std::vector<int> poll_fds() const;
  // When process_events() and take_events() want to be called even if no fd is readable (keys on hold, a thinned
  // pointer movement, a slow clipboard owner); nullopt while nothing is under way. Clock::steady_ms().
  std::optional<std::int64_t> next_deadline() const;

  // Drains the X connection into the queue.
  void process_events();
  // What is ready, oldest first as far as known. Keys stay on hold for 300 ms (password masking), so they may come after
  // later events; each event's own `ms` is right.
  std::vector<DesktopEvent> take_events(std::int64_t now);
  // The same for the end of a recording: keys still on hold come out masked, since nobody can vouch for them any more.
  std::vector<DesktopEvent> take_last_events(std::int64_t now);

  int width() const;
  int height() const;
  int depth() const;           // of the root window: 16, 24, 30 or 32; pixels handed out are always 8 bits a colour
  bool shared_memory() const;  // false: remote server, pixels travel through the socket
  bool lost() const;

  // Something was drawn since the last grab() or grab_full() (or the screen was resized).
  bool damage_pending() const;
  // The damaged areas (disjoint or one bounding box); empty when nothing was drawn. Damage is a hint, not the truth.
  GrabResult grab();
  // All of the screen, damage forgotten: for keyframes and full comparisons.
  GrabResult grab_full();
  // The given areas (clipped to the screen), in their order; damage stays pending, no hints. When the screen was resized
  // meanwhile: the full screen, as with grab().
  GrabResult grab_areas(std::span<const Rect> areas);

 private:
  class Impl;
  explicit Display(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lucid::desktop
