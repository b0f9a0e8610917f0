// A screen to record in tests and benchmarks: draws what desktops draw (text, photos, scrolls, window moves, film) from
// a seeded generator and remembers the damage.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "lib/base/geometry.hpp"

namespace lucid::recording::test {

class TestScreen {
 public:
  TestScreen(int width, int height, std::uint64_t seed = 1) : width_(width), height_(height), state_(seed * 2654435761u + 1) {
    pixels_.assign(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), 0xc0c0c0);
  }
  int width() const { return width_; }
  int height() const { return height_; }
  Rect all() const { return {0, 0, width_, height_}; }
  const std::vector<std::uint32_t>& pixels() const { return pixels_; }
  std::uint32_t& at(int x, int y) {
    return pixels_[static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x)];
  }

  std::uint32_t random(std::uint32_t below) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::uint32_t>((state_ >> 11) % below);
  }
  Rect random_area(int max_width, int max_height) {
    const int w = 1 + static_cast<int>(random(static_cast<std::uint32_t>(std::min(max_width, width_))));
    const int h = 1 + static_cast<int>(random(static_cast<std::uint32_t>(std::min(max_height, height_))));
    return {static_cast<int>(random(static_cast<std::uint32_t>(width_ - w + 1))),
            static_cast<int>(random(static_cast<std::uint32_t>(height_ - h + 1))), w, h};
  }

  void fill(const Rect& area, std::uint32_t colour) {
    each(area, [&](int, int) { return colour; });
  }
  void noise(const Rect& area, std::uint32_t colours) {
    std::vector<std::uint32_t> palette;
    for (std::uint32_t i = 0; i < colours; ++i) palette.push_back(random(1 << 24));
    each(area, [&](int, int) { return palette.empty() ? random(1 << 24) : palette[random(colours)]; });
  }
  // Smooth colours with a little grain, as a photograph.
  void photo(const Rect& area, int phase = 0) {
    each(area, [&](int x, int y) {
      const std::uint32_t grain = random(8);
      const std::uint32_t r = static_cast<std::uint32_t>(x + phase * 7) / 5 + grain,
                          g = static_cast<std::uint32_t>(y + phase * 3) / 4 + grain,
                          b = static_cast<std::uint32_t>(x + y + phase) / 8 + grain;
      return (r & 0xff) << 16 | (g & 0xff) << 8 | (b & 0xff);
    });
  }
  // A line of 8x12 bitmap glyphs.
  void text(int x, int y, int letters) {
    Rect area{x, y, letters * 8, 12};
    fill(area, 0xffffff);
    for (int i = 0; i < letters; ++i) {
      if (random(6) == 0) continue;
      for (int row = 2; row < 10; ++row) {
        const std::uint32_t bits = random(128);
        for (int column = 0; column < 7; ++column)
          if (bits >> column & 1) put(x + i * 8 + column, y + row, 0x202020);
      }
    }
  }
  // Moves the content of `area` by (dx, dy); what is uncovered inside it keeps its pixels.
  void shift(const Rect& area, int dx, int dy) {
    const std::vector<std::uint32_t> before = pixels_;
    each(area, [&](int x, int y) {
      const int fx = x - dx, fy = y - dy;
      const bool inside = fx >= area.x && fy >= area.y && fx < area.right() && fy < area.bottom();
      return inside ? before[static_cast<std::size_t>(fy) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(fx)] : at(x, y);
    });
  }
  // Draws `area` as it is in `pixels`, a picture of the whole screen.
  void put_back(const Rect& area, const std::vector<std::uint32_t>& pixels) {
    each(area, [&](int x, int y) {
      return pixels[static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x)];
    });
  }
  // Moves a window; `behind` fills what it uncovers.
  void move_window(const Rect& from, int to_x, int to_y, std::uint32_t behind) {
    std::vector<std::uint32_t> content;
    for (int y = from.y; y < from.bottom(); ++y)
      for (int x = from.x; x < from.right(); ++x) content.push_back(at(x, y));
    fill(from, behind);
    std::size_t i = 0;
    each({to_x, to_y, from.width, from.height}, [&](int, int) { return content[i++]; });
  }

  std::vector<Rect> take_damage() { return std::exchange(damage_, {}); }
  PixelView view(const Rect& area) const {
    return {area, pixels_.data() + static_cast<std::size_t>(area.y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(area.x),
            static_cast<std::size_t>(width_)};
  }
  std::vector<PixelView> views(const std::vector<Rect>& areas) const {
    std::vector<PixelView> out;
    for (const Rect& r : areas)
      if (const Rect clipped = intersect(r, all()); !clipped.empty()) out.push_back(view(clipped));
    return out;
  }

 private:
  void put(int x, int y, std::uint32_t colour) {
    if (x >= 0 && y >= 0 && x < width_ && y < height_) at(x, y) = colour;
  }
  template <class F>
  void each(const Rect& area, F colour) {
    const Rect clipped = intersect(area, all());
    for (int y = area.y; y < area.bottom(); ++y)
      for (int x = area.x; x < area.right(); ++x) {
        const std::uint32_t value = clipped.empty() ? 0 : colour(std::clamp(x, 0, width_ - 1), std::clamp(y, 0, height_ - 1));
        put(x, y, value & 0xffffff);
      }
    if (!clipped.empty()) damage_.push_back(clipped);
  }
  int width_, height_;
  std::uint64_t state_;
  std::vector<std::uint32_t> pixels_;
  std::vector<Rect> damage_;
};

}  // namespace lucid::recording::test
