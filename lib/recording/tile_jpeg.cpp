#include "lib/recording/tile_jpeg.hpp"

#include <turbojpeg.h>

#include <bit>
#include <string>

namespace lucid::recording {
namespace {

constexpr int kQuality = 75;
static_assert(std::endian::native == std::endian::little, "0x00RRGGBB is B,G,R,X in memory");

}  // namespace

JpegCodec::JpegCodec() : compressor_(tjInitCompress()), decompressor_(tjInitDecompress()) {
  if (compressor_ == nullptr || decompressor_ == nullptr) throw Error(ErrorKind::internal, "start libjpeg-turbo: out of memory");
}
JpegCodec::~JpegCodec() {
  tjDestroy(compressor_);
  tjDestroy(decompressor_);
}

Bytes JpegCodec::compress(const std::uint32_t* pixels, std::size_t stride, int width, int height) {
  Bytes out(tjBufSize(width, height, TJSAMP_420));
  unsigned char* buffer = out.data();
  unsigned long size = out.size();
  if (tjCompress2(compressor_, reinterpret_cast<const unsigned char*>(pixels), width, static_cast<int>(stride * 4), height, TJPF_BGRX,
                  &buffer, &size, TJSAMP_420, kQuality, TJFLAG_NOREALLOC | TJFLAG_ACCURATEDCT) != 0)
    throw Error(ErrorKind::internal, std::string("compress a tile as JPEG: ") + tjGetErrorStr2(compressor_));
  out.resize(size);
  return out;
}

Expected<void> JpegCodec::expand(ByteView jpeg, int width, int height, std::uint32_t* out, std::size_t stride) {
  int is_width = 0, is_height = 0, subsampling = 0, colours = 0;
  if (tjDecompressHeader3(decompressor_, jpeg.data(), jpeg.size(), &is_width, &is_height, &subsampling, &colours) != 0 ||
      is_width != width || is_height != height)
    return std::unexpected(Error(ErrorKind::malformed, "tile: JPEG header missing or of another size"));
  // LIMITSCANS: a few kilobytes of progressive scans could otherwise keep the decoder busy for minutes.
  if (tjDecompress2(decompressor_, jpeg.data(), jpeg.size(), reinterpret_cast<unsigned char*>(out), width, static_cast<int>(stride * 4),
                    height, TJPF_BGRX, TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS | TJFLAG_STOPONWARNING) != 0)
    return std::unexpected(Error(ErrorKind::malformed, std::string("tile: JPEG: ") + tjGetErrorStr2(decompressor_)));
  return {};
}

}  // namespace lucid::recording
