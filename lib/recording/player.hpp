// Rebuilds pictures from records: the inverse of FrameEncoder. Feed it records in order, starting at a full keyframe
// (or a full one followed by a diff one); after each FrameEnd that answers true the picture is exactly the one captured,
// except in tiles flagged lossy. Never shows a wrong picture for a missing chunk: when frames are missing (a frame number
// is skipped, a diff keyframe's base is another one), has_picture() turns false until the next keyframe that can be
// shown. Bounded against hostile records. Movable, owned by one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/recording/records.hpp"
#include "lib/recording/tile_codec.hpp"

namespace lucid::recording {

struct Picture {
  int width = 0, height = 0;
  std::vector<std::uint32_t> pixels;  // 0x00RRGGBB
  bool lossy = false;
  std::uint32_t number = 0;
  std::int64_t ms = 0;
};

class Player {
 public:
  // Applies one record (events are ignored). True when it closed a frame that can be shown. Errors: malformed, with
  // what was wrong; the picture is then gone until the next keyframe.
  Expected<bool> apply(const Record& record);
  // Whether a picture exists (a keyframe was completed and no frame is missing since).
  bool has_picture() const { return has_picture_; }
  const Picture& picture() const { return picture_; }
  const CursorPosition& cursor() const { return cursor_; }
  const CursorShape& cursor_shape() const { return shape_; }

 private:
  // What the records since the last FrameEnd are: nothing yet, copies, tiles and restores, or the tiles of a keyframe.
  enum class Frame { none, copies, tiles, full_keyframe, diff_keyframe };

  void screen_size(const ScreenSize& size);
  Expected<void> begin_keyframe(const Keyframe& keyframe);
  Expected<void> tile(const Tile& tile);
  Expected<void> copy(const Copy& copy);
  Expected<void> restore(const Restore& restore);
  Expected<bool> frame_end(const FrameEnd& end, std::int64_t ms);
  void drop_picture();

  Picture picture_;
  std::vector<std::uint32_t> before_;  // picture before this frame's records, filled at the first copy
  std::vector<std::uint32_t> full_;    // picture of the last full keyframe, for diff keyframes and restores
  std::vector<std::uint32_t> kept_;    // for restores; empty: the same as full_
  std::uint32_t full_number_ = 0;
  std::int64_t covered_ = 0;  // pixels of a full keyframe's tiles so far
  Frame frame_ = Frame::none;
  bool has_picture_ = false, has_full_ = false;
  CursorPosition cursor_;
  CursorShape shape_;
  TileCoder coder_;
};

}  // namespace lucid::recording
