#include <array>

#include "lib/base/json.hpp"
#include "lib/recording/records.hpp"

namespace lucid::recording {
namespace {

template <class E, std::size_t N>
json::string_view word(E value, const std::array<const char*, N>& words) {
  std::size_t i = static_cast<std::size_t>(value);
  return i < N ? words[i] : "unknown";
}
constexpr std::array kKeyframes = {"full", "diff"};
constexpr std::array kCodecs = {"solid", "palette", "planar", "rgb", "jpeg"};
constexpr std::array kRestoreFrom = {"full_keyframe", "kept"};
constexpr std::array kKeyActions = {"press", "release", "repeat"};
constexpr std::array kWindowActions = {"created", "closed", "focused", "changed"};
constexpr std::array kScreenStates = {"unlocked", "locked", "active", "idle"};
constexpr std::array kGapReasons = {"recorder_restart", "disk_full", "display_lost", "spool_lost", "capture_stalled", "other"};
constexpr std::array kEndReasons = {"stopped", "display_lost", "terminated"};

// Records made in memory may hold any bytes; JSON may not.
json::string text(const std::string& value) { return json::string(to_utf8(value, value.size() * 3)); }
json::array texts(const std::vector<std::string>& values) {
  json::array out;
  for (const std::string& value : values) out.emplace_back(text(value));
  return out;
}
json::object rect(const Rect& r) { return {{"x", r.x}, {"y", r.y}, {"width", r.width}, {"height", r.height}}; }

void fill(json::object& o, const ScreenSize& p) {
  o["width"] = p.width;
  o["height"] = p.height;
  o["depth"] = p.depth;
}
void fill(json::object& o, const Keyframe& p) {
  o["type"] = word(p.kind, kKeyframes);
  if (p.kind == KeyframeKind::diff) o["base"] = p.base;
}
void fill(json::object& o, const Tile& p) {
  o["area"] = rect(p.area);
  o["codec"] = word(p.codec, kCodecs);
  o["bytes"] = p.data.size();
}
void fill(json::object& o, const Copy& p) {
  o["from"] = rect(p.from);
  o["to_x"] = p.to_x;
  o["to_y"] = p.to_y;
}
void fill(json::object& o, const Restore& p) {
  o["from"] = word(p.from, kRestoreFrom);
  o["area"] = rect(p.area);
}
void fill(json::object& o, const FrameEnd& p) {
  o["number"] = p.number;
  o["lossy"] = p.lossy;
  if (p.digest) o["sha256"] = to_hex(*p.digest);
}
void fill(json::object& o, const CursorShape& p) {
  o["width"] = p.width;
  o["height"] = p.height;
  o["hot_x"] = p.hot_x;
  o["hot_y"] = p.hot_y;
}
void fill(json::object& o, const CursorPosition& p) {
  o["x"] = p.x;
  o["y"] = p.y;
  o["visible"] = p.visible;
}
void fill(json::object& o, const Key& p) {
  o["action"] = word(p.action, kKeyActions);
  o["keysym"] = p.keysym;
  o["modifiers"] = p.modifiers;
  o["masked"] = p.masked;
  o["text"] = text(p.text);
}
void fill(json::object& o, const PointerButton& p) {
  o["x"] = p.x;
  o["y"] = p.y;
  o["button"] = p.button;
  o["pressed"] = p.pressed;
}
void fill(json::object& o, const PointerMotion& p) {
  o["x"] = p.x;
  o["y"] = p.y;
}
void fill(json::object& o, const Window& p) {
  o["action"] = word(p.action, kWindowActions);
  o["window"] = p.window;
  o["pid"] = p.pid;
  o["geometry"] = rect(p.geometry);
  o["title"] = text(p.title);
  o["wm_class"] = text(p.wm_class);
  o["executable"] = text(p.executable);
}
void fill(json::object& o, const Process& p) {
  o["started"] = p.started;
  o["pid"] = p.pid;
  o["executable"] = text(p.executable);
  o["argv"] = texts(p.argv);
}
void fill(json::object& o, const Screen& p) { o["state"] = word(p.state, kScreenStates); }
void fill(json::object& o, const Clipboard& p) {
  o["selection"] = text(p.selection);
  o["owner_pid"] = p.owner_pid;
  o["types"] = texts(p.types);
  o["size"] = p.size;
  if (p.sha256) o["sha256"] = to_hex(*p.sha256);
  o["masked"] = p.masked;
  o["text"] = text(p.text);
}
void fill(json::object& o, const FileTransfer& p) {
  o["name"] = text(p.name);
  o["size"] = p.size;
  o["sha256"] = to_hex(p.sha256);
  o["direction"] = p.to_session ? "to_session" : "from_session";
}
void fill(json::object& o, const Gap& p) {
  o["from_ms"] = p.from_ms;
  o["to_ms"] = p.to_ms;
  o["reason"] = word(p.reason, kGapReasons);
  o["detail"] = text(p.detail);
}
void fill(json::object& o, const Pause& p) { o["paused"] = p.paused; }
void fill(json::object& o, const Annotation& p) {
  o["author"] = text(p.author);
  o["text"] = text(p.text);
}
void fill(json::object& o, const Quality& p) { o["what"] = text(p.what); }
void fill(json::object& o, const End& p) { o["reason"] = word(p.reason, kEndReasons); }

}  // namespace

std::string to_json_text(const Record& record) {
  json::object o{{"ms", record.ms}, {"kind", kind_name(record.payload)}};
  std::visit([&](const auto& payload) { fill(o, payload); }, record.payload);
  return json::serialize(o);
}

}  // namespace lucid::recording
