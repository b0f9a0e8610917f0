// Turns raw key presses into keysyms and text, following the layout the X server uses at that moment (xkbcommon-x11):
// layout changes, modifiers, locks, compose and dead keys. Also receives the raw pointer events of XInput 2, since they
// arrive together. One thread, the Display's. Sources: XKB protocol, XI2proto (raw events are delivered even while a
// client holds a grab).
#pragma once

#include <cstdint>
#include <optional>
#include <set>

#include "lib/desktop/connection.hpp"
#include "lib/desktop/events.hpp"

struct xkb_context;
struct xkb_keymap;
struct xkb_state;
struct xkb_compose_table;
struct xkb_compose_state;

namespace lucid::desktop {

class Keyboard {
 public:
  // Throws Error{unavailable, "display_unavailable"} when the XKB extension is missing.
  explicit Keyboard(Connection& connection);
  ~Keyboard();
  Keyboard(const Keyboard&) = delete;

  // Takes XKB's own events (layout and state changes) and MappingNotify; true when it was one.
  bool handle(const void* event);
  // Key `keycode` went down or up: what that means under the current layout.
  KeyEvent key(std::uint32_t keycode, bool pressed);

 private:
  bool load_keymap();
  void compose(KeyEvent& event);

  Connection& connection_;
  std::uint8_t event_base_ = 0;
  std::int32_t device_ = -1;
  xkb_context* context_ = nullptr;
  xkb_keymap* keymap_ = nullptr;
  xkb_state* state_ = nullptr;
  xkb_compose_table* compose_table_ = nullptr;
  xkb_compose_state* compose_state_ = nullptr;
  std::set<std::uint32_t> down_;
};

}  // namespace lucid::desktop
