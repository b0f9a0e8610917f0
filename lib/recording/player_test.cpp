#include "lib/recording/player.hpp"

#include <gtest/gtest.h>

#include "lib/recording/frame_encoder.hpp"
#include "lib/recording/test_screen.hpp"

namespace lucid::recording {
namespace {

using test::TestScreen;

Tile solid(Rect area, std::uint8_t grey) { return {area, TileCodec::solid, {grey, grey, grey}}; }

// A player showing frame `number` of an 8x8 screen, all `grey`.
Player showing(std::uint32_t number, std::uint8_t grey) {
  Player player;
  EXPECT_TRUE(player.apply({0, ScreenSize{8, 8, 24}}));
  EXPECT_TRUE(player.apply({0, Keyframe{KeyframeKind::full, number}}));
  EXPECT_TRUE(player.apply({0, solid({0, 0, 8, 8}, grey)}));
  EXPECT_TRUE(*player.apply({0, FrameEnd{number, false, {}}}));
  return player;
}

TEST(Player, IgnoresPicturesBeforeItsFirstKeyframe) {
  Player player;
  EXPECT_FALSE(*player.apply({0, solid({0, 0, 1, 1}, 1)}));
  EXPECT_FALSE(*player.apply({0, Copy{{0, 0, 1, 1}, 1, 1}}));
  EXPECT_FALSE(*player.apply({0, FrameEnd{5, false, {}}}));
  EXPECT_FALSE(player.has_picture());
  EXPECT_FALSE(player.apply({0, Keyframe{}})) << "a keyframe without a screen size";
}

TEST(Player, CopiesReadThePictureBeforeTheFrame) {
  Player player = showing(0, 0);
  EXPECT_FALSE(*player.apply({1, solid({0, 0, 1, 1}, 9)}));
  EXPECT_TRUE(*player.apply({1, FrameEnd{1, false, {}}}));
  // Two copies in a chain: the second must not see what the first wrote.
  ASSERT_TRUE(player.apply({2, Copy{{0, 0, 1, 1}, 1, 0}}));
  ASSERT_TRUE(player.apply({2, Copy{{1, 0, 1, 1}, 2, 0}}));
  EXPECT_TRUE(*player.apply({2, FrameEnd{2, false, {}}}));
  EXPECT_EQ(player.picture().pixels[1], 0x090909u);
  EXPECT_EQ(player.picture().pixels[2], 0u);
  EXPECT_EQ(player.picture().ms, 2);
}

TEST(Player, ARestorePutsBackTheLastFullKeyframe) {
  Player player;
  EXPECT_FALSE(*player.apply({0, Restore{RestoreFrom::full_keyframe, {0, 0, 1, 1}}})) << "before any picture";
  player = showing(0, 5);
  ASSERT_TRUE(player.apply({1, solid({0, 0, 8, 8}, 7)}));
  EXPECT_TRUE(*player.apply({1, FrameEnd{1, false, {}}}));
  // A diff keyframe is not what is put back.
  ASSERT_TRUE(player.apply({2, Keyframe{KeyframeKind::diff, 0}}));
  ASSERT_TRUE(player.apply({2, solid({0, 0, 8, 8}, 7)}));
  EXPECT_TRUE(*player.apply({2, FrameEnd{2, false, {}}}));
  ASSERT_TRUE(player.apply({3, Restore{RestoreFrom::full_keyframe, {1, 0, 2, 2}}}));
  ASSERT_TRUE(player.apply({3, solid({2, 1, 1, 1}, 9)}));
  EXPECT_TRUE(*player.apply({3, FrameEnd{3, false, {}}}));
  EXPECT_EQ(player.picture().pixels[0], 0x070707u);
  EXPECT_EQ(player.picture().pixels[1], 0x050505u);
  EXPECT_EQ(player.picture().pixels[9], 0x050505u);
  EXPECT_EQ(player.picture().pixels[10], 0x090909u);
  EXPECT_EQ(player.picture().pixels[11], 0x070707u);
}

TEST(Player, ARestoreOfWhatIsKeptPutsBackThePlanarTilesSinceTheLastKeyframe) {
  auto planar = [](Rect area, std::uint8_t green) { return Tile{area, TileCodec::planar, {green, 0, 0}}; };
  Player player = showing(0, 5);
  ASSERT_TRUE(player.apply({1, planar({1, 0, 1, 1}, 9)}));
  ASSERT_TRUE(player.apply({1, solid({2, 0, 1, 1}, 9)}));
  EXPECT_TRUE(*player.apply({1, FrameEnd{1, false, {}}}));
  ASSERT_TRUE(player.apply({2, solid({0, 0, 8, 8}, 7)}));
  ASSERT_TRUE(player.apply({2, Restore{RestoreFrom::kept, {0, 0, 3, 1}}}));
  EXPECT_TRUE(*player.apply({2, FrameEnd{2, false, {}}}));
  EXPECT_EQ(player.picture().pixels[0], 0x050505u) << "nothing was kept there: the full keyframe";
  EXPECT_EQ(player.picture().pixels[1], 0x090909u);
  EXPECT_EQ(player.picture().pixels[2], 0x050505u) << "solid tiles are not kept";
  EXPECT_EQ(player.picture().pixels[3], 0x070707u);
  ASSERT_TRUE(player.apply({3, Keyframe{KeyframeKind::diff, 0}}));
  ASSERT_TRUE(player.apply({3, planar({3, 0, 1, 1}, 9)}));
  EXPECT_TRUE(*player.apply({3, FrameEnd{3, false, {}}}));
  ASSERT_TRUE(player.apply({4, Restore{RestoreFrom::kept, {0, 0, 8, 8}}}));
  EXPECT_TRUE(*player.apply({4, FrameEnd{4, false, {}}}));
  EXPECT_EQ(player.picture().pixels[1], 0x050505u) << "a keyframe forgets what was kept";
  EXPECT_EQ(player.picture().pixels[3], 0x050505u) << "and its own tiles are not kept";
}

TEST(Player, AMissingFrameHidesThePictureUntilAKeyframe) {
  Player player = showing(10, 1);
  ASSERT_TRUE(player.apply({1, solid({0, 0, 8, 8}, 2)}));
  EXPECT_FALSE(*player.apply({1, FrameEnd{12, false, {}}})) << "frame 11 never came";
  EXPECT_FALSE(player.has_picture());
  EXPECT_FALSE(*player.apply({1, FrameEnd{13, false, {}}}));
  ASSERT_TRUE(player.apply({2, Keyframe{KeyframeKind::diff, 9}}));
  EXPECT_FALSE(*player.apply({2, FrameEnd{14, false, {}}})) << "another base";
  ASSERT_TRUE(player.apply({3, Keyframe{KeyframeKind::diff, 10}}));
  ASSERT_TRUE(player.apply({3, solid({0, 0, 1, 1}, 3)}));
  EXPECT_TRUE(*player.apply({3, FrameEnd{15, true, {}}}));
  EXPECT_TRUE(player.has_picture());
  EXPECT_TRUE(player.picture().lossy);
  EXPECT_EQ(player.picture().pixels[0], 0x030303u);
  EXPECT_EQ(player.picture().pixels[1], 0x010101u);
}

TEST(Player, HostilePictureRecordsAreErrorsAndHideThePicture) {
  const std::vector<Payload> hostile = {solid({7, 7, 2, 1}, 1),
                                        solid({-1, 0, 1, 1}, 1),
                                        solid({0, 0, 0, 1}, 1),
                                        solid({2'000'000'000, 0, 1'000'000'000, 1}, 1),
                                        Copy{{0, 0, 9, 1}, 0, 0},
                                        Copy{{0, 0, 1, 1}, 8, 0},
                                        Copy{{0, 0, 1, 1}, 0, -1},
                                        Copy{{3, 3, 0, 0}, 0, 0},
                                        Restore{RestoreFrom::full_keyframe, {0, 0, 9, 1}},
                                        Restore{RestoreFrom::full_keyframe, {0, -1, 1, 1}},
                                        Restore{RestoreFrom::full_keyframe, {3, 3, 0, 0}},
                                        Tile{{0, 0, 1, 1}, TileCodec::solid, {}},
                                        Tile{{0, 0, 4, 4}, TileCodec::palette, {}},
                                        Tile{{0, 0, 4, 4}, TileCodec::palette, {17, 1, 1}},
                                        Tile{{0, 0, 4, 4}, TileCodec::planar, Bytes(47)},
                                        Tile{{0, 0, 4, 4}, TileCodec::rgb, Bytes(49)},
                                        Tile{{0, 0, 8, 8}, TileCodec::jpeg, Bytes(100, 0xff)},
                                        Tile{{0, 0, 8, 8}, static_cast<TileCodec>(99), Bytes(100)},
                                        Tile{{0, 0, 2, 1}, TileCodec::palette, {3, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0x0f}}};
  for (const Payload& payload : hostile) {
    Player player = showing(0, 5);
    auto result = player.apply({1, payload});
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind(), ErrorKind::malformed);
    EXPECT_FALSE(player.has_picture());
  }
  Player player = showing(0, 5);
  ASSERT_TRUE(player.apply({1, solid({0, 0, 1, 1}, 1)}));
  EXPECT_FALSE(player.apply({1, Copy{{0, 0, 1, 1}, 1, 1}})) << "a copy after a tile";
  player = showing(0, 5);
  ASSERT_TRUE(player.apply({1, Restore{RestoreFrom::full_keyframe, {0, 0, 1, 1}}}));
  EXPECT_FALSE(player.apply({1, Copy{{0, 0, 1, 1}, 1, 1}})) << "a copy after a restore";
  player = showing(0, 5);
  ASSERT_TRUE(player.apply({1, Keyframe{KeyframeKind::diff, 0}}));
  EXPECT_FALSE(player.apply({1, Restore{RestoreFrom::full_keyframe, {0, 0, 1, 1}}})) << "a restore in a keyframe";
  player = showing(0, 5);
  ASSERT_TRUE(player.apply({1, Keyframe{}}));
  ASSERT_TRUE(player.apply({1, solid({0, 0, 8, 7}, 1)}));
  EXPECT_FALSE(player.apply({1, FrameEnd{1, false, {}}})) << "a full keyframe with a hole";
}

TEST(Player, CursorAndEventsDoNotTouchThePicture) {
  Player player = showing(3, 5);
  EXPECT_FALSE(*player.apply({4, CursorPosition{7, 8, true}}));
  EXPECT_FALSE(*player.apply({4, CursorShape{1, 1, 0, 0, {1, 2, 3, 4}}}));
  EXPECT_FALSE(*player.apply({4, Key{}}));
  EXPECT_EQ(player.cursor().x, 7);
  EXPECT_EQ(player.cursor_shape().argb.size(), 4u);
  EXPECT_TRUE(player.has_picture());
  EXPECT_FALSE(*player.apply({5, ScreenSize{8, 8, 24}})) << "the same size again changes nothing";
  EXPECT_TRUE(player.has_picture());
  EXPECT_FALSE(*player.apply({5, ScreenSize{9, 8, 24}}));
  EXPECT_FALSE(player.has_picture());
}

TEST(FrameDigest, IsTheSha256OfTheRgbBytes) {
  EXPECT_EQ(to_hex(frame_digest({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  // sha256 of the bytes 01 02 03
  const std::uint32_t one = 0x010203;
  EXPECT_EQ(to_hex(frame_digest({&one, 1})), "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81");
}

}  // namespace
}  // namespace lucid::recording
