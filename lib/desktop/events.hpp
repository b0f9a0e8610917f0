// What happens on a desktop, as plain values: the words in which lib/desktop speaks to the recorder, free of X types and
// of the recording format. Value types; any thread. Every event carries the milliseconds of Clock::steady_ms() at which
// it happened (X server timestamps are mapped, so an event drained late still tells its true time, to about 10 ms).
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "lib/base/bytes.hpp"
#include "lib/base/geometry.hpp"

namespace lucid::desktop {

// ---- pointer -------------------------------------------------------------------------------------------------------
// Premultiplied 0xAARRGGBB, row after row. The cursor is never part of the grabbed pixels.
struct CursorShape {
  std::uint16_t width = 0, height = 0, hot_x = 0, hot_y = 0;
  std::vector<std::uint32_t> argb;
};
// Where the cursor is drawn, whoever moved it. `visible` is false while the shape is fully transparent.
struct CursorPosition {
  std::int32_t x = 0, y = 0;
  bool visible = true;
};
// A person moved the pointer: at most 20 a second, the last position of a movement always among them.
struct PointerMotion {
  std::int32_t x = 0, y = 0;
};
// Buttons 4 to 7 are wheel steps, as X counts them.
struct PointerButton {
  std::int32_t x = 0, y = 0;
  std::uint8_t button = 0;
  bool pressed = false;
};

// ---- keyboard ------------------------------------------------------------------------------------------------------
enum class KeyAction : std::uint8_t { press, release, repeat };
// `text` holds printable characters only; Return, Tab, BackSpace and the like are told by their keysym. `modifiers` are
// the X core bits (Shift 1, Lock 2, Control 4, Mod1 8 ... Mod5 128). Masked: keysym 0, modifiers 0, no text.
struct KeyEvent {
  KeyAction action = KeyAction::press;
  std::uint32_t keysym = 0;
  std::uint16_t modifiers = 0;
  bool masked = false;
  std::string text;
};

// ---- windows and processes -----------------------------------------------------------------------------------------
enum class WindowAction : std::uint8_t { created, closed, focused, changed };
// Texts are valid UTF-8: title at most 1 KiB, wm_class ("instance.Class") and executable at most 4 KiB. `pid` is 0 when
// the X server cannot tell (remote client); `executable` is then empty. `window` 0 with `focused`: nothing has the focus.
struct WindowEvent {
  WindowAction action = WindowAction::created;
  std::uint32_t window = 0;
  std::uint32_t pid = 0;
  Rect geometry;
  std::string title, wm_class, executable;
};
struct ProcessEvent {
  bool started = true;
  std::uint32_t pid = 0;
  std::string executable;
  std::vector<std::string> argv;  // at most 64 words and 4 KiB together; empty on exit
};

// ---- clipboard -----------------------------------------------------------------------------------------------------
// A selection got a new owner. `content` is what the owner handed out for its best type (`content_type`), whole up to
// 16 MiB: the caller hashes it. `size` is the full size as far as known; `complete` false means the owner was too slow,
// too big or refused, and `content` is empty. `text`: the first 64 KiB as UTF-8 when the content is text. Masked: a
// password manager's; only types are told.
struct ClipboardEvent {
  std::string selection;  // "CLIPBOARD" or "PRIMARY"
  std::uint32_t owner_pid = 0;
  std::vector<std::string> types;
  std::string content_type;
  std::uint64_t size = 0;
  Bytes content;
  std::string text;
  bool complete = true;
  bool masked = false;
};

// The connection to the X server is gone for good; the last event of a Display.
struct Lost {
  std::string reason;
};

using EventPayload =
    std::variant<CursorShape, CursorPosition, PointerMotion, PointerButton, KeyEvent, WindowEvent, ProcessEvent, ClipboardEvent, Lost>;
struct DesktopEvent {
  std::int64_t ms = 0;  // Clock::steady_ms() when it happened
  EventPayload payload;
};

}  // namespace lucid::desktop
