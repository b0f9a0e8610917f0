#include "lib/recording/tile_diff.hpp"

#include <array>
#include <bit>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace lucid::recording {
namespace {

constexpr std::int64_t kMinSplitArea = 512;  // smaller areas are not worth a second record

// One bit per column that differs in a row.
struct Columns {
  std::uint64_t any = 0;
  int first_row = -1, last_row = -1;
  std::uint32_t pixels = 0;

  [[gnu::always_inline]] void row(int y, std::uint64_t mask) {
    if (mask == 0) return;
    any |= mask;
    if (first_row < 0) first_row = y;
    last_row = y;
    pixels += static_cast<std::uint32_t>(std::popcount(mask));
  }
  TileDifference result() const {
    if (any == 0) return {};
    int left = std::countr_zero(any), right = 64 - std::countl_zero(any);
    return {{left, first_row, right - left, last_row + 1 - first_row}, pixels};
  }
};

[[gnu::always_inline]] inline std::uint64_t plain_mask(const std::uint32_t* a, const std::uint32_t* b, int from, int width) {
  std::uint64_t mask = 0;
  for (int x = from; x < width; ++x) mask |= std::uint64_t{a[x] != b[x]} << x;
  return mask;
}

TileDifference plain(const std::uint32_t* a, std::size_t a_stride, const std::uint32_t* b, std::size_t b_stride, int width, int height) {
  Columns columns;
  for (int y = 0; y < height; ++y, a += a_stride, b += b_stride) columns.row(y, plain_mask(a, b, 0, width));
  return columns.result();
}

#if defined(__x86_64__)
[[gnu::target("avx2"), gnu::always_inline]] inline __m256i load8(const std::uint32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
[[gnu::target("avx2")]] TileDifference avx2(const std::uint32_t* a, std::size_t a_stride, const std::uint32_t* b, std::size_t b_stride,
                                            int width, int height) {
  Columns columns;
  for (int y = 0; y < height; ++y, a += a_stride, b += b_stride) {
    if (width == 64) {  // most rows are equal: find that out before making masks
      __m256i any = _mm256_xor_si256(load8(a), load8(b));
      for (int x = 8; x < 64; x += 8) any = _mm256_or_si256(any, _mm256_xor_si256(load8(a + x), load8(b + x)));
      if (_mm256_testz_si256(any, any)) continue;
    }
    std::uint64_t mask = 0;
    int x = 0;
    for (; x + 8 <= width; x += 8) {
      int equal = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(load8(a + x), load8(b + x))));
      mask |= std::uint64_t{~static_cast<unsigned>(equal) & 0xffu} << x;
    }
    columns.row(y, mask | plain_mask(a, b, x, width));
  }
  return columns.result();
}

TileDifference sse2(const std::uint32_t* a, std::size_t a_stride, const std::uint32_t* b, std::size_t b_stride, int width, int height) {
  auto load = [](const std::uint32_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); };
  Columns columns;
  for (int y = 0; y < height; ++y, a += a_stride, b += b_stride) {
    std::uint64_t mask = 0;
    int x = 0;
    for (; x + 4 <= width; x += 4) {
      int equal = _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(load(a + x), load(b + x))));
      mask |= std::uint64_t{~static_cast<unsigned>(equal) & 0xfu} << x;
    }
    columns.row(y, mask | plain_mask(a, b, x, width));
  }
  return columns.result();
}
#elif defined(__aarch64__)
TileDifference neon(const std::uint32_t* a, std::size_t a_stride, const std::uint32_t* b, std::size_t b_stride, int width, int height) {
  Columns columns;
  const uint16x4_t bits = {1, 2, 4, 8};
  for (int y = 0; y < height; ++y, a += a_stride, b += b_stride) {
    std::uint64_t mask = 0;
    int x = 0;
    for (; x + 4 <= width; x += 4) {
      uint16x4_t differ = vmovn_u32(vmvnq_u32(vceqq_u32(vld1q_u32(a + x), vld1q_u32(b + x))));
      mask |= std::uint64_t{vaddv_u16(vand_u16(differ, bits))} << x;
    }
    columns.row(y, mask | plain_mask(a, b, x, width));
  }
  return columns.result();
}
#endif

std::vector<TileDifferenceVariant> variants() {
  std::vector<TileDifferenceVariant> out;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) out.push_back({"avx2", avx2});
  out.push_back({"sse2", sse2});
#elif defined(__aarch64__)
  out.push_back({"neon", neon});
#endif
  out.push_back({"plain", plain});
  return out;
}

}  // namespace

std::span<const TileDifferenceVariant> tile_difference_variants() {
  static const std::vector<TileDifferenceVariant> all = variants();
  return all;
}

TileDifference tile_difference(const std::uint32_t* a, std::size_t a_stride, const std::uint32_t* b, std::size_t b_stride, int width,
                               int height) {
  static const TileDifferenceFn best = tile_difference_variants().front().run;
  return best(a, a_stride, b, b_stride, width, height);
}

std::array<Rect, 2> changed_parts(const std::uint32_t* a, std::size_t a_stride, const std::uint32_t* b, std::size_t b_stride, int width,
                                  int height) {
  const TileDifference whole = tile_difference(a, a_stride, b, b_stride, width, height);
  if (whole.area.area() < kMinSplitArea || whole.pixels * std::int64_t{4} > whole.area.area() * 3) return {whole.area, {}};
  std::array<std::uint64_t, 64> rows{};
  for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) rows[y] = plain_mask(a + y * a_stride, b + y * b_stride, 0, width);

  std::array<Rect, 2> best{whole.area, {}};
  std::int64_t best_area = whole.area.area() * 3 / 4;  // a split must save a quarter
  auto consider = [&](auto first_half) {
    Columns first, second;
    for (int y = 0; y < height; ++y) {
      const std::uint64_t row = rows[static_cast<std::size_t>(y)], mine = first_half(y);
      first.row(y, row & mine);
      second.row(y, row & ~mine);
    }
    const Rect one = first.result().area, two = second.result().area;
    if (one.area() + two.area() >= best_area) return;
    best_area = one.area() + two.area();
    best = {one, two};
  };
  for (int cut = 1; cut < height; ++cut) consider([cut](int y) { return y < cut ? ~std::uint64_t{0} : 0; });
  for (int cut = 1; cut < width; ++cut) consider([cut](int) { return (std::uint64_t{1} << cut) - 1; });
  return best;
}

}  // namespace lucid::recording
