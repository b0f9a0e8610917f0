#include "lib/recording/tile_codec.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>

#include "lib/crypto/hash.hpp"
#include "lib/recording/frame_encoder.hpp"
#include "lib/recording/test_screen.hpp"
#include "lib/recording/tile_diff.hpp"

namespace lucid::recording {
namespace {

using test::TestScreen;

TEST(TileCodec, DecodesWhatItEncodesForEverySizeAndNumberOfColours) {
  TileCoder coder;
  TestScreen screen(64, 64, 5);
  std::set<TileCodec> seen;
  for (std::uint32_t colours : {1u, 2u, 3u, 4u, 5u, 16u, 17u, 200u, 0u})
    for (int width : {1, 2, 3, 7, 8, 9, 31, 64})
      for (int height : {1, 2, 13, 64})
        for (ManyColours many : {ManyColours::planar, ManyColours::rgb}) {
          screen.noise(screen.all(), colours);
          const auto encoded = coder.encode(screen.pixels().data(), 64, width, height, many);
          seen.insert(encoded.codec);
          const Tile tile{{0, 0, width, height}, encoded.codec, Bytes(encoded.data.begin(), encoded.data.end())};
          std::vector<std::uint32_t> out(64 * 64, 0xdeadbeef);
          ASSERT_TRUE(coder.decode(tile, out.data(), 64));
          for (int y = 0; y < 64; ++y)
            for (int x = 0; x < 64; ++x) {
              const std::size_t i = static_cast<std::size_t>(y * 64 + x);
              ASSERT_EQ(out[i], x < width && y < height ? screen.pixels()[i] : 0xdeadbeef);
            }
        }
  EXPECT_EQ(seen, (std::set<TileCodec>{TileCodec::solid, TileCodec::palette, TileCodec::planar, TileCodec::rgb}));
}

TEST(TileCodec, ThePaletteTileOfTheFormatPageHasItsBytes) {
  TileCoder coder;
  const std::array<std::uint32_t, 6> pixels = {0xffffff, 0, 0xffffff, 0, 0, 0xffffff};
  const auto encoded = coder.encode(pixels.data(), 3, 3, 2, ManyColours::planar);
  EXPECT_EQ(encoded.codec, TileCodec::palette);
  EXPECT_EQ(to_hex(encoded.data), "02ffffff0000000203");
}

TEST(TileCodec, JpegGivesTheEncoderThePixelsAPlayerWillSee) {
  TileCoder coder, other;
  TestScreen screen(64, 64);
  screen.photo(screen.all());
  std::vector<std::uint32_t> pixels = screen.pixels();
  const auto encoded = coder.encode_jpeg(pixels.data(), 64, 50, 33);
  EXPECT_NE(pixels, screen.pixels());
  std::vector<std::uint32_t> out = screen.pixels();
  ASSERT_TRUE(other.decode({{0, 0, 50, 33}, TileCodec::jpeg, Bytes(encoded.data.begin(), encoded.data.end())}, out.data(), 64));
  EXPECT_EQ(out, pixels);
  EXPECT_FALSE(other.decode({{0, 0, 50, 32}, TileCodec::jpeg, Bytes(encoded.data.begin(), encoded.data.end())}, out.data(), 64));
}

TEST(TileDifference, EveryVariantAgreesWithAPixelByPixelComparison) {
  TestScreen screen(200, 100, 9);
  std::vector<std::uint32_t> a(200 * 100), b;
  for (int round = 0; round < 2000; ++round) {
    const int width = 1 + static_cast<int>(screen.random(64)), height = 1 + static_cast<int>(screen.random(64));
    b = a;
    const std::size_t offset = screen.random(100);
    for (std::uint32_t n = screen.random(4); n > 0; --n)
      b[offset + screen.random(static_cast<std::uint32_t>(height)) * 200 + screen.random(static_cast<std::uint32_t>(width))] ^=
          1u << screen.random(24);
    int left = 64, top = 64, right = 0, bottom = 0;
    std::uint32_t pixels = 0;
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x) {
        if (a[offset + static_cast<std::size_t>(y * 200 + x)] == b[offset + static_cast<std::size_t>(y * 200 + x)]) continue;
        left = std::min(left, x);
        top = std::min(top, y);
        right = std::max(right, x + 1);
        bottom = std::max(bottom, y + 1);
        ++pixels;
      }
    const Rect expected = pixels == 0 ? Rect{} : Rect{left, top, right - left, bottom - top};
    for (const TileDifferenceVariant& variant : tile_difference_variants()) {
      const TileDifference found = variant.run(a.data() + offset, 200, b.data() + offset, 200, width, height);
      ASSERT_EQ(found.area, expected) << variant.name;
      ASSERT_EQ(found.pixels, pixels) << variant.name;
    }
  }
}

TEST(TileDifference, PartsHoldEveryChangeAndSplitAnL) {
  std::vector<std::uint32_t> a(64 * 64), b(64 * 64);
  for (std::size_t i = 0; i < 64; ++i) {
    b[i] = 1;
    b[i * 64] = 1;
  }
  auto parts = changed_parts(a.data(), 64, b.data(), 64, 64, 64);
  EXPECT_EQ(parts[0].area() + parts[1].area(), 127);
  std::fill(b.begin(), b.end(), 2);
  parts = changed_parts(a.data(), 64, b.data(), 64, 64, 64);
  EXPECT_EQ(parts[0], (Rect{0, 0, 64, 64}));
  EXPECT_TRUE(parts[1].empty());
  EXPECT_TRUE(changed_parts(a.data(), 64, a.data(), 64, 64, 64)[0].empty());
}

TEST(FrameDigest, TheFastConversionEqualsThePlainOneForEveryLength) {
  TestScreen screen(130, 70);
  screen.noise(screen.all(), 0);
  for (std::size_t n : {0u, 1u, 7u, 8u, 9u, 15u, 4095u, 4096u, 4097u, 9100u}) {
    Bytes rgb;
    for (std::size_t i = 0; i < n; ++i)
      for (int shift : {16, 8, 0}) rgb.push_back(static_cast<std::uint8_t>(screen.pixels()[i] >> shift));
    EXPECT_EQ(frame_digest(std::span(screen.pixels()).first(n)), crypto::sha256(rgb)) << n;
  }
}

}  // namespace
}  // namespace lucid::recording
