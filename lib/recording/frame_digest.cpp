#include <array>

#include "lib/crypto/hash.hpp"
#include "lib/recording/frame_encoder.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lucid::recording {
namespace {

constexpr std::size_t kBlock = 4096;  // pixels converted at a time: 12 KiB, stays in the first-level cache

void to_rgb_plain(const std::uint32_t* pixels, std::size_t n, std::uint8_t* out) {
  for (std::size_t i = 0; i < n; ++i, out += 3) {
    out[0] = static_cast<std::uint8_t>(pixels[i] >> 16);
    out[1] = static_cast<std::uint8_t>(pixels[i] >> 8);
    out[2] = static_cast<std::uint8_t>(pixels[i]);
  }
}

#if defined(__x86_64__)
// Four pixels a step; each store writes 4 bytes beyond its 12, so the last pixels are left to the plain form.
[[gnu::target("ssse3")]] void to_rgb_ssse3(const std::uint32_t* pixels, std::size_t n, std::uint8_t* out) {
  const __m128i order = _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
  std::size_t i = 0;
  for (; i + 8 <= n; i += 4, out += 12) {
    __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels + i));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_shuffle_epi8(four, order));
  }
  to_rgb_plain(pixels + i, n - i, out);
}
#endif

void to_rgb(const std::uint32_t* pixels, std::size_t n, std::uint8_t* out) {
#if defined(__x86_64__)
  static const bool fast = __builtin_cpu_supports("ssse3");
  if (fast) return to_rgb_ssse3(pixels, n, out);
#endif
  to_rgb_plain(pixels, n, out);
}

}  // namespace

Hash32 frame_digest(std::span<const std::uint32_t> pixels) {
  std::array<std::uint8_t, kBlock * 3> block;
  crypto::Sha256Hasher hasher;
  for (std::size_t at = 0; at < pixels.size(); at += kBlock) {
    std::size_t n = std::min(kBlock, pixels.size() - at);
    to_rgb(pixels.data() + at, n, block.data());
    hasher.update(ByteView(block.data(), n * 3));
  }
  return hasher.finish();
}

}  // namespace lucid::recording
