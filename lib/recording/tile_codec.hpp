// Pixels of one tile area to bytes and back: solid, palette, planar, rgb and JPEG (byte layouts: docs/formats/
// record-stream.md). A TileCoder keeps its scratch memory and JPEG contexts: one per thread. Decoding takes bytes nobody
// vouches for.
#pragma once

#include <cstdint>
#include <memory>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"
#include "lib/base/geometry.hpp"
#include "lib/recording/records.hpp"

namespace lucid::recording {

// For tiles of more than 16 colours: planar is the smaller after zstd on desktops, rgb on moving film.
enum class ManyColours { planar, rgb };

class TileCoder {
 public:
  struct Encoded {
    TileCodec codec;
    ByteView data;  // valid until the next call
  };
  TileCoder();
  ~TileCoder();
  TileCoder(TileCoder&&) noexcept;
  TileCoder& operator=(TileCoder&&) noexcept;

  // Lossless: solid, palette or as `many` says. Width and height are 1 to 64, `stride` counts pixels.
  Encoded encode(const std::uint32_t* pixels, std::size_t stride, int width, int height, ManyColours many);
  // Whether encode() would take planar or rgb.
  static bool has_many_colours(const std::uint32_t* pixels, std::size_t stride, int width, int height);
  // JPEG of quality 75, 4:2:0; replaces the pixels by what a player will decode.
  Encoded encode_jpeg(std::uint32_t* pixels, std::size_t stride, int width, int height);
  // Writes the pixels of `tile` to `out`, whose first pixel is the tile area's top left. Error: malformed.
  Expected<void> decode(const Tile& tile, std::uint32_t* out, std::size_t stride);

 private:
  Expected<void> decode_jpeg(ByteView data, int width, int height, std::uint32_t* out, std::size_t stride);
  struct Jpeg;
  Bytes scratch_;
  std::unique_ptr<Jpeg> jpeg_;  // made when first used
};

}  // namespace lucid::recording
