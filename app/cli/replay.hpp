// Pictures out of a recording: the one shown at a moment, found through the keyframe index, or all of them one after
// another. Reads chunks through a ChunkSource, so it does not care where they come from. One thread. Throws lucid::Error.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "lib/recording/player.hpp"

namespace lucid::cli {

struct ChunkInfo {
  std::uint64_t sequence = 0;
  std::int64_t first_ms = 0, last_ms = 0;
  std::uint16_t flags = 0;  // recording::ChunkFlags
};
struct Index {
  std::vector<ChunkInfo> keyframes;  // chunks that hold a keyframe, ascending
  std::int64_t last_ms = 0;
};

class ChunkSource {
 public:
  virtual ~ChunkSource() = default;
  virtual Index index() = 0;
  virtual std::vector<ChunkInfo> list(std::uint64_t from) = 0;  // ascending, some at a time; empty at the end
  virtual Bytes records(std::uint64_t sequence) = 0;            // the record stream of a chunk
};

enum class Cursor { left_out, drawn };
// The picture shown at session millisecond `at_ms`: a full keyframe, at most one diff keyframe and what follows it.
// Error{not_found, "nothing_recorded"} when there is no picture that early.
recording::Picture picture_at(ChunkSource& source, std::int64_t at_ms, Cursor cursor);

// Every frame of a recording in order.
struct ReplayedFrame {
  std::uint32_t number = 0;
  std::int64_t ms = 0;
  bool lossy = false;
  const recording::Picture* picture = nullptr;  // nullptr: the records did not lead to a picture
  std::optional<Hash32> recorded_digest;
};
void replay(ChunkSource& source, const std::function<void(const ReplayedFrame&)>& each);

// Draws `shape` (premultiplied ARGB) over the picture; clipped at its edges.
void draw_cursor(recording::Picture& picture, const recording::CursorShape& shape, const recording::CursorPosition& position);

}  // namespace lucid::cli
