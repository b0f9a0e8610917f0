#include <fmt/format.h>

#include "lib/recording/record_layout.hpp"
#include "lib/recording/records.hpp"

namespace lucid::recording {
namespace {

using layout::Type;

// Reads the fields of one body; the first value that no writer writes makes ok() false.
class Fields {
 public:
  explicit Fields(ByteView body) : in_(body) {}
  ByteReader& raw() { return in_; }
  bool ok() const { return in_.ok(); }
  void require(bool good) {
    if (!good) in_.fail();
  }
  std::int32_t i32() { return static_cast<std::int32_t>(in_.u32()); }
  bool flag() {
    std::uint8_t v = in_.u8();
    require(v <= 1);
    return v == 1;
  }
  std::uint8_t flags(std::uint8_t known) {
    std::uint8_t v = in_.u8();
    require((v & ~known) == 0);
    return v;
  }
  template <class E>
  E word(E last) {
    std::uint8_t v = in_.u8();
    require(v <= static_cast<std::uint8_t>(last));
    return static_cast<E>(in_.ok() ? v : 0);
  }
  std::string text(std::size_t max) {
    std::size_t n = in_.u32();
    if (n > max) return in_.fail(), std::string();
    std::string_view v = as_text(in_.bytes(n));
    require(is_utf8(v));
    return std::string(v);
  }
  std::vector<std::string> texts(std::size_t max_items) {
    std::size_t n = in_.u16();
    std::vector<std::string> out;
    require(n <= max_items);
    for (std::size_t i = 0; i < n && in_.ok(); ++i) out.push_back(text(layout::kMaxText));
    return out;
  }
  Rect rect() {
    Rect r;
    r.x = i32();
    r.y = i32();
    r.width = i32();
    r.height = i32();
    return r;
  }

 private:
  ByteReader in_;
};

void read(Fields& in, ScreenSize& p) {
  p.width = in.raw().u16();
  p.height = in.raw().u16();
  p.depth = in.raw().u8();
  in.require(layout::screen_ok(p.width, p.height));
}
void read(Fields& in, Keyframe& p) {
  p.kind = in.word(KeyframeKind::diff);
  p.base = in.raw().u32();
}
void read(Fields& in, Tile& p) {
  p.area.x = in.raw().u16();
  p.area.y = in.raw().u16();
  p.area.width = in.raw().u8();
  p.area.height = in.raw().u8();
  p.codec = in.word(TileCodec::jpeg);
  in.require(layout::tile_area_ok(p.area) && in.raw().remaining() <= layout::kMaxTileData);
  ByteView data = in.raw().bytes(in.raw().remaining());
  p.data.assign(data.begin(), data.end());
}
void read(Fields& in, Copy& p) {
  for (std::int32_t* v : {&p.from.x, &p.from.y, &p.from.width, &p.from.height, &p.to_x, &p.to_y}) *v = in.raw().u16();
  in.require(!p.from.empty() && p.from.right() <= layout::kMaxSide && p.from.bottom() <= layout::kMaxSide &&
             p.to_x + p.from.width <= layout::kMaxSide && p.to_y + p.from.height <= layout::kMaxSide);
}
void read(Fields& in, Restore& p) {
  p.from = in.word(RestoreFrom::kept);
  for (std::int32_t* v : {&p.area.x, &p.area.y, &p.area.width, &p.area.height}) *v = in.raw().u16();
  in.require(!p.area.empty() && p.area.right() <= layout::kMaxSide && p.area.bottom() <= layout::kMaxSide);
}
void read(Fields& in, FrameEnd& p) {
  p.number = in.raw().u32();
  std::uint8_t flags = in.flags(3);
  p.lossy = flags & 1;
  if (flags & 2) p.digest = in.raw().array<32>();
}
void read(Fields& in, CursorShape& p) {
  p.width = in.raw().u16();
  p.height = in.raw().u16();
  p.hot_x = in.raw().u16();
  p.hot_y = in.raw().u16();
  in.require(p.width <= layout::kMaxCursorSide && p.height <= layout::kMaxCursorSide);
  if (!in.ok()) return;
  ByteView argb = in.raw().bytes(std::size_t{p.width} * p.height * 4);
  p.argb.assign(argb.begin(), argb.end());
}
void read(Fields& in, CursorPosition& p) {
  p.x = in.i32();
  p.y = in.i32();
  p.visible = in.flag();
}
void read(Fields& in, Key& p) {
  p.action = in.word(KeyAction::repeat);
  p.masked = in.flag();
  p.keysym = in.raw().u32();
  p.modifiers = in.raw().u16();
  p.text = in.text(layout::kMaxText);
  in.require(!p.masked || (p.keysym == 0 && p.text.empty()));
}
void read(Fields& in, PointerButton& p) {
  p.x = in.i32();
  p.y = in.i32();
  p.button = in.raw().u8();
  p.pressed = in.flag();
}
void read(Fields& in, PointerMotion& p) {
  p.x = in.i32();
  p.y = in.i32();
}
void read(Fields& in, Window& p) {
  p.action = in.word(WindowAction::changed);
  p.window = in.raw().u32();
  p.pid = in.raw().u32();
  p.geometry = in.rect();
  p.title = in.text(layout::kMaxTitle);
  p.wm_class = in.text(layout::kMaxText);
  p.executable = in.text(layout::kMaxText);
}
void read(Fields& in, Process& p) {
  p.started = in.flag();
  p.pid = in.raw().u32();
  p.executable = in.text(layout::kMaxText);
  p.argv = in.texts(layout::kMaxArguments);
}
void read(Fields& in, Screen& p) { p.state = in.word(ScreenState::idle); }
void read(Fields& in, Clipboard& p) {
  std::uint8_t flags = in.flags(3);
  p.masked = flags & 1;
  p.owner_pid = in.raw().u32();
  p.size = in.raw().u64();
  if (flags & 2) p.sha256 = in.raw().array<32>();
  p.selection = in.text(layout::kMaxText);
  p.types = in.texts(layout::kMaxTypes);
  p.text = in.text(layout::kMaxClipboard);
  in.require(!p.masked || (!p.sha256 && p.text.empty()));
}
void read(Fields& in, FileTransfer& p) {
  p.to_session = in.flag();
  p.size = in.raw().u64();
  p.sha256 = in.raw().array<32>();
  p.name = in.text(layout::kMaxText);
}
void read(Fields& in, Gap& p) {
  p.from_ms = in.raw().i64();
  p.to_ms = in.raw().i64();
  p.reason = in.word(GapReason::other);
  p.detail = in.text(layout::kMaxText);
}
void read(Fields& in, Pause& p) { p.paused = in.flag(); }
void read(Fields& in, Annotation& p) {
  p.author = in.text(layout::kMaxText);
  p.text = in.text(layout::kMaxText);
}
void read(Fields& in, Quality& p) { p.what = in.text(layout::kMaxText); }
void read(Fields& in, End& p) { p.reason = in.word(EndReason::terminated); }

template <class P>
std::optional<Payload> parse(ByteView body) {
  Fields in(body);
  P payload;
  read(in, payload);
  if (!in.raw().at_end()) return std::nullopt;
  return Payload(std::move(payload));
}

using Parser = std::optional<Payload> (*)(ByteView);
Parser parser_of(std::uint8_t type) {
  switch (static_cast<Type>(type)) {
    case Type::screen_size: return parse<ScreenSize>;
    case Type::keyframe: return parse<Keyframe>;
    case Type::tile: return parse<Tile>;
    case Type::copy: return parse<Copy>;
    case Type::restore: return parse<Restore>;
    case Type::frame_end: return parse<FrameEnd>;
    case Type::cursor_shape: return parse<CursorShape>;
    case Type::cursor_position: return parse<CursorPosition>;
    case Type::key: return parse<Key>;
    case Type::pointer_button: return parse<PointerButton>;
    case Type::pointer_motion: return parse<PointerMotion>;
    case Type::window: return parse<Window>;
    case Type::process: return parse<Process>;
    case Type::screen: return parse<Screen>;
    case Type::clipboard: return parse<Clipboard>;
    case Type::file_transfer: return parse<FileTransfer>;
    case Type::gap: return parse<Gap>;
    case Type::pause: return parse<Pause>;
    case Type::annotation: return parse<Annotation>;
    case Type::quality: return parse<Quality>;
    case Type::end: return parse<End>;
    case Type::version: break;
  }
  return nullptr;
}

// A shortest-form LEB128 number of at most 63 bits.
std::optional<std::uint64_t> varint(ByteView in, std::size_t& at) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 63; shift += 7) {
    if (at == in.size()) return std::nullopt;
    std::uint8_t byte = in[at++];
    value |= std::uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return byte == 0 && shift > 0 ? std::nullopt : std::optional(value);
  }
  return std::nullopt;
}

}  // namespace

Expected<std::optional<Record>> RecordReader::next() {
  while (at_ < in_.size()) {
    const std::size_t start = at_;
    auto malformed = [&](const char* why) {
      return std::unexpected(Error(ErrorKind::malformed, fmt::format("record stream, offset {}: {}", start, why)));
    };
    std::size_t at = start;
    const std::uint8_t type = in_[at++];
    const bool version = type == static_cast<std::uint8_t>(Type::version);
    if (start == 0 && !version) return malformed("does not begin with a version record");
    std::optional<std::uint64_t> size = varint(in_, at);
    if (!size) return malformed("record length is cut off or not in its shortest form");
    if (*size > layout::kMaxRecord) return malformed("record is longer than 16 MiB");
    if (*size > in_.size() - at) return malformed("record is cut off");
    const std::size_t end = at + static_cast<std::size_t>(*size);
    Parser parser = parser_of(type);
    if (!version && parser == nullptr) {
      at_ = end;
      continue;
    }
    std::size_t inner = 0;
    ByteView content = in_.subspan(at, end - at);
    std::optional<std::uint64_t> ms = varint(content, inner);
    if (!ms) return malformed("time is cut off or not in its shortest form");
    ByteView body = content.subspan(inner);
    if (version) {
      if (body.size() != 1 || body[0] != layout::kVersion) return malformed("unknown version of the format");
      at_ = end;
      continue;
    }
    std::optional<Payload> payload = parser(body);
    if (!payload) return malformed("fields are out of range or do not fill the record");
    at_ = end;
    return Record{static_cast<std::int64_t>(*ms), std::move(*payload)};
  }
  return std::nullopt;
}

}  // namespace lucid::recording
