// Numbers of the record stream's byte layout, shared by its writer and its reader. Private to the recording library;
// the prose is docs/formats/record-stream.md. Changing a number is a new format version.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/base/bytes.hpp"
#include "lib/recording/records.hpp"

namespace lucid::recording::layout {

inline constexpr std::uint8_t kVersion = 1;
inline constexpr std::size_t kMaxRecord = 16 << 20;  // everything after the length field
inline constexpr int kMaxSide = 16384;               // of a screen
inline constexpr std::int64_t kMaxPixels = 1 << 26;  // of a screen: 64 Mi pixels, 256 MiB in memory
inline constexpr int kTile = 64;
inline constexpr std::size_t kMaxTileData = 64 << 10;
inline constexpr int kMaxCursorSide = 1024;
inline constexpr std::size_t kMaxTitle = 1 << 10;
inline constexpr std::size_t kMaxText = 4 << 10;
inline constexpr std::size_t kMaxClipboard = 64 << 10;
inline constexpr std::size_t kMaxArguments = 256;
inline constexpr std::size_t kMaxTypes = 256;

enum class Type : std::uint8_t {
  version = 0x01,
  screen_size = 0x10,
  keyframe = 0x11,
  tile = 0x12,
  copy = 0x13,
  frame_end = 0x14,
  cursor_shape = 0x15,
  cursor_position = 0x16,
  restore = 0x17,
  key = 0x20,
  pointer_button = 0x21,
  pointer_motion = 0x22,
  window = 0x30,
  process = 0x31,
  screen = 0x32,
  clipboard = 0x40,
  file_transfer = 0x41,
  gap = 0x50,
  pause = 0x51,
  annotation = 0x52,
  quality = 0x53,
  end = 0x54,
};

inline std::size_t varint_size(std::uint64_t value) {
  std::size_t n = 1;
  while (value >>= 7) ++n;
  return n;
}
inline void put_varint(Bytes& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::uint8_t>(value | 0x80));
  out.push_back(static_cast<std::uint8_t>(value));
}

// A screen size a reader accepts.
inline bool screen_ok(int width, int height) {
  return width > 0 && height > 0 && width <= kMaxSide && height <= kMaxSide && std::int64_t{width} * height <= kMaxPixels;
}
// Inside one 64x64 tile of the largest screen.
inline bool tile_area_ok(const Rect& r) {
  return r.x >= 0 && r.y >= 0 && r.width > 0 && r.height > 0 && r.width <= kTile && r.height <= kTile && r.right() <= kMaxSide &&
         r.bottom() <= kMaxSide && r.x / kTile == (r.right() - 1) / kTile && r.y / kTile == (r.bottom() - 1) / kTile;
}

// What append() does for a Tile, without a copy of its data.
void append_tile(Bytes& stream, std::int64_t ms, const Rect& area, TileCodec codec, ByteView data);

}  // namespace lucid::recording::layout
