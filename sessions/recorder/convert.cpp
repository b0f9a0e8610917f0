#include "sessions/recorder/convert.hpp"

#include <algorithm>

#include "lib/crypto/hash.hpp"

namespace lucid::recorder {
namespace {

namespace rec = lucid::recording;
using Payload = std::optional<rec::Payload>;

Payload convert(const desktop::CursorShape& e) {
  rec::CursorShape r{e.width, e.height, e.hot_x, e.hot_y, {}};
  r.argb.reserve(e.argb.size() * 4);
  for (std::uint32_t pixel : e.argb)
    for (int shift : {0, 8, 16, 24}) r.argb.push_back(static_cast<std::uint8_t>(pixel >> shift));
  return r;
}
Payload convert(const desktop::CursorPosition& e) { return rec::CursorPosition{e.x, e.y, e.visible}; }
Payload convert(const desktop::PointerMotion& e) { return rec::PointerMotion{e.x, e.y}; }
Payload convert(const desktop::PointerButton& e) { return rec::PointerButton{e.x, e.y, e.button, e.pressed}; }
Payload convert(const desktop::KeyEvent& e) {
  return rec::Key{static_cast<rec::KeyAction>(e.action), e.keysym, e.modifiers, e.masked, e.text};
}
Payload convert(const desktop::WindowEvent& e) {
  return rec::Window{static_cast<rec::WindowAction>(e.action), e.window, e.pid, e.geometry, e.title, e.wm_class, e.executable};
}
Payload convert(const desktop::ProcessEvent& e) { return rec::Process{e.started, e.pid, e.executable, e.argv}; }
Payload convert(const desktop::ClipboardEvent& e) {
  rec::Clipboard r{e.selection, e.owner_pid, e.types, e.size, std::nullopt, e.text, e.masked};
  if (e.complete && !e.masked) r.sha256 = crypto::sha256(e.content);
  return r;
}
Payload convert(const desktop::Lost&) { return std::nullopt; }

static_assert(static_cast<int>(rec::KeyAction::repeat) == static_cast<int>(desktop::KeyAction::repeat));
static_assert(static_cast<int>(rec::WindowAction::changed) == static_cast<int>(desktop::WindowAction::changed));
static_assert(static_cast<int>(contracts::Keystrokes::off) == static_cast<int>(desktop::Keystrokes::off));
static_assert(static_cast<int>(contracts::Digests::all) == static_cast<int>(rec::Digests::all));

}  // namespace

std::optional<rec::Record> to_record(const desktop::DesktopEvent& event, std::int64_t started_steady_ms) {
  Payload payload = std::visit([](const auto& e) { return convert(e); }, event.payload);
  if (!payload) return std::nullopt;
  return rec::Record{std::max<std::int64_t>(event.ms - started_steady_ms, 0), std::move(*payload)};
}

desktop::DisplayTarget to_desktop(const contracts::DisplayTarget& target) { return {target.display, target.xauthority}; }

desktop::DisplayOptions to_desktop(const contracts::RecordingOptions& options) {
  desktop::DisplayOptions o;
  o.keystrokes = static_cast<desktop::Keystrokes>(options.keystrokes);
  o.clipboard = options.clipboard;
  o.windows = options.windows;
  o.processes = options.processes;
  // A user's rule is a part of the title; * and ? in it widen what is masked, never narrow it.
  for (const std::string& title : options.password_titles) o.title_rules.push_back("*" + title + "*");
  return o;
}

rec::EncoderConfig to_encoder(const contracts::RecordingOptions& options) {
  rec::EncoderConfig c;
  c.digests = static_cast<rec::Digests>(options.digests);
  c.max_rate = static_cast<std::uint64_t>(options.max_rate);
  c.jpeg_for_hot_tiles = options.jpeg;
  return c;
}

}  // namespace lucid::recorder
