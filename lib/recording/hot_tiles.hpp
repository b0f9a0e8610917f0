// The byte budget: decides which changed tiles wait. Tiles that keep changing and cost much (film) are written 4 times a
// second once the budget is spent, fewer (down to once in 2 s) the deeper it is overdrawn; everything else is always
// written at once. Also remembers the lossy tiles that must be repaired. Owned by one FrameEncoder.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "lib/base/geometry.hpp"

namespace lucid::recording {

class HotTiles {
 public:
  static constexpr std::int64_t kStillMs = 1000;  // a lossy tile is repaired once still for so long

  explicit HotTiles(std::uint64_t max_rate) : max_rate_(static_cast<double>(max_rate)), tokens_(max_rate_) {}

  void resize(std::size_t tiles);
  // Everything on the screen was just written losslessly.
  void all_written();

  void begin_frame(std::int64_t ms);  // refills the budget, decides whether waiting tiles go now
  void spend(std::size_t bytes);
  // Tiles were made to wait a moment ago.
  bool slowed(std::int64_t ms) const { return next_ != 0 && ms < next_ + 1000; }

  void changed(std::size_t tile, std::int64_t ms);
  // Often changed in the last second, and not cheap.
  bool hot(std::size_t tile, std::int64_t ms) const;
  bool must_wait(std::size_t tile, std::int64_t ms) const { return !go_ && hot(tile, ms); }
  void written(std::size_t tile, std::size_t bytes, bool was_hot, std::int64_t ms);

  void hold(std::size_t tile, const Rect& area);
  void release(std::size_t tile) { tiles_[tile].held = {}; }
  const Rect& held(std::size_t tile) const { return tiles_[tile].held; }

  void mark_lossy(std::size_t tile, const Rect& area);
  void mark_exact(std::size_t tile) { tiles_[tile].lossy = {}; }
  const Rect& lossy(std::size_t tile) const { return tiles_[tile].lossy; }
  bool repair_due(std::size_t tile, std::int64_t ms) const;
  bool any_lossy() const;

  // Whether any tile may wait or be lossy; settle() looks again.
  bool pending() const { return pending_; }
  void settle();
  std::int64_t due_ms() const;  // 0: nothing waits
  std::vector<Rect> due_areas() const;

 private:
  static constexpr std::size_t kChanges = 5;  // in the last second make a tile hot
  struct Tile {
    std::array<std::int64_t, kChanges> changes{};  // times of the last changes plus one, a ring; 0: none
    std::uint8_t next = 0;
    std::uint32_t cost = 0;  // bytes when last written
    std::int64_t changed_ms = 0;
    Rect held, lossy;
  };
  double max_rate_, tokens_;
  std::int64_t refilled_ms_ = 0, next_ = 0;  // next_: when waiting tiles go
  bool go_ = true, pending_ = false;
  std::vector<Tile> tiles_;
};

// The smallest rectangle around both; an empty one does not count.
Rect around(const Rect& a, const Rect& b);
bool contains(const Rect& outer, const Rect& inner);

}  // namespace lucid::recording
