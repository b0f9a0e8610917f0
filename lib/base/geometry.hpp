// Rectangles in screen pixels, shared by capture and the recording format. Value types; any thread.
#pragma once

#include <algorithm>
#include <cstdint>

namespace lucid {

struct Rect {
  std::int32_t x = 0, y = 0, width = 0, height = 0;
  bool empty() const { return width <= 0 || height <= 0; }
  std::int64_t area() const { return empty() ? 0 : std::int64_t{width} * height; }
  std::int32_t right() const { return x + width; }
  std::int32_t bottom() const { return y + height; }
  bool operator==(const Rect&) const = default;
};

inline Rect intersect(const Rect& a, const Rect& b) {
  std::int32_t x = std::max(a.x, b.x), y = std::max(a.y, b.y);
  return {x, y, std::min(a.right(), b.right()) - x, std::min(a.bottom(), b.bottom()) - y};
}

// Pixels as captured: 0x00RRGGBB, row after row, top byte always 0. `stride` counts pixels.
struct PixelView {
  Rect area;  // where on the screen these pixels stand
  const std::uint32_t* pixels = nullptr;
  std::size_t stride = 0;
};

// A window was seen moving: pixels of `from` are expected at (to_x, to_y). Only a hint: always verified.
struct MoveHint {
  Rect from;
  std::int32_t to_x = 0, to_y = 0;
};

}  // namespace lucid
