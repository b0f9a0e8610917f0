// Where two images of one tile differ. The comparison runs for every damaged tile of every frame, so it exists for
// AVX2, SSE2 and NEON beside a plain form; all give the same answer (tested) and the best the machine has is chosen
// once. Pure; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "lib/base/geometry.hpp"

namespace lucid::recording {

struct TileDifference {
  Rect area;                 // smallest rectangle holding every differing pixel, relative to the tile; empty when equal
  std::uint32_t pixels = 0;  // how many differ
};

// Strides count pixels; width and height are at most 64.
using TileDifferenceFn = TileDifference (*)(const std::uint32_t* a, std::size_t a_stride, const std::uint32_t* b, std::size_t b_stride,
                                            int width, int height);
TileDifference tile_difference(const std::uint32_t* a, std::size_t a_stride, const std::uint32_t* b, std::size_t b_stride, int width,
                               int height);

// The changes of a tile as one rectangle, or as two (the second empty otherwise) where that leaves out much that did not
// change: the L a moved window uncovers, two lines of text far apart.
std::array<Rect, 2> changed_parts(const std::uint32_t* a, std::size_t a_stride, const std::uint32_t* b, std::size_t b_stride, int width,
                                  int height);

struct TileDifferenceVariant {
  const char* name;
  TileDifferenceFn run;
};
// Every form this machine can run, best first; the plain one is last.
std::span<const TileDifferenceVariant> tile_difference_variants();

}  // namespace lucid::recording
