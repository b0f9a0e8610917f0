#include "lib/recording/records.hpp"

#include <algorithm>

#include "lib/recording/record_layout.hpp"

namespace lucid::recording {
namespace {

using layout::Type;

void put_text(ByteWriter& out, const std::string& text, std::size_t max) { out.text32(to_utf8(text, max)); }
void put_i32(ByteWriter& out, std::int32_t v) { out.u32(static_cast<std::uint32_t>(v)); }
void put_texts(ByteWriter& out, const std::vector<std::string>& texts, std::size_t max_items) {
  std::size_t n = std::min(texts.size(), max_items);
  out.u16(static_cast<std::uint16_t>(n));
  for (std::size_t i = 0; i < n; ++i) put_text(out, texts[i], layout::kMaxText);
}
template <class E>
void put_enum(ByteWriter& out, E v) {
  out.u8(static_cast<std::uint8_t>(v));
}

// One overload per payload: answers its type and writes its body.
Type body(ByteWriter& out, const ScreenSize& p) {
  out.u16(p.width);
  out.u16(p.height);
  out.u8(p.depth);
  return Type::screen_size;
}
Type body(ByteWriter& out, const Keyframe& p) {
  put_enum(out, p.kind);
  out.u32(p.base);
  return Type::keyframe;
}
Type body(ByteWriter& out, const Tile& p) {
  out.u16(static_cast<std::uint16_t>(p.area.x));
  out.u16(static_cast<std::uint16_t>(p.area.y));
  out.u8(static_cast<std::uint8_t>(p.area.width));
  out.u8(static_cast<std::uint8_t>(p.area.height));
  put_enum(out, p.codec);
  out.bytes(p.data);
  return Type::tile;
}
Type body(ByteWriter& out, const Copy& p) {
  for (std::int32_t v : {p.from.x, p.from.y, p.from.width, p.from.height, p.to_x, p.to_y}) out.u16(static_cast<std::uint16_t>(v));
  return Type::copy;
}
Type body(ByteWriter& out, const Restore& p) {
  put_enum(out, p.from);
  for (std::int32_t v : {p.area.x, p.area.y, p.area.width, p.area.height}) out.u16(static_cast<std::uint16_t>(v));
  return Type::restore;
}
Type body(ByteWriter& out, const FrameEnd& p) {
  out.u32(p.number);
  out.u8(static_cast<std::uint8_t>((p.lossy ? 1 : 0) | (p.digest ? 2 : 0)));
  if (p.digest) out.bytes(*p.digest);
  return Type::frame_end;
}
Type body(ByteWriter& out, const CursorShape& p) {
  // A pointer larger than the limit is cut to its top left corner; missing pixels are transparent.
  int width = std::min<int>(p.width, layout::kMaxCursorSide), height = std::min<int>(p.height, layout::kMaxCursorSide);
  out.u16(static_cast<std::uint16_t>(width));
  out.u16(static_cast<std::uint16_t>(height));
  out.u16(p.hot_x);
  out.u16(p.hot_y);
  Bytes row(static_cast<std::size_t>(width) * 4);
  for (int y = 0; y < height; ++y) {
    std::size_t at = static_cast<std::size_t>(y) * p.width * 4;
    std::fill(row.begin(), row.end(), std::uint8_t{0});
    if (at < p.argb.size())
      std::copy_n(p.argb.begin() + static_cast<std::ptrdiff_t>(at), std::min(row.size(), p.argb.size() - at), row.begin());
    out.bytes(row);
  }
  return Type::cursor_shape;
}
Type body(ByteWriter& out, const CursorPosition& p) {
  put_i32(out, p.x);
  put_i32(out, p.y);
  out.u8(p.visible);
  return Type::cursor_position;
}
Type body(ByteWriter& out, const Key& p) {
  // What a masked key was must not reach the disk, whatever the caller left in the record.
  put_enum(out, p.action);
  out.u8(p.masked);
  out.u32(p.masked ? 0 : p.keysym);
  out.u16(p.modifiers);
  put_text(out, p.masked ? std::string() : p.text, layout::kMaxText);
  return Type::key;
}
Type body(ByteWriter& out, const PointerButton& p) {
  put_i32(out, p.x);
  put_i32(out, p.y);
  out.u8(p.button);
  out.u8(p.pressed);
  return Type::pointer_button;
}
Type body(ByteWriter& out, const PointerMotion& p) {
  put_i32(out, p.x);
  put_i32(out, p.y);
  return Type::pointer_motion;
}
Type body(ByteWriter& out, const Window& p) {
  put_enum(out, p.action);
  out.u32(p.window);
  out.u32(p.pid);
  for (std::int32_t v : {p.geometry.x, p.geometry.y, p.geometry.width, p.geometry.height}) put_i32(out, v);
  put_text(out, p.title, layout::kMaxTitle);
  put_text(out, p.wm_class, layout::kMaxText);
  put_text(out, p.executable, layout::kMaxText);
  return Type::window;
}
Type body(ByteWriter& out, const Process& p) {
  out.u8(p.started);
  out.u32(p.pid);
  put_text(out, p.executable, layout::kMaxText);
  put_texts(out, p.argv, layout::kMaxArguments);
  return Type::process;
}
Type body(ByteWriter& out, const Screen& p) {
  put_enum(out, p.state);
  return Type::screen;
}
Type body(ByteWriter& out, const Clipboard& p) {
  // A masked clipboard keeps its size and types; a digest of a password could be guessed back, so it goes too.
  bool digest = p.sha256 && !p.masked;
  out.u8(static_cast<std::uint8_t>((p.masked ? 1 : 0) | (digest ? 2 : 0)));
  out.u32(p.owner_pid);
  out.u64(p.size);
  if (digest) out.bytes(*p.sha256);
  put_text(out, p.selection, layout::kMaxText);
  put_texts(out, p.types, layout::kMaxTypes);
  put_text(out, p.masked ? std::string() : p.text, layout::kMaxClipboard);
  return Type::clipboard;
}
Type body(ByteWriter& out, const FileTransfer& p) {
  out.u8(p.to_session);
  out.u64(p.size);
  out.bytes(p.sha256);
  put_text(out, p.name, layout::kMaxText);
  return Type::file_transfer;
}
Type body(ByteWriter& out, const Gap& p) {
  out.i64(p.from_ms);
  out.i64(p.to_ms);
  put_enum(out, p.reason);
  put_text(out, p.detail, layout::kMaxText);
  return Type::gap;
}
Type body(ByteWriter& out, const Pause& p) {
  out.u8(p.paused);
  return Type::pause;
}
Type body(ByteWriter& out, const Annotation& p) {
  put_text(out, p.author, layout::kMaxText);
  put_text(out, p.text, layout::kMaxText);
  return Type::annotation;
}
Type body(ByteWriter& out, const Quality& p) {
  put_text(out, p.what, layout::kMaxText);
  return Type::quality;
}
Type body(ByteWriter& out, const End& p) {
  put_enum(out, p.reason);
  return Type::end;
}

void head(Bytes& stream, Type type, std::uint64_t ms, std::size_t body_size) {
  stream.push_back(static_cast<std::uint8_t>(type));
  layout::put_varint(stream, layout::varint_size(ms) + body_size);
  layout::put_varint(stream, ms);
}
void begin(Bytes& stream) {
  if (!stream.empty()) return;
  head(stream, Type::version, 0, 1);
  stream.push_back(layout::kVersion);
}
std::uint64_t time_field(std::int64_t ms) { return static_cast<std::uint64_t>(std::max<std::int64_t>(ms, 0)); }

}  // namespace

void append(Bytes& stream, const Record& record) {
  if (const Tile* tile = std::get_if<Tile>(&record.payload))
    return layout::append_tile(stream, record.ms, tile->area, tile->codec, tile->data);
  begin(stream);
  Bytes bytes;
  ByteWriter out(bytes);
  Type type = std::visit([&](const auto& payload) { return body(out, payload); }, record.payload);
  head(stream, type, time_field(record.ms), bytes.size());
  stream.insert(stream.end(), bytes.begin(), bytes.end());
}

void layout::append_tile(Bytes& stream, std::int64_t ms, const Rect& area, TileCodec codec, ByteView data) {
  begin(stream);
  head(stream, Type::tile, time_field(ms), 7 + data.size());
  ByteWriter out(stream);
  body(out, Tile{area, codec, {}});
  out.bytes(data);
}

const char* kind_name(const Payload& payload) {
  static constexpr const char* kNames[] = {
      "screen_size", "keyframe",       "tile",           "copy",    "restore", "frame_end", "cursor_shape", "cursor_position",
      "key",         "pointer_button", "pointer_motion", "window",  "process", "screen",    "clipboard",    "file_transfer",
      "gap",         "pause",          "annotation",     "quality", "end"};
  static_assert(std::size(kNames) == std::variant_size_v<Payload>);
  return kNames[payload.index()];
}

bool is_event(const Payload& payload) {
  static const std::size_t kFirstEvent = Payload(Key{}).index();
  return payload.index() >= kFirstEvent;
}

}  // namespace lucid::recording
