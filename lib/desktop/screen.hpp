// Pixels of one display: a Damage object on the root tells what changed, MIT-SHM fetches it (through the socket where
// the server is remote), and everything comes out as 0x00RRGGBB. One thread, the Display's. The shared memory
// is a sealed memory file where the server takes one, else a System V segment marked for removal right after both sides
// attached: no crash leaves it behind. Pitfalls: docs/capture.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lib/base/geometry.hpp"
#include "lib/desktop/connection.hpp"

namespace lucid::desktop {

class Screen {
 public:
  // Throws Error{unavailable, "display_unavailable"} for missing Damage/XFixes or a pixel layout not supported.
  explicit Screen(Connection& connection);
  ~Screen();
  Screen(const Screen&) = delete;

  // An xcb_generic_event_t; true when it was ours.
  bool handle(const void* event);
  bool damage_pending() const { return damaged_ || resize_seen_; }
  int width() const { return width_; }
  int height() const { return height_; }
  int depth() const { return depth_; }
  bool shared_memory() const { return segment_.memory != nullptr; }

  struct Pixels {
    std::vector<PixelView> areas;
    bool resized = false;
  };
  Pixels grab_damage();
  Pixels grab_all();
  Pixels grab(std::span<const Rect> areas);

 private:
  struct Segment {
    std::uint32_t id = 0;
    void* memory = nullptr;
    std::size_t size = 0;
    bool system_v = false;
  };
  enum class Fetch { done, stale, lost };
  void subtract(bool fetch, std::vector<Rect>& out);
  bool read_geometry();
  void make_segment();
  void drop_segment();
  bool attach_memory_file(std::size_t size);
  bool attach_system_v(std::size_t size);
  Pixels fetch_current(std::span<const Rect> areas, bool everything);
  Fetch fetch(std::span<const Rect> areas, std::vector<PixelView>& out);
  Fetch fetch_shared(std::span<const Rect> areas, std::vector<PixelView>& out);
  Fetch fetch_socket(std::span<const Rect> areas, std::vector<PixelView>& out);
  PixelView convert(const std::uint8_t* rows, const Rect& area, std::uint32_t* to);
  std::size_t row_bytes(int width) const;

  Connection& connection_;
  int width_ = 0, height_ = 0, depth_ = 0;
  int bits_per_pixel_ = 32, scanline_pad_ = 32;
  struct Channel {
    int shift = 0, bits = 8;
  } red_, green_, blue_;
  bool native_ = true;  // pixels are 0x?RRGGBB already: only the top byte has to go
  std::uint8_t damage_event_ = 0;
  std::uint32_t damage_ = 0, region_ = 0;
  bool damaged_ = false, resize_seen_ = false;
  bool shm_present_ = false;
  Segment segment_;
  std::vector<std::uint32_t> converted_;
};

// The rectangles to fetch for `damage`: clipped to the screen; one bounding box where that is cheaper than many pieces.
std::vector<Rect> plan_fetch(std::vector<Rect> damage, int width, int height);

}  // namespace lucid::desktop
