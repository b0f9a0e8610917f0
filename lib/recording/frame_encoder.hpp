// Turns grabbed screen pixels into picture records: compares with the last picture, finds copies (scrolls, window
// moves), cuts changed 64x64 tiles to their changed sub-rectangles, encodes them losslessly, places keyframes and keeps
// hot tiles within a byte budget. Owned by one thread. Parameters and reasons: docs/formats/record-stream.md.
//
// The recorded picture is what a Player rebuilds from the records so far. It is the screen, except where tiles are held
// back by the byte budget (they still show their older pixels) or came from JPEG. Frame digests describe the recorded
// picture, so replay and digest always agree.
//
// How to drive it, each tick:
//   1. Take the damaged areas; add deferred_areas() when now >= deferred_due_ms() > 0; add the whole screen when
//      wants_full_screen().
//   2. Grab. Ordinary tick: update(now, grabs of those areas, hints, full = false).
//   3. Keyframe tick: grab the whole screen once. When damage was pending (and this is not the first frame after
//      resize() or restart()) first call update(now, views of the damaged areas *into that one grab*, hints, false),
//      then update(now, whole grab, {}, true). What the second call finds changed is damage nobody reported:
//      `missed_damage_pixels`. Damage arriving between taking the damaged areas and the grab should be taken once more
//      after the grab and added to the views, or it is counted as missed (it is recorded either way).
//   4. `full = true` when no keyframe is due is an ordinary update.
// Times must not go backwards. Nothing here survives a crash: after one, continue with set_next_frame_number().
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "lib/base/geometry.hpp"
#include "lib/recording/records.hpp"

namespace lucid::recording {

enum class Digests { off, keyframes, all };

struct EncoderConfig {
  Digests digests = Digests::keyframes;
  std::int64_t full_keyframe_ms = 600'000;  // of activity
  std::int64_t diff_keyframe_ms = 60'000;   // of activity
  std::uint64_t max_rate = 200'000;         // bytes of picture records a second before hot tiles are slowed
  bool jpeg_for_hot_tiles = false;
};

struct EncodeResult {
  bool frame = false;  // something changed and a FrameEnd was written
  bool keyframe = false;
  std::uint32_t number = 0;                // of the frame written
  std::uint64_t missed_damage_pixels = 0;  // found by a keyframe's full comparison only
  bool slowed = false;                     // hot tiles are being held back to meet the byte budget
  std::size_t bytes = 0;                   // appended
};

class FrameEncoder {
 public:
  explicit FrameEncoder(EncoderConfig config);
  ~FrameEncoder();

  // The screen has a (new) size: writes ScreenSize; the next update must cover the whole screen and becomes a full keyframe.
  void resize(int width, int height, std::int64_t ms, Bytes& records);
  // True when update() wants the whole screen: at the start, after resize() or restart(), and when a keyframe is due.
  // Only activity makes a keyframe due: an idle screen stays false.
  bool wants_full_screen(std::int64_t ms) const;
  // `grabs`: the damaged areas as they are now. Appends the records of at most one frame, nothing when nothing changed.
  // `full`: the grabs cover the screen. Before the first full update nothing can be encoded: answers no frame.
  EncodeResult update(std::int64_t ms, std::span<const PixelView> grabs, std::span<const MoveHint> hints, bool full, Bytes& records);
  // When areas must be grabbed again (0: none): pixels held back by the byte budget, lossy tiles to repair.
  std::int64_t deferred_due_ms() const;
  // The areas due then, one within each 64x64 tile.
  std::vector<Rect> deferred_areas() const;
  // After a gap or a pause: the next update is a full keyframe.
  void restart();
  std::uint32_t next_frame_number() const;
  // Continues the numbering of a recording taken up again after a crash.
  void set_next_frame_number(std::uint32_t number);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// SHA-256 over the pixels as R,G,B bytes, row after row: the digest of FrameEnd and of `lucid frames --digests`.
Hash32 frame_digest(std::span<const std::uint32_t> pixels);

}  // namespace lucid::recording
