// Finds what merely moved: scrolls (the same shift in three strips of the changed area) and window moves (hints). What
// it answers is verified pixel by pixel: applying the copies to the old picture gives pixels of the grabs. Owned by
// one FrameEncoder.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lib/base/geometry.hpp"
#include "lib/recording/records.hpp"

namespace lucid::recording {

class CopyFinder {
 public:
  struct Screen {
    const std::uint32_t* pixels;  // the picture before this frame
    int width, height;
  };
  // One grab, inside the screen, and the rectangles in it that differ from the old picture (screen coordinates).
  struct Change {
    PixelView grab;
    std::span<const Rect> areas;
  };
  struct Found {
    Copy copy;
    std::size_t change;  // in whose grab the copied pixels stand
  };
  std::vector<Found> find(const Screen& old, std::span<const Change> changes, std::span<const MoveHint> hints);

 private:
  int failures_ = 0, skip_ = 0;  // searches that found nothing make the next ones rarer
};

}  // namespace lucid::recording
