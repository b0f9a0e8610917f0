#include "lib/recording/frame_encoder.hpp"

#include <gtest/gtest.h>

#include "lib/recording/player.hpp"
#include "lib/recording/test_screen.hpp"

namespace lucid::recording {
namespace {

using test::TestScreen;

// Records a TestScreen as the recorder does and plays every frame back at once.
class Recording {
 public:
  Recording(TestScreen& screen, EncoderConfig config) : screen_(screen), encoder_(config) {
    encoder_.resize(screen.width(), screen.height(), 0, stream_);
  }

  // One tick at `ms`, as frame_encoder.hpp prescribes. Answers whether a frame was written.
  bool tick(std::int64_t ms, std::vector<MoveHint> hints = {}) {
    std::vector<Rect> areas = screen_.take_damage();
    if (const std::int64_t due = encoder_.deferred_due_ms(); due > 0 && ms >= due)
      for (const Rect& r : encoder_.deferred_areas()) areas.push_back(r);
    const bool first = !player_.has_picture();
    const bool full = encoder_.wants_full_screen(ms);
    if (!first || !full) update(ms, areas, hints, false);
    if (full) update(ms, {screen_.all()}, {}, true);
    return frame_;
  }
  EncodeResult update(std::int64_t ms, const std::vector<Rect>& areas, const std::vector<MoveHint>& hints, bool full) {
    return update_from(ms, screen_.views(areas), hints, full);
  }
  EncodeResult update_from(std::int64_t ms, const std::vector<PixelView>& grabs, const std::vector<MoveHint>& hints, bool full = false) {
    const std::size_t before = stream_.size();
    result_ = encoder_.update(ms, grabs, hints, full, stream_);
    EXPECT_EQ(result_.bytes, stream_.size() - before);
    frame_ = result_.frame;
    play();
    return result_;
  }
  bool exact() const { return player_.has_picture() && player_.picture().pixels == screen_.pixels(); }

  FrameEncoder& encoder() { return encoder_; }
  Player& player() { return player_; }
  const Bytes& stream() const { return stream_; }
  const EncodeResult& result() const { return result_; }
  const std::vector<std::vector<std::uint32_t>>& pictures() const { return pictures_; }
  std::size_t copies() const { return copies_; }
  std::size_t restores() const { return restores_; }
  std::size_t tiles(TileCodec codec) const { return tiles_[static_cast<std::size_t>(codec)]; }
  bool keep_pictures = false;

 private:
  void play() {
    RecordReader reader(stream_);
    // Continue behind what was played: skip as many records as before.
    for (std::size_t i = 0; i < played_; ++i) ASSERT_TRUE(reader.next());
    for (;;) {
      auto record = reader.next();
      ASSERT_TRUE(record) << record.error().what();
      if (!*record) break;
      ++played_;
      if (const Tile* tile = std::get_if<Tile>(&(*record)->payload)) ++tiles_[static_cast<std::size_t>(tile->codec)];
      if (std::get_if<Copy>(&(*record)->payload)) ++copies_;
      if (std::get_if<Restore>(&(*record)->payload)) ++restores_;
      auto closed = player_.apply(**record);
      ASSERT_TRUE(closed) << closed.error().what();
      if (!*closed) continue;
      const FrameEnd& end = std::get<FrameEnd>((*record)->payload);
      if (end.digest) { EXPECT_EQ(*end.digest, frame_digest(player_.picture().pixels)) << "frame " << end.number; }
      if (keep_pictures) pictures_.push_back(player_.picture().pixels);
    }
    // The stream is kept whole only where a test replays it.
    if (!keep_pictures) {
      stream_.clear();
      played_ = 0;
    }
  }

  TestScreen& screen_;
  FrameEncoder encoder_;
  Player player_;
  Bytes stream_;
  std::size_t played_ = 0, copies_ = 0, restores_ = 0;
  std::array<std::size_t, 5> tiles_{};
  EncodeResult result_;
  bool frame_ = false;
  std::vector<std::vector<std::uint32_t>> pictures_;
};

EncoderConfig unlimited() {
  EncoderConfig config;
  config.digests = Digests::all;
  config.max_rate = 1'000'000'000;
  return config;
}

// One random thing a desktop does; answers move hints for it.
std::vector<MoveHint> something_happens(TestScreen& screen) {
  switch (screen.random(10)) {
    case 0: screen.noise(screen.random_area(150, 150), 1 + screen.random(20)); return {};
    case 1: screen.photo(screen.random_area(300, 200), static_cast<int>(screen.random(100))); return {};
    case 2: screen.fill(screen.random_area(400, 300), screen.random(1 << 24)); return {};
    case 3:
      for (int i = 0; i < 10; ++i) screen.text(static_cast<int>(screen.random(200)), i * 14, 30);
      return {};
    case 4: screen.shift(screen.random_area(500, 400), 0, static_cast<int>(screen.random(80)) - 40); return {};
    case 5: screen.shift(screen.random_area(500, 400), static_cast<int>(screen.random(80)) - 40, 0); return {};
    case 6: {
      const Rect from = screen.random_area(250, 200);
      const int x = static_cast<int>(screen.random(static_cast<std::uint32_t>(screen.width()))) - 50;
      const int y = static_cast<int>(screen.random(static_cast<std::uint32_t>(screen.height()))) - 50;
      screen.move_window(from, x, y, 0x336699);
      return {{from, x, y}, {{-5, -5, 40, 40}, 3000, 10}};
    }
    case 7: screen.noise(screen.random_area(3, 3), 0); return {};
    case 8: return {};
    default: screen.text(static_cast<int>(screen.random(500)), static_cast<int>(screen.random(300)), 1); return {};
  }
}

TEST(FrameEncoder, ReplaysEveryFrameOfARandomDesktopExactly) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    TestScreen screen(517 + static_cast<int>(seed) * 31, 389, seed);
    screen.photo({0, 0, 300, 389});
    EncoderConfig config = unlimited();
    config.diff_keyframe_ms = 2000;
    config.full_keyframe_ms = 9000;
    Recording recording(screen, config);
    std::size_t keyframes = 0;
    for (int i = 0; i < 150; ++i) {
      std::vector<MoveHint> hints;
      for (std::uint32_t n = 1 + screen.random(3); n > 0; --n)
        for (const MoveHint& hint : something_happens(screen)) hints.push_back(hint);
      recording.tick(i * 66, hints);
      keyframes += recording.result().keyframe;
      ASSERT_EQ(recording.result().missed_damage_pixels, 0u);
      ASSERT_TRUE(recording.exact()) << "seed " << seed << " tick " << i;
    }
    EXPECT_GE(keyframes, 4u);
    EXPECT_GT(recording.copies(), 0u);
    EXPECT_GT(recording.tiles(TileCodec::solid), 0u);
    EXPECT_GT(recording.tiles(TileCodec::palette), 0u);
    EXPECT_GT(recording.tiles(TileCodec::planar), 0u);
  }
}

TEST(FrameEncoder, SeekingFromKeyframesGivesTheSamePicturesAsPlayingThrough) {
  TestScreen screen(700, 500, 7);
  screen.photo(screen.all());
  EncoderConfig config = unlimited();
  config.diff_keyframe_ms = 1000;
  config.full_keyframe_ms = 5000;
  Recording recording(screen, config);
  recording.keep_pictures = true;
  std::vector<std::uint32_t> earlier = screen.pixels();
  for (int i = 0; i < 120; ++i) {
    if (i % 17 == 5) earlier = screen.pixels();
    if (i % 3 == 0) screen.put_back(screen.random_area(300, 200), earlier);
    recording.tick(i * 100, something_happens(screen));
  }
  EXPECT_GT(recording.restores(), 50u);

  std::vector<Record> records;
  RecordReader reader(recording.stream());
  while (auto record = *reader.next()) records.push_back(*record);
  // Each keyframe: where it starts, and the full one it needs.
  std::size_t full_begin = 0, full_end = 0, diffs = 0, fulls = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const Keyframe* keyframe = std::get_if<Keyframe>(&records[i].payload);
    if (keyframe == nullptr) continue;
    Player player;
    std::size_t frame = 0;
    if (keyframe->kind == KeyframeKind::full) {
      ++fulls;
      full_begin = i - 1;
      ASSERT_TRUE(std::get_if<ScreenSize>(&records[full_begin].payload));
      for (full_end = i; !std::get_if<FrameEnd>(&records[full_end].payload);) ++full_end;
      for (std::size_t k = full_begin; k < i; ++k) ASSERT_TRUE(player.apply(records[k]));
    } else {
      ++diffs;
      for (std::size_t k = full_begin; k <= full_end; ++k) ASSERT_TRUE(player.apply(records[k]));
    }
    for (std::size_t k = i; k < records.size(); ++k) {
      auto closed = player.apply(records[k]);
      ASSERT_TRUE(closed);
      if (!*closed) continue;
      frame = std::get<FrameEnd>(records[k].payload).number;
      ASSERT_EQ(player.picture().number, frame);
      ASSERT_EQ(player.picture().pixels, recording.pictures()[frame]) << "from record " << i << " frame " << frame;
    }
  }
  EXPECT_GE(fulls, 2u);
  EXPECT_GE(diffs, 3u);
}

TEST(FrameEncoder, WritesNothingWhenNothingChanged) {
  TestScreen screen(300, 200);
  Recording recording(screen, unlimited());
  EXPECT_FALSE(recording.update(0, {{0, 0, 50, 50}}, {}, false).frame) << "no picture to compare with yet";
  EXPECT_TRUE(recording.tick(1));
  EXPECT_TRUE(recording.result().keyframe);
  EXPECT_EQ(recording.encoder().next_frame_number(), 1u);
  const EncodeResult idle = recording.update(100, {screen.all()}, {}, false);
  EXPECT_FALSE(idle.frame);
  EXPECT_EQ(idle.bytes, 0u);
  EXPECT_FALSE(recording.encoder().wants_full_screen(100'000'000)) << "an idle screen needs no keyframe";
}

TEST(FrameEncoder, CountsAndRepairsDamageNobodyReported) {
  TestScreen screen(300, 200);
  EncoderConfig config = unlimited();
  config.diff_keyframe_ms = 1000;
  Recording recording(screen, config);
  recording.tick(0);
  screen.fill({10, 10, 7, 3}, 0xff0000);
  screen.take_damage();  // lost
  for (int ms = 100; ms <= 1000; ms += 100) {
    screen.fill({200, 100, 4, 4}, static_cast<std::uint32_t>(ms));
    recording.tick(ms);
  }
  EXPECT_FALSE(recording.exact());
  ASSERT_TRUE(recording.encoder().wants_full_screen(1100));
  screen.fill({200, 100, 4, 4}, 0x123456);
  recording.tick(1100);
  EXPECT_TRUE(recording.result().keyframe);
  EXPECT_EQ(recording.result().missed_damage_pixels, 21u);
  EXPECT_TRUE(recording.exact());
}

TEST(FrameEncoder, AScrollCostsCopiesAndOneLineOfText) {
  TestScreen screen(640, 480);
  screen.fill(screen.all(), 0xffffff);
  for (int y = 40; y < 440; y += 14) screen.text(37, y, 70);
  Recording recording(screen, unlimited());
  recording.tick(0);
  for (int i = 1; i <= 20; ++i) {
    screen.shift({37, 40, 560, 400}, 0, -14);
    screen.text(37, 426, 70);
    recording.tick(i * 66);
    ASSERT_TRUE(recording.exact());
    EXPECT_LT(recording.result().bytes, 4000u) << "scroll " << i;
  }
  EXPECT_GE(recording.copies(), 20u);
  EXPECT_LE(recording.copies(), 80u);
}

TEST(FrameEncoder, AHorizontalScrollIsFound) {
  TestScreen screen(640, 480);
  screen.photo(screen.all());
  Recording recording(screen, unlimited());
  recording.tick(0);
  screen.shift({100, 50, 400, 300}, -24, 0);
  recording.tick(66);
  EXPECT_TRUE(recording.exact());
  EXPECT_GT(recording.copies(), 0u);
  EXPECT_LT(recording.result().bytes, 30'000u);
}

TEST(FrameEncoder, AWindowMoveByHintCostsAlmostNothing) {
  TestScreen screen(800, 600);
  screen.fill(screen.all(), 0x336699);
  screen.photo({100, 100, 300, 250});
  Recording recording(screen, unlimited());
  recording.tick(0);
  Rect window{100, 100, 300, 250};
  for (int i = 1; i <= 15; ++i) {
    screen.move_window(window, window.x + 13, window.y + 9, 0x336699);
    recording.tick(i * 66, {{window, window.x + 13, window.y + 9}});
    window.x += 13;
    window.y += 9;
    ASSERT_TRUE(recording.exact());
    EXPECT_LT(recording.result().bytes, 2500u);
  }
}

TEST(FrameEncoder, WhatAWindowUncoversIsReferredToInsteadOfWritten) {
  TestScreen screen(700, 500, 11);
  screen.noise(screen.all(), 0);
  const std::vector<std::uint32_t> wallpaper = screen.pixels();
  auto draw = [&](const Rect& window) {
    screen.fill(window, 0xf0f0f0);
    screen.fill({window.x, window.y, window.width, 12}, 0x203050);
  };
  // The full keyframe never saw what lies behind the window's first place: that is written once.
  Rect window{100, 80, 240, 160};
  const std::int64_t unseen = window.area();
  draw(window);
  EncoderConfig config = unlimited();
  config.diff_keyframe_ms = 2000;
  Recording recording(screen, config);
  recording.tick(0);
  std::int64_t bytes = 0, uncovered = 0;
  for (int i = 1; i < 80; ++i) {
    const Rect from = window;
    if (i % 10 == 0) window.width += i % 20 == 0 ? -30 : 30;
    window.x += i / 20 % 2 == 0 ? 13 : -13;
    window.y += i / 20 % 2 == 0 ? 7 : -7;
    screen.put_back(from, wallpaper);
    draw(window);
    uncovered += from.area() - intersect(from, window).area();
    recording.tick(i * 66, {{from, window.x, window.y}});
    ASSERT_TRUE(recording.exact()) << "tick " << i;
    if (!recording.result().keyframe) bytes += static_cast<std::int64_t>(recording.result().bytes);
  }
  EXPECT_GT(recording.restores(), 100u);
  EXPECT_GT(uncovered, 5 * unseen);
  // Three bytes a pixel of noise, once after each of the three keyframes, and 500 bytes a frame.
  EXPECT_LT(bytes, 3 * 3 * unseen + 80 * 500);
}

TEST(FrameEncoder, AWrongHintChangesNothing) {
  TestScreen screen(400, 300);
  screen.photo(screen.all());
  Recording recording(screen, unlimited());
  recording.tick(0);
  screen.photo({50, 50, 200, 200}, 9);
  recording.tick(66, {{{0, 0, 200, 200}, 50, 50}, {{2'000'000'000, -2'000'000'000, 5, 5}, -2'000'000'000, 7}, {{0, 0, -5, 9}, 3, 3}});
  EXPECT_TRUE(recording.exact());
}

TEST(FrameEncoder, ResizeAndRestartGiveFullKeyframes) {
  TestScreen small(300, 200), large(500, 400);
  Recording recording(small, unlimited());
  recording.tick(0);
  recording.encoder().restart();
  ASSERT_TRUE(recording.encoder().wants_full_screen(10));
  recording.update(10, {small.all()}, {}, true);
  EXPECT_TRUE(recording.result().keyframe);
  EXPECT_EQ(recording.result().number, 1u);

  Bytes stream;
  FrameEncoder encoder(unlimited());
  encoder.set_next_frame_number(41);
  encoder.resize(300, 200, 0, stream);
  encoder.update(0, small.views({small.all()}), {}, true, stream);
  encoder.resize(500, 400, 5, stream);
  large.photo(large.all());
  // The screen may come in bands.
  encoder.update(6, large.views({{0, 0, 500, 130}, {0, 130, 500, 270}}), {}, true, stream);
  Player player;
  RecordReader reader(stream);
  std::vector<std::uint32_t> numbers;
  while (auto record = *reader.next())
    if (*player.apply(*record)) numbers.push_back(player.picture().number);
  EXPECT_EQ(numbers, (std::vector<std::uint32_t>{41, 42}));
  EXPECT_EQ(player.picture().pixels, large.pixels());
  EXPECT_THROW(encoder.resize(0, 10, 7, stream), Error);
  EXPECT_THROW(encoder.resize(20000, 10, 7, stream), Error);
}

TEST(FrameEncoder, FilmIsSlowedToItsBudgetWhileTypingIsNot) {
  TestScreen screen(640, 480);
  screen.photo(screen.all());
  EncoderConfig config = unlimited();
  config.max_rate = 200'000;
  Recording recording(screen, config);
  recording.tick(0);
  const Rect film{64, 64, 256, 192};
  std::size_t bytes = 0, film_frames = 0;
  std::int64_t last_film = 0, longest = 0;
  for (std::int64_t ms = 66; ms < 20'000; ms += 66) {
    screen.noise(film, 0);
    screen.text(400, 300, 3);
    recording.tick(ms);
    bytes += recording.result().bytes;
    const std::vector<std::uint32_t>& shown = recording.player().picture().pixels;
    auto differs = [&](const Rect& r) {
      for (int y = r.y; y < r.bottom(); ++y)
        for (int x = r.x; x < r.right(); ++x)
          if (shown[static_cast<std::size_t>(y * 640 + x)] != screen.at(x, y)) return true;
      return false;
    };
    ASSERT_FALSE(differs({400, 300, 24, 12})) << "typing must never wait, at " << ms;
    if (!differs(film)) {
      ++film_frames;
      longest = std::max(longest, ms - last_film);
      last_film = ms;
    }
  }
  EXPECT_LT(bytes, 200'000u * 24);
  EXPECT_GE(film_frames, 20u);
  EXPECT_LE(longest, 2100);

  // Once the film stops, what was held back follows.
  for (std::int64_t ms = 20'000; ms < 23'000; ms += 66) recording.tick(ms);
  EXPECT_TRUE(recording.exact());
  EXPECT_EQ(recording.encoder().deferred_due_ms(), 0);
  EXPECT_TRUE(recording.encoder().deferred_areas().empty());
}

TEST(FrameEncoder, ModerateFilmRunsAtTwoToFourFramesASecond) {
  TestScreen screen(320, 240);
  EncoderConfig config = unlimited();
  config.max_rate = 200'000;
  Recording recording(screen, config);
  recording.tick(0);
  std::size_t frames = 0;
  for (std::int64_t ms = 66; ms < 20'000; ms += 66) {
    screen.noise({64, 64, 128, 128}, 0);
    frames += recording.tick(ms) && ms > 10'000;
  }
  EXPECT_GE(frames, 20u);
  EXPECT_LE(frames, 45u);
}

TEST(FrameEncoder, JpegTilesAreFlaggedAndRepairedOnceStill) {
  TestScreen screen(320, 240);
  EncoderConfig config = unlimited();
  config.max_rate = 20'000;
  config.jpeg_for_hot_tiles = true;
  Recording recording(screen, config);
  recording.tick(0);
  bool lossy = false;
  int phase = 0;
  for (std::int64_t ms = 66; ms < 5'000; ms += 66) {
    screen.photo({70, 70, 150, 120}, ++phase);
    recording.tick(ms);
    lossy |= recording.player().picture().lossy;
  }
  EXPECT_TRUE(lossy);
  EXPECT_GT(recording.tiles(TileCodec::jpeg), 10u);
  for (std::int64_t ms = 5'000; ms < 10'000; ms += 66) recording.tick(ms);
  EXPECT_TRUE(recording.exact());
  EXPECT_FALSE(recording.player().picture().lossy);
  EXPECT_EQ(recording.encoder().deferred_due_ms(), 0);
}

TEST(FrameEncoder, UnderATightBudgetEveryDigestHoldsAndTheScreenSettles) {
  for (const bool jpeg : {false, true}) {
    TestScreen screen(500, 350, jpeg ? 21 : 22);
    screen.photo(screen.all());
    EncoderConfig config = unlimited();
    config.max_rate = 20'000;
    config.jpeg_for_hot_tiles = jpeg;
    config.diff_keyframe_ms = 3000;
    Recording recording(screen, config);
    for (int i = 0; i < 200; ++i) {
      const std::vector<MoveHint> hints = something_happens(screen);
      screen.photo({130, 70, 200, 150}, i);
      recording.tick(i * 66, hints);
    }
    for (int i = 200; i < 300; ++i) recording.tick(i * 66);
    EXPECT_TRUE(recording.exact());
    EXPECT_EQ(recording.encoder().deferred_due_ms(), 0);
    EXPECT_EQ(recording.tiles(TileCodec::jpeg) > 0, jpeg);
  }
}

TEST(FrameEncoder, GrabsThatDisagreeWhereTheyOverlapStillReplayAsRecorded) {
  // Grabs are taken one after the other from a living screen.
  TestScreen earlier(400, 300, 31), later(400, 300, 32);
  earlier.photo(earlier.all());
  Recording recording(earlier, unlimited());
  recording.tick(0);
  for (int i = 1; i < 60; ++i) {
    earlier.shift({20, 20, 350, 250}, 0, -7);
    later = earlier;
    const std::vector<MoveHint> hints = something_happens(later);
    later.shift({20, 20, 350, 250}, 0, -3);
    std::vector<PixelView> grabs = earlier.views({{0, 0, 300, 300}});
    for (const PixelView& view : later.views({{100, 50, 300, 200}, {90, 100, 20, 20}})) grabs.push_back(view);
    recording.update_from(i * 66, grabs, hints);  // checks the digest
    std::swap(earlier, later);
  }
}

TEST(FrameEncoder, AFullUpdateThatDoesNotCoverTheScreenIsNoKeyframe) {
  TestScreen screen(300, 200);
  Recording recording(screen, unlimited());
  EXPECT_FALSE(recording.update(0, {{0, 0, 300, 199}}, {}, true).frame);
  EXPECT_TRUE(recording.encoder().wants_full_screen(0));
}

TEST(FrameEncoder, ADiffKeyframeNearlyAsLargeAsAFullOneBecomesFull) {
  TestScreen screen(320, 240);
  EncoderConfig config = unlimited();
  config.diff_keyframe_ms = 1000;
  Recording recording(screen, config);
  recording.keep_pictures = true;
  screen.photo(screen.all());
  recording.tick(0);
  for (std::int64_t ms = 500; ms <= 2000; ms += 500) {
    screen.photo(screen.all(), static_cast<int>(ms));
    recording.tick(ms);
  }
  RecordReader reader(recording.stream());
  int fulls = 0, diffs = 0;
  while (auto record = *reader.next())
    if (const Keyframe* keyframe = std::get_if<Keyframe>(&record->payload)) ++(keyframe->kind == KeyframeKind::full ? fulls : diffs);
  EXPECT_GE(fulls, 2);
  EXPECT_EQ(diffs, 0);
}

}  // namespace
}  // namespace lucid::recording
