#include "app/cli/replay.hpp"

#include <algorithm>
#include <variant>

#include <fmt/format.h>

#include "lib/recording/chunk.hpp"
#include "lib/recording/records.hpp"

namespace lucid::cli {
namespace {

using recording::Player;
using recording::Record;

// What cannot be read back was recorded or kept wrongly, whatever a parser calls it.
template <class T>
T value_or_throw(Expected<T> result) {
  if (!result) throw Error(ErrorKind::corrupt, "unplayable", std::string("the recording cannot be played: ") + result.error().what());
  return std::move(*result);
}

// Calls `each` for the records of a stream; it answers false to stop. True when all were seen.
bool for_each_record(ByteView stream, const std::function<bool(const Record&)>& each) {
  recording::RecordReader reader(stream);
  for (;;) {
    auto record = value_or_throw(reader.next());
    if (!record) return true;
    if (!each(*record)) return false;
  }
}

// Applies the records up to `at_ms`. False when a later one was met.
bool play_until(Player& player, ByteView stream, std::int64_t at_ms) {
  return for_each_record(stream, [&](const Record& record) {
    if (record.ms > at_ms) return false;
    value_or_throw(player.apply(record));
    return true;
  });
}

void play_chunks_until(Player& player, ChunkSource& source, std::uint64_t from, std::int64_t at_ms) {
  for (auto chunks = source.list(from); !chunks.empty(); chunks = source.list(chunks.back().sequence + 1))
    for (const ChunkInfo& chunk : chunks)
      if (chunk.first_ms > at_ms || !play_until(player, source.records(chunk.sequence), at_ms)) return;
}

bool has_diff_keyframe_by(ByteView stream, std::int64_t at_ms) {
  bool found = false;
  for_each_record(stream, [&](const Record& record) {
    const auto* keyframe = std::get_if<recording::Keyframe>(&record.payload);
    found = found || (record.ms <= at_ms && keyframe != nullptr && keyframe->kind == recording::KeyframeKind::diff);
    return !found && record.ms <= at_ms;
  });
  return found;
}

// The last chunk after the full keyframe at `full` whose diff keyframe stands at or before `at_ms`.
std::optional<std::uint64_t> diff_chunk(ChunkSource& source, const Index& index, std::uint64_t full, std::int64_t at_ms) {
  for (auto it = index.keyframes.rbegin(); it != index.keyframes.rend() && it->sequence > full; ++it)
    if ((it->flags & recording::kHasDiffKeyframe) != 0 && it->first_ms <= at_ms &&
        has_diff_keyframe_by(source.records(it->sequence), at_ms))
      return it->sequence;
  return std::nullopt;
}

}  // namespace

recording::Picture picture_at(ChunkSource& source, std::int64_t at_ms, Cursor cursor) {
  const Index index = source.index();
  for (auto it = index.keyframes.rbegin(); it != index.keyframes.rend(); ++it) {
    if ((it->flags & recording::kHasFullKeyframe) == 0 || it->first_ms > at_ms) continue;
    Player player;
    bool all = play_until(player, source.records(it->sequence), at_ms);
    if (!player.has_picture()) continue;  // its keyframe stands later in the chunk than the moment asked for
    if (all) {
      // The cursor's shape may have been set anywhere since the full keyframe, so drawing it takes all records.
      auto diff = cursor == Cursor::left_out ? diff_chunk(source, index, it->sequence, at_ms) : std::nullopt;
      play_chunks_until(player, source, diff.value_or(it->sequence + 1), at_ms);
    }
    if (!player.has_picture())
      throw Error(ErrorKind::corrupt, "unplayable",
                  fmt::format("the picture at {} ms cannot be rebuilt: frames are missing before it", at_ms));
    recording::Picture picture = player.picture();
    if (cursor == Cursor::drawn) draw_cursor(picture, player.cursor_shape(), player.cursor());
    return picture;
  }
  throw Error(ErrorKind::not_found, "nothing_recorded", fmt::format("no picture was recorded by {} ms", at_ms));
}

void replay(ChunkSource& source, const std::function<void(const ReplayedFrame&)>& each) {
  Player player;
  std::uint64_t next = 0;
  for (auto chunks = source.list(0); !chunks.empty(); chunks = source.list(next)) {
    for (const ChunkInfo& chunk : chunks) {
      for_each_record(source.records(chunk.sequence), [&](const Record& record) {
        bool closed = value_or_throw(player.apply(record));
        if (const auto* end = std::get_if<recording::FrameEnd>(&record.payload))
          each({end->number, record.ms, end->lossy, closed ? &player.picture() : nullptr, end->digest});
        return true;
      });
      next = chunk.sequence + 1;
    }
  }
}

void draw_cursor(recording::Picture& picture, const recording::CursorShape& shape, const recording::CursorPosition& position) {
  if (!position.visible || shape.argb.size() != std::size_t{4} * shape.width * shape.height) return;
  const std::int64_t left = std::int64_t{position.x} - shape.hot_x, top = std::int64_t{position.y} - shape.hot_y;
  for (int y = 0; y < shape.height; ++y) {
    for (int x = 0; x < shape.width; ++x) {
      const std::int64_t px = left + x, py = top + y;
      if (px < 0 || py < 0 || px >= picture.width || py >= picture.height) continue;
      ByteReader in(ByteView(shape.argb).subspan((static_cast<std::size_t>(y) * shape.width + static_cast<std::size_t>(x)) * 4, 4));
      const std::uint32_t over = in.u32();
      std::uint32_t& under =
          picture.pixels[static_cast<std::size_t>(py) * static_cast<std::size_t>(picture.width) + static_cast<std::size_t>(px)];
      const std::uint32_t keep = 255 - (over >> 24);
      std::uint32_t mixed = 0;
      for (int shift : {0, 8, 16}) {
        std::uint32_t c = ((over >> shift) & 255) + (((under >> shift) & 255) * keep + 127) / 255;
        mixed |= std::min<std::uint32_t>(c, 255) << shift;
      }
      under = mixed;
    }
  }
}

}  // namespace lucid::cli
