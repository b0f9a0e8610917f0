// The record stream: what is inside a segment. Little-endian, length-prefixed records, each with milliseconds since the
// session start; unknown types are skipped. Byte layout: docs/formats/record-stream.md. Parsers are bounded and answer
// std::expected. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"
#include "lib/base/geometry.hpp"

namespace lucid::recording {

// ---- picture -------------------------------------------------------------------------------------------------------
struct ScreenSize {
  std::uint16_t width = 0, height = 0;
  std::uint8_t depth = 24;
};
enum class KeyframeKind : std::uint8_t { full, diff };
// Opens a keyframe: tiles follow until the next FrameEnd. A full one covers the whole screen; a diff one changes the
// picture of full keyframe `base` (its frame number) into this one.
struct Keyframe {
  KeyframeKind kind = KeyframeKind::full;
  std::uint32_t base = 0;
};
enum class TileCodec : std::uint8_t { solid, palette, planar, rgb, jpeg };
// New pixels for `area` (within one 64x64 tile, not across tile borders). `data` as the codec says.
struct Tile {
  Rect area;
  TileCodec codec = TileCodec::solid;
  Bytes data;
};
// Copies `from` to (to_x, to_y) reading the picture as it was before this frame's records.
struct Copy {
  Rect from;
  std::int32_t to_x = 0, to_y = 0;
};
// Puts back in `area` what the last full keyframe shows there, or what is kept of it: that, overwritten by every planar
// tile since the last keyframe of either kind.
enum class RestoreFrom : std::uint8_t { full_keyframe, kept };
struct Restore {
  RestoreFrom from = RestoreFrom::full_keyframe;
  Rect area;
};
// Closes a frame. `number` counts frames from 0. `digest`: SHA-256 over the picture's pixels as R,G,B bytes, row after
// row, when the recorder was asked for it; `lossy`: some tile of the picture now shown came from JPEG.
struct FrameEnd {
  std::uint32_t number = 0;
  bool lossy = false;
  std::optional<Hash32> digest;
};
struct CursorShape {
  std::uint16_t width = 0, height = 0, hot_x = 0, hot_y = 0;
  Bytes argb;
};  // premultiplied, u32 0xAARRGGBB little-endian a pixel
struct CursorPosition {
  std::int32_t x = 0, y = 0;
  bool visible = true;
};

// ---- input ---------------------------------------------------------------------------------------------------------
enum class KeyAction : std::uint8_t { press, release, repeat };
// `masked`: keysym is 0 and text empty because it was typed into a password prompt (or keystrokes=metadata).
struct Key {
  KeyAction action = KeyAction::press;
  std::uint32_t keysym = 0;
  std::uint16_t modifiers = 0;
  bool masked = false;
  std::string text;
};
struct PointerButton {
  std::int32_t x = 0, y = 0;
  std::uint8_t button = 0;
  bool pressed = false;
};
struct PointerMotion {
  std::int32_t x = 0, y = 0;
};

// ---- desktop -------------------------------------------------------------------------------------------------------
enum class WindowAction : std::uint8_t { created, closed, focused, changed };
struct Window {
  WindowAction action = WindowAction::created;
  std::uint32_t window = 0;
  std::uint32_t pid = 0;
  Rect geometry;
  std::string title, wm_class, executable;
};
struct Process {
  bool started = true;
  std::uint32_t pid = 0;
  std::string executable;
  std::vector<std::string> argv;
};
enum class ScreenState : std::uint8_t { unlocked, locked, active, idle };
struct Screen {
  ScreenState state = ScreenState::active;
};

// ---- transfer ------------------------------------------------------------------------------------------------------
struct Clipboard {
  std::string selection;
  std::uint32_t owner_pid = 0;
  std::vector<std::string> types;
  std::uint64_t size = 0;
  std::optional<Hash32> sha256;
  std::string text;
  bool masked = false;
};
struct FileTransfer {
  std::string name;
  std::uint64_t size = 0;
  Hash32 sha256{};
  bool to_session = true;
};

// ---- structure -----------------------------------------------------------------------------------------------------
enum class GapReason : std::uint8_t { recorder_restart, disk_full, display_lost, spool_lost, capture_stalled, other };
// Nothing is known of the time from `from_ms` to `to_ms`.
struct Gap {
  std::int64_t from_ms = 0, to_ms = 0;
  GapReason reason = GapReason::other;
  std::string detail;
};
struct Pause {
  bool paused = true;
};
struct Annotation {
  std::string author, text;
};
struct Quality {
  std::string what;
};  // e.g. "hot tiles at 3 fps"
enum class EndReason : std::uint8_t { stopped, display_lost, terminated };
struct End {
  EndReason reason = EndReason::stopped;
};

using Payload = std::variant<ScreenSize, Keyframe, Tile, Copy, Restore, FrameEnd, CursorShape, CursorPosition, Key, PointerButton,
                             PointerMotion, Window, Process, Screen, Clipboard, FileTransfer, Gap, Pause, Annotation, Quality, End>;
struct Record {
  std::int64_t ms = 0;
  Payload payload;
};

// Texts are cut to their limit (title 1 KiB, clipboard text 64 KiB, the rest 4 KiB) and made valid UTF-8 when written.
void append(Bytes& stream, const Record& record);

// Walks a record stream. next(): the next known record; std::nullopt at the end; Error{malformed} with the offset.
class RecordReader {
 public:
  explicit RecordReader(ByteView stream) : in_(stream) {}
  Expected<std::optional<Record>> next();
  std::size_t position() const { return at_; }

 private:
  ByteView in_;
  std::size_t at_ = 0;
};

// "key", "pointer_button", "window", "clipboard", "gap", ... ; nullptr-free for every payload.
const char* kind_name(const Payload& payload);
// True for records a user would search or list (everything but the picture group).
bool is_event(const Payload& payload);
// One event as JSON text: {"ms":…,"kind":"key",…}; the form `lucid events --json` and the HTTP API give.
std::string to_json_text(const Record& record);

}  // namespace lucid::recording
