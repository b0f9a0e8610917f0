// libjpeg-turbo for tiles: quality 75, 4:2:0, accurate DCT so that every build decodes alike. Private to TileCoder;
// one thread.
#pragma once

#include <cstdint>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"

namespace lucid::recording {

class JpegCodec {
 public:
  JpegCodec();
  ~JpegCodec();
  JpegCodec(const JpegCodec&) = delete;
  JpegCodec& operator=(const JpegCodec&) = delete;

  // Throws Error{internal} when the library refuses pixels it must take.
  Bytes compress(const std::uint32_t* pixels, std::size_t stride, int width, int height);
  // Refuses an image that is not exactly `width` x `height`. The top byte of each pixel is undefined. Error: malformed.
  Expected<void> expand(ByteView jpeg, int width, int height, std::uint32_t* out, std::size_t stride);

 private:
  void* compressor_;
  void* decompressor_;
};

}  // namespace lucid::recording
