#include "lib/recording/tile_codec.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "lib/recording/tile_jpeg.hpp"

namespace lucid::recording {
namespace {

constexpr int kMaxColours = 16;
constexpr std::uint32_t kPixelMask = 0x00ffffff;

std::uint8_t red(std::uint32_t p) { return static_cast<std::uint8_t>(p >> 16); }
std::uint8_t green(std::uint32_t p) { return static_cast<std::uint8_t>(p >> 8); }
std::uint8_t blue(std::uint32_t p) { return static_cast<std::uint8_t>(p); }
std::uint32_t pixel(unsigned r, unsigned g, unsigned b) { return (r & 0xff) << 16 | (g & 0xff) << 8 | (b & 0xff); }
void put_colour(Bytes& out, std::uint32_t p) {
  out.push_back(red(p));
  out.push_back(green(p));
  out.push_back(blue(p));
}
int bits_for(int colours) { return colours <= 2 ? 1 : colours <= 4 ? 2 : 4; }

// At most 16 colours in order of first appearance, in a small open hash table.
class Palette {
 public:
  // The colour's index, or -1 when it would be the seventeenth.
  int index(std::uint32_t colour) {
    for (std::uint32_t slot = colour * 0x9e3779b1u >> 26;; slot = (slot + 1) & 63) {
      std::uint8_t entry = slots_[slot];
      if (entry == 0) {
        if (count_ == kMaxColours) return -1;
        colours_[static_cast<std::size_t>(count_)] = colour;
        slots_[slot] = static_cast<std::uint8_t>(++count_);
        return count_ - 1;
      }
      if (colours_[entry - 1u] == colour) return entry - 1;
    }
  }
  int count() const { return count_; }
  std::uint32_t colour(int i) const { return colours_[static_cast<std::size_t>(i)]; }

 private:
  std::array<std::uint8_t, 64> slots_{};  // index + 1, 0: free
  std::array<std::uint32_t, kMaxColours> colours_{};
  int count_ = 0;
};

// Fills `palette`, and `indices` (row after row) when given; false when there are more than 16 colours.
bool collect(Palette& palette, std::uint8_t* indices, const std::uint32_t* pixels, std::size_t stride, int width, int height) {
  std::uint32_t last = ~0u;
  int index = 0;
  for (int y = 0; y < height; ++y, pixels += stride) {
    for (int x = 0; x < width; ++x) {
      if (pixels[x] != last) {
        last = pixels[x];
        index = palette.index(last);
        if (index < 0) return false;
      }
      if (indices != nullptr) *indices++ = static_cast<std::uint8_t>(index);
    }
  }
  return true;
}

void pack(Bytes& out, const Palette& palette, const std::uint8_t* indices, int width, int height) {
  out.push_back(static_cast<std::uint8_t>(palette.count()));
  for (int i = 0; i < palette.count(); ++i) put_colour(out, palette.colour(i));
  const int bits = bits_for(palette.count());
  for (int y = 0; y < height; ++y) {
    unsigned byte = 0;
    int used = 0;
    for (int x = 0; x < width; ++x) {
      byte |= unsigned{*indices++} << used;
      used += bits;
      if (used == 8) {
        out.push_back(static_cast<std::uint8_t>(byte));
        byte = 0;
        used = 0;
      }
    }
    if (used > 0) out.push_back(static_cast<std::uint8_t>(byte));
  }
}

// Three planes G, B-G, R-G; each value minus its left neighbour, the first of a row minus the first of the row above.
void planar(Bytes& out, const std::uint32_t* pixels, std::size_t stride, int width, int height) {
  const std::size_t plane = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  out.resize(plane * 3);
  std::uint8_t* g_out = out.data();
  std::uint8_t* b_out = g_out + plane;
  std::uint8_t* r_out = b_out + plane;
  // 65 entries: the left neighbour of column 0 stands in entry 0.
  std::array<std::uint8_t, 65> g{}, b{}, r{};
  for (int y = 0; y < height; ++y, pixels += stride) {
    for (int x = 0; x < width; ++x) {
      std::uint32_t p = pixels[x];
      g[static_cast<std::size_t>(x) + 1] = green(p);
      b[static_cast<std::size_t>(x) + 1] = static_cast<std::uint8_t>(blue(p) - green(p));
      r[static_cast<std::size_t>(x) + 1] = static_cast<std::uint8_t>(red(p) - green(p));
    }
    for (std::size_t x = 0; x < static_cast<std::size_t>(width); ++x) g_out[x] = static_cast<std::uint8_t>(g[x + 1] - g[x]);
    for (std::size_t x = 0; x < static_cast<std::size_t>(width); ++x) b_out[x] = static_cast<std::uint8_t>(b[x + 1] - b[x]);
    for (std::size_t x = 0; x < static_cast<std::size_t>(width); ++x) r_out[x] = static_cast<std::uint8_t>(r[x + 1] - r[x]);
    g_out += width;
    b_out += width;
    r_out += width;
    g[0] = g[1];
    b[0] = b[1];
    r[0] = r[1];
  }
}

void interleaved(Bytes& out, const std::uint32_t* pixels, std::size_t stride, int width, int height) {
  out.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  std::uint8_t* at = out.data();
  for (int y = 0; y < height; ++y, pixels += stride)
    for (int x = 0; x < width; ++x, at += 3) {
      at[0] = red(pixels[x]);
      at[1] = green(pixels[x]);
      at[2] = blue(pixels[x]);
    }
}

Error bad_tile(const char* why) { return Error(ErrorKind::malformed, std::string("tile: ") + why); }

Expected<void> unpack(ByteView data, std::uint32_t* out, std::size_t stride, int width, int height) {
  const int colours = data.empty() ? 0 : data[0];
  if (colours < 2 || colours > kMaxColours) return std::unexpected(bad_tile("palette of fewer than 2 or more than 16 colours"));
  const int bits = bits_for(colours);
  const std::size_t row_bytes = (static_cast<std::size_t>(width * bits) + 7) / 8;
  const std::size_t head = 1 + static_cast<std::size_t>(colours) * 3;
  if (data.size() != head + row_bytes * static_cast<std::size_t>(height))
    return std::unexpected(bad_tile("palette data of a wrong length"));
  std::array<std::uint32_t, kMaxColours> palette{};
  for (int i = 0; i < colours; ++i) {
    const std::uint8_t* p = data.data() + 1 + i * 3;
    palette[static_cast<std::size_t>(i)] = pixel(p[0], p[1], p[2]);
  }
  const std::uint8_t* row = data.data() + head;
  const unsigned mask = (1u << bits) - 1;
  for (int y = 0; y < height; ++y, row += row_bytes, out += stride)
    for (int x = 0; x < width; ++x) {
      unsigned index = unsigned{row[x * bits / 8]} >> (x * bits % 8) & mask;
      if (index >= static_cast<unsigned>(colours)) return std::unexpected(bad_tile("colour outside the palette"));
      out[x] = palette[index];
    }
  return {};
}

void from_planar(const std::uint8_t* g, std::uint32_t* out, std::size_t stride, int width, int height) {
  const std::size_t plane = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  const std::uint8_t* b = g + plane;
  const std::uint8_t* r = b + plane;
  unsigned g_first = 0, b_first = 0, r_first = 0;
  for (int y = 0; y < height; ++y, out += stride) {
    unsigned gv = g_first, bv = b_first, rv = r_first;
    for (int x = 0; x < width; ++x) {
      gv += *g++;
      bv += *b++;
      rv += *r++;
      out[x] = pixel(rv + gv, gv, bv + gv);
      if (x == 0) {
        g_first = gv;
        b_first = bv;
        r_first = rv;
      }
    }
  }
}

}  // namespace

struct TileCoder::Jpeg : JpegCodec {};

TileCoder::TileCoder() = default;
TileCoder::~TileCoder() = default;
TileCoder::TileCoder(TileCoder&&) noexcept = default;
TileCoder& TileCoder::operator=(TileCoder&&) noexcept = default;

bool TileCoder::has_many_colours(const std::uint32_t* pixels, std::size_t stride, int width, int height) {
  Palette palette;
  return !collect(palette, nullptr, pixels, stride, width, height);
}

TileCoder::Encoded TileCoder::encode(const std::uint32_t* pixels, std::size_t stride, int width, int height, ManyColours many) {
  std::array<std::uint8_t, 64 * 64> indices;
  Palette palette;
  scratch_.clear();
  if (collect(palette, indices.data(), pixels, stride, width, height)) {
    if (palette.count() == 1) {
      put_colour(scratch_, palette.colour(0));
      return {TileCodec::solid, scratch_};
    }
    // A handful of pixels is smaller as it is than behind its palette.
    const std::size_t packed = 1 + 3 * static_cast<std::size_t>(palette.count()) +
                               (static_cast<std::size_t>(width * bits_for(palette.count())) + 7) / 8 * static_cast<std::size_t>(height);
    if (packed < static_cast<std::size_t>(width * height) * 3) {
      pack(scratch_, palette, indices.data(), width, height);
      return {TileCodec::palette, scratch_};
    }
  }
  if (many == ManyColours::rgb) {
    interleaved(scratch_, pixels, stride, width, height);
    return {TileCodec::rgb, scratch_};
  }
  planar(scratch_, pixels, stride, width, height);
  return {TileCodec::planar, scratch_};
}

TileCoder::Encoded TileCoder::encode_jpeg(std::uint32_t* pixels, std::size_t stride, int width, int height) {
  if (!jpeg_) jpeg_ = std::make_unique<Jpeg>();
  scratch_ = jpeg_->compress(pixels, stride, width, height);
  if (auto done = decode_jpeg(scratch_, width, height, pixels, stride); !done) throw done.error();
  return {TileCodec::jpeg, scratch_};
}

Expected<void> TileCoder::decode_jpeg(ByteView data, int width, int height, std::uint32_t* out, std::size_t stride) {
  if (!jpeg_) jpeg_ = std::make_unique<Jpeg>();
  if (auto done = jpeg_->expand(data, width, height, out, stride); !done) return done;
  for (int y = 0; y < height; ++y, out += stride)
    for (int x = 0; x < width; ++x) out[x] &= kPixelMask;
  return {};
}

Expected<void> TileCoder::decode(const Tile& tile, std::uint32_t* out, std::size_t stride) {
  const int width = tile.area.width, height = tile.area.height;
  const ByteView data = tile.data;
  const std::size_t raw = static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3;
  switch (tile.codec) {
    case TileCodec::solid:
      if (data.size() != 3) return std::unexpected(bad_tile("solid data of a wrong length"));
      for (int y = 0; y < height; ++y, out += stride) std::fill_n(out, width, pixel(data[0], data[1], data[2]));
      return {};
    case TileCodec::palette: return unpack(data, out, stride, width, height);
    case TileCodec::planar:
      if (data.size() != raw) return std::unexpected(bad_tile("planar data of a wrong length"));
      from_planar(data.data(), out, stride, width, height);
      return {};
    case TileCodec::rgb: {
      if (data.size() != raw) return std::unexpected(bad_tile("rgb data of a wrong length"));
      const std::uint8_t* at = data.data();
      for (int y = 0; y < height; ++y, out += stride)
        for (int x = 0; x < width; ++x, at += 3) out[x] = pixel(at[0], at[1], at[2]);
      return {};
    }
    case TileCodec::jpeg: return decode_jpeg(data, width, height, out, stride);
  }
  return std::unexpected(bad_tile("unknown codec"));
}

}  // namespace lucid::recording
