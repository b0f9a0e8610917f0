#include "app/cli/png.hpp"

#include <png.h>

#include "lib/base/error.hpp"

namespace lucid::cli {

Bytes encode_png(const recording::Picture& picture) {
  Bytes rgb;
  rgb.reserve(picture.pixels.size() * 3);
  for (std::uint32_t p : picture.pixels) {
    rgb.push_back(static_cast<std::uint8_t>(p >> 16));
    rgb.push_back(static_cast<std::uint8_t>(p >> 8));
    rgb.push_back(static_cast<std::uint8_t>(p));
  }
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.width);
  image.height = static_cast<png_uint_32>(picture.height);
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  Bytes out(size);
  if (png_image_write_to_memory(&image, out.data(), &size, 0, rgb.data(), 0, nullptr) == 0)
    throw Error(ErrorKind::internal, std::string("the picture cannot be written as PNG: ") + image.message);
  out.resize(size);
  return out;
}

}  // namespace lucid::cli
