// Seeking and replaying on a recording made by the real encoder, against the screens it was made from; PNG; cursor.
#include "app/cli/replay.hpp"

#include <map>

#include <gtest/gtest.h>
#include <png.h>

#include "app/cli/png.hpp"
#include "lib/base/error.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/recording/frame_encoder.hpp"
#include "lib/recording/test_screen.hpp"

namespace lucid::cli {
namespace {

using recording::Record;

// A recording in memory, and the screen as it was after every frame.
class Recorded final : public ChunkSource {
 public:
  static constexpr std::int64_t kFrameMs = 100;
  // One frame every 100 ms, ten a chunk; full keyframes every 20 s, diff keyframes every 5 s of activity.
  explicit Recorded(int frames) : screen_(200, 120) {
    recording::FrameEncoder encoder(
        {.digests = recording::Digests::all, .full_keyframe_ms = 20'000, .diff_keyframe_ms = 5'000, .max_rate = 1'000'000'000});
    Bytes records;
    encoder.resize(200, 120, 0, records);
    screen_.photo(screen_.all());
    for (int i = 0; i < frames; ++i) {
      std::int64_t ms = i * kFrameMs;
      Rect changed = screen_.random_area(60, 40);
      screen_.noise(changed, 4);
      bool full = encoder.wants_full_screen(ms);
      Rect area = full ? screen_.all() : changed;
      PixelView grab{area, screen_.pixels().data() + static_cast<std::size_t>(area.y) * 200 + static_cast<std::size_t>(area.x), 200};
      encoder.update(ms, {&grab, 1}, {}, full, records);
      shown_[ms] = screen_.pixels();
      if (i % 10 == 9 || i + 1 == frames) close_chunk(records);
    }
  }
  Index index() override {
    Index index;
    for (const ChunkInfo& c : chunks_)
      if ((c.flags & (recording::kHasFullKeyframe | recording::kHasDiffKeyframe)) != 0) index.keyframes.push_back(c);
    index.last_ms = chunks_.back().last_ms;
    return index;
  }
  std::vector<ChunkInfo> list(std::uint64_t from) override {
    std::vector<ChunkInfo> page;
    for (const ChunkInfo& c : chunks_)
      if (c.sequence >= from && page.size() < 7) page.push_back(c);
    return page;
  }
  Bytes records(std::uint64_t sequence) override {
    ++reads;
    return streams_.at(sequence);
  }
  const std::vector<std::uint32_t>& at(std::int64_t ms) const { return std::prev(shown_.upper_bound(ms))->second; }
  Bytes& stream(std::size_t chunk) { return streams_[chunk]; }
  int reads = 0;

 private:
  void close_chunk(Bytes& records) {
    ChunkInfo info;
    info.sequence = streams_.size();
    recording::RecordReader reader(records);
    bool first = true;
    while (auto record = reader.next().value()) {
      if (first) info.first_ms = record->ms;
      first = false;
      info.last_ms = record->ms;
      if (const auto* k = std::get_if<recording::Keyframe>(&record->payload))
        info.flags |= k->kind == recording::KeyframeKind::full ? recording::kHasFullKeyframe : recording::kHasDiffKeyframe;
    }
    chunks_.push_back(info);
    streams_.push_back(std::exchange(records, {}));
  }
  recording::test::TestScreen screen_;
  std::map<std::int64_t, std::vector<std::uint32_t>> shown_;
  std::vector<ChunkInfo> chunks_;
  std::vector<Bytes> streams_;
};

TEST(Seek, ShowsExactlyTheScreenOfThatMoment) {
  Recorded recorded(600);
  for (std::int64_t at : {0, 50, 99, 100, 4'900, 5'000, 5'050, 12'345, 19'999, 20'000, 20'150, 25'049, 41'000, 59'900, 1'000'000}) {
    recording::Picture picture = picture_at(recorded, at, Cursor::left_out);
    EXPECT_EQ(picture.pixels, recorded.at(at)) << at;
    EXPECT_LE(picture.ms, at);
    EXPECT_EQ(picture_at(recorded, at, Cursor::drawn).pixels, recorded.at(at)) << "without a cursor recorded, at " << at;
  }
}

TEST(Seek, ReadsFewChunksThanksToDiffKeyframes) {
  Recorded recorded(600);
  recorded.reads = 0;
  picture_at(recorded, 19'500, Cursor::left_out);
  EXPECT_LE(recorded.reads, 10) << "a full keyframe, a diff one and at most 5 s of deltas, not 20 chunks";
}

TEST(Seek, SaysThatThereIsNothingThatEarly) {
  Recorded recorded(10);
  try {
    picture_at(recorded, -1, Cursor::left_out);
    FAIL();
  } catch (const Error& e) { EXPECT_EQ(e.code(), "nothing_recorded"); }
}

TEST(Replay, GivesEveryFrameAndItsDigest) {
  Recorded recorded(250);
  int frames = 0;
  replay(recorded, [&](const ReplayedFrame& f) {
    EXPECT_EQ(f.number, static_cast<std::uint32_t>(frames++));
    ASSERT_NE(f.picture, nullptr);
    EXPECT_EQ(f.picture->pixels, recorded.at(f.ms));
    EXPECT_EQ(f.recorded_digest, recording::frame_digest(f.picture->pixels));
  });
  EXPECT_EQ(frames, 250);
}

TEST(Replay, ReportsFramesThatNoPictureCanBeMadeOf) {
  Recorded recorded(50);
  recorded.stream(2).clear();  // a lost chunk: ten frames are gone, the next ones have nothing to stand on
  int seen = 0, unplayable = 0;
  replay(recorded, [&](const ReplayedFrame& f) {
    ++seen;
    unplayable += f.picture == nullptr ? 1 : 0;
  });
  EXPECT_EQ(seen, 40);
  EXPECT_GT(unplayable, 0);
}

TEST(Replay, CallsARecordingThatDoesNotParseCorrupt) {
  Recorded recorded(50);
  recorded.stream(1).resize(recorded.stream(1).size() - 3);
  try {
    replay(recorded, [](const ReplayedFrame&) {});
    FAIL();
  } catch (const Error& e) { EXPECT_EQ(e.kind(), ErrorKind::corrupt); }
}

recording::Picture grey(int width, int height) {
  recording::Picture picture;
  picture.width = width;
  picture.height = height;
  picture.pixels.assign(static_cast<std::size_t>(width * height), 0x808080);
  return picture;
}

TEST(CursorDrawing, BlendsPremultipliedPixelsAndStaysInside) {
  recording::CursorShape shape{.width = 2, .height = 1, .hot_x = 1, .hot_y = 0, .argb = {}};
  for (std::uint32_t pixel : {0xff0000ffu, 0x80400000u}) ByteWriter(shape.argb).u32(pixel);
  recording::Picture picture = grey(4, 2);
  draw_cursor(picture, shape, {.x = 2, .y = 1, .visible = true});
  EXPECT_EQ(picture.pixels[4 + 1], 0x0000ffu) << "opaque";
  EXPECT_EQ(picture.pixels[4 + 2], 0x804040u) << "half";
  EXPECT_EQ(picture.pixels[4 + 3], 0x808080u);
  for (auto [x, y] : {std::pair{-5, 0}, {0, -5}, {4, 1}, {100, 100}, {INT32_MAX, INT32_MIN}}) {
    picture = grey(4, 2);
    draw_cursor(picture, shape, {.x = x, .y = y, .visible = true});
    EXPECT_EQ(picture.pixels.size(), 8u);
  }
  picture = grey(4, 2);
  draw_cursor(picture, shape, {.x = 2, .y = 1, .visible = false});
  shape.argb.pop_back();
  draw_cursor(picture, shape, {.x = 2, .y = 1, .visible = true});
  EXPECT_EQ(picture.pixels, grey(4, 2).pixels) << "hidden or damaged: not drawn";
}

TEST(Png, HoldsExactlyThePixels) {
  recording::test::TestScreen screen(131, 57, 3);
  screen.noise(screen.all(), 0);
  recording::Picture picture = grey(131, 57);
  picture.pixels = screen.pixels();
  Bytes file = encode_png(picture);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  ASSERT_NE(png_image_begin_read_from_memory(&image, file.data(), file.size()), 0);
  ASSERT_EQ(image.width, 131u);
  ASSERT_EQ(image.height, 57u);
  image.format = PNG_FORMAT_RGB;
  Bytes rgb(PNG_IMAGE_SIZE(image));
  ASSERT_NE(png_image_finish_read(&image, nullptr, rgb.data(), 0, nullptr), 0);
  for (std::size_t i = 0; i < picture.pixels.size(); ++i)
    ASSERT_EQ(picture.pixels[i], std::uint32_t{rgb[3 * i]} << 16 | std::uint32_t{rgb[3 * i + 1]} << 8 | rgb[3 * i + 2]) << i;
}

}  // namespace
}  // namespace lucid::cli
