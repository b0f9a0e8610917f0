#include "lib/recording/copy_finder.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "lib/recording/hot_tiles.hpp"

namespace lucid::recording {
namespace {

constexpr int kVoteStrip = 64;                  // pixels across a strip whose lines are compared by hash
constexpr int kStrip = 32;                      // pixels across a strip when verifying
constexpr std::int64_t kMinSearchArea = 16384;  // changed pixels below which a copy cannot pay for its search
constexpr std::int64_t kMinCopyArea = 512;
constexpr int kMinLines = 4;
constexpr int kMinVotes = 8;
constexpr int kMaxBackoff = 6;
constexpr std::size_t kMaxSearched = 4;  // grabs a frame
constexpr std::size_t kMaxCopies = 256;  // a frame

struct Shift {
  int dx = 0, dy = 0;
};
using Screen = CopyFinder::Screen;

const std::uint32_t* at(const Screen& s, int x, int y) {
  return s.pixels + static_cast<std::size_t>(y) * static_cast<std::size_t>(s.width) + static_cast<std::size_t>(x);
}
const std::uint32_t* at(const PixelView& v, int x, int y) {
  return v.pixels + static_cast<std::size_t>(y - v.area.y) * v.stride + static_cast<std::size_t>(x - v.area.x);
}
bool same(const std::uint32_t* a, const std::uint32_t* b, int n) { return std::memcmp(a, b, static_cast<std::size_t>(n) * 4) == 0; }

// ---- voting ---------------------------------------------------------------------------------------------------------

// A line's hash, 0 when all its pixels are equal: those lines say nothing about where they came from.
struct Line {
  std::uint64_t hash = 0;
  int position = 0;
};
std::uint64_t mix(std::uint64_t h, std::uint32_t pixel) {
  h = (h ^ pixel) * 0x9e3779b97f4a7c15u;
  return h ^ h >> 29;
}

template <class Image>
void hash_rows(std::vector<Line>& out, const Image& image, const Rect& strip) {
  for (int y = strip.y; y < strip.bottom(); ++y) {
    const std::uint32_t* row = at(image, strip.x, y);
    if (same(row, row + 1, strip.width - 1)) continue;
    // Four chains side by side: one would wait for its own multiplications.
    std::array<std::uint64_t, 4> h{1, 2, 3, 4};
    int x = 0;
    for (; x + 4 <= strip.width; x += 4)
      for (std::size_t lane = 0; lane < 4; ++lane) h[lane] = mix(h[lane], row[x + static_cast<int>(lane)]);
    for (; x < strip.width; ++x) h[0] = mix(h[0], row[x]);
    for (std::size_t lane = 1; lane < 4; ++lane) h[0] = (h[0] ^ h[lane]) * 0x9e3779b97f4a7c15u;
    out.push_back({h[0], y});
  }
}
template <class Image>
void hash_columns(std::vector<Line>& out, const Image& image, const Rect& strip) {
  const std::size_t n = static_cast<std::size_t>(strip.width);
  std::vector<std::uint64_t> hashes(n, 1);
  std::vector<std::uint32_t> varied(n, 0);
  const std::uint32_t* first = at(image, strip.x, strip.y);
  for (int y = strip.y; y < strip.bottom(); ++y) {
    const std::uint32_t* row = at(image, strip.x, y);
    for (std::size_t x = 0; x < n; ++x) {
      hashes[x] = mix(hashes[x], row[x]);
      varied[x] |= row[x] ^ first[x];
    }
  }
  for (std::size_t x = 0; x < n; ++x)
    if (varied[x] != 0) out.push_back({hashes[x], strip.x + static_cast<int>(x)});
}

// Sorted by hash, without the lines that occur more than once.
void keep_unique(std::vector<Line>& lines) {
  std::sort(lines.begin(), lines.end(), [](const Line& a, const Line& b) { return a.hash < b.hash; });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < lines.size();) {
    std::size_t j = i + 1;
    while (j < lines.size() && lines[j].hash == lines[i].hash) ++j;
    if (j == i + 1) lines[kept++] = lines[i];
    i = j;
  }
  lines.resize(kept);
}

// Counts, for every shift, the lines found once in the old and once in the new strip that far apart.
void vote(std::vector<Line>& before, std::vector<Line>& now, std::vector<int>& votes, int span) {
  keep_unique(before);
  keep_unique(now);
  for (std::size_t i = 0, j = 0; i < before.size() && j < now.size();) {
    if (before[i].hash < now[j].hash)
      ++i;
    else if (now[j].hash < before[i].hash)
      ++j;
    else
      ++votes[static_cast<std::size_t>(now[j++].position - before[i++].position + span)];
  }
}

// The starts of the up to three strips across `area` that hold most changes.
std::vector<int> busiest_strips(std::span<const Rect> areas, int from, int length, bool across_x) {
  const int strips = (length + kVoteStrip - 1) / kVoteStrip;
  std::vector<std::pair<std::int64_t, int>> weight;
  for (int i = 0; i < strips; ++i) weight.push_back({0, from + i * kVoteStrip});
  for (const Rect& r : areas) {
    const int begin = across_x ? r.x : r.y;
    weight[static_cast<std::size_t>(std::clamp((begin - from) / kVoteStrip, 0, strips - 1))].first += r.area();
  }
  std::stable_sort(weight.begin(), weight.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  weight.resize(std::min<std::size_t>(weight.size(), 3));
  std::vector<int> out;
  for (const auto& [count, start] : weight)
    if (count > 0) out.push_back(start);
  return out;
}

Shift find_shift(const Screen& old, const CopyFinder::Change& change, const Rect& area) {
  for (const bool vertical : {true, false}) {
    const int span = vertical ? area.height : area.width;
    std::vector<int> votes(static_cast<std::size_t>(span) * 2 + 1, 0);
    std::vector<Line> before, now;
    const int across = vertical ? area.x : area.y, length = vertical ? area.width : area.height;
    for (int start : busiest_strips(change.areas, across, length, vertical)) {
      const int width = std::min(kVoteStrip, across + length - start);
      if (width < kVoteStrip / 4) continue;
      before.clear();
      now.clear();
      if (vertical) {
        const Rect strip{start, area.y, width, area.height};
        hash_rows(before, old, strip);
        hash_rows(now, change.grab, strip);
      } else {
        const Rect strip{area.x, start, area.width, width};
        hash_columns(before, old, strip);
        hash_columns(now, change.grab, strip);
      }
      vote(before, now, votes, span);
    }
    votes[static_cast<std::size_t>(span)] = 0;  // what stayed in place is no shift
    const auto best = std::max_element(votes.begin(), votes.end());
    if (*best < kMinVotes) continue;
    const int distance = static_cast<int>(best - votes.begin()) - span;
    return vertical ? Shift{0, distance} : Shift{distance, 0};
  }
  return {};
}

// X coordinates are 16 bits wide; anything larger is nonsense that could overflow.
bool plausible(const MoveHint& hint) {
  for (int v : {hint.from.x, hint.from.y, hint.from.width, hint.from.height, hint.to_x, hint.to_y})
    if (v < -65536 || v > 65536) return false;
  return true;
}

// ---- verifying ------------------------------------------------------------------------------------------------------

// For one strip: which of its rows equal the shifted old picture, and which differ from the old picture in place.
struct Strip {
  std::vector<std::uint8_t> matches, changed;
};
struct Block {
  int first, last;  // strips, inclusive; the last one that has changes of its own
  int top, bottom;  // rows, bottom exclusive
  bool open;        // may still grow to the right
};

bool all(const std::vector<std::uint8_t>& rows, int from, int to) {
  return std::all_of(rows.begin() + from, rows.begin() + to, [](std::uint8_t v) { return v != 0; });
}

std::vector<Strip> examine(const Screen& old, const PixelView& grab, const Rect& target, Shift shift) {
  std::vector<Strip> strips(static_cast<std::size_t>((target.width + kStrip - 1) / kStrip));
  for (Strip& strip : strips) {
    strip.matches.resize(static_cast<std::size_t>(target.height));
    strip.changed.resize(static_cast<std::size_t>(target.height));
  }
  for (int row = 0; row < target.height; ++row) {
    const std::uint32_t* now = at(grab, target.x, target.y + row);
    const std::uint32_t* before = at(old, target.x, target.y + row);
    const std::uint32_t* moved = at(old, target.x - shift.dx, target.y + row - shift.dy);
    int x = 0;
    for (Strip& strip : strips) {
      const int width = std::min(kStrip, target.width - x);
      strip.matches[static_cast<std::size_t>(row)] = same(now + x, moved + x, width);
      strip.changed[static_cast<std::size_t>(row)] = !same(now + x, before + x, width);
      x += kStrip;
    }
  }
  return strips;
}

// The rectangles of `target` (inside the grab) whose pixels stood (-dx, -dy) away, cut to where anything changed.
void verify(const Screen& old, std::span<const CopyFinder::Change> changes, std::size_t change, Rect target, Shift shift,
            std::vector<CopyFinder::Found>& out) {
  const PixelView& grab = changes[change].grab;
  target = intersect(target, grab.area);
  target = intersect(target, {shift.dx, shift.dy, old.width, old.height});
  target = intersect(target, {0, 0, old.width, old.height});
  if (target.empty() || (shift.dx == 0 && shift.dy == 0)) return;
  const std::vector<Strip> strips = examine(old, grab, target, shift);
  std::vector<Block> blocks;
  for (int index = 0; index < static_cast<int>(strips.size()); ++index) {
    const Strip& strip = strips[static_cast<std::size_t>(index)];
    // Runs of matching rows from the first to the last changed one.
    std::vector<Block> runs;
    for (int row = 0; row < target.height;) {
      if (!strip.matches[static_cast<std::size_t>(row)]) {
        ++row;
        continue;
      }
      Block run{index, index, -1, -1, true};
      for (; row < target.height && strip.matches[static_cast<std::size_t>(row)]; ++row) {
        if (!strip.changed[static_cast<std::size_t>(row)]) continue;
        if (run.top < 0) run.top = row;
        run.bottom = row + 1;
      }
      if (run.top >= 0 && run.bottom - run.top >= kMinLines) runs.push_back(run);
    }
    // A block of the strips to the left grows over a run when their union matches everywhere, else over blank rows.
    for (Block& block : blocks) {
      if (!block.open) continue;
      block.open = false;
      for (Block& run : runs) {
        const int top = std::min(block.top, run.top), bottom = std::max(block.bottom, run.bottom);
        if (!run.open || run.top > block.bottom || block.top > run.bottom) continue;
        bool fits = true;
        for (int s = block.first; s <= index && fits; ++s) fits = all(strips[static_cast<std::size_t>(s)].matches, top, bottom);
        if (!fits) continue;
        block = {block.first, index, top, bottom, true};
        run.open = false;
        break;
      }
      if (!block.open) block.open = all(strip.matches, block.top, block.bottom);
    }
    for (const Block& run : runs)
      if (run.open) blocks.push_back(run);
  }
  for (const Block& block : blocks) {
    const int x = target.x + block.first * kStrip;
    const int right = std::min(target.x + (block.last + 1) * kStrip, target.right());
    const Rect to{x, target.y + block.top, right - x, block.bottom - block.top};
    if (to.area() < kMinCopyArea || out.size() >= kMaxCopies) continue;
    out.push_back({{{to.x - shift.dx, to.y - shift.dy, to.width, to.height}, to.x, to.y}, change});
  }
}

}  // namespace

std::vector<CopyFinder::Found> CopyFinder::find(const Screen& old, std::span<const Change> changes, std::span<const MoveHint> hints) {
  std::vector<Found> out;
  for (const MoveHint& hint : hints)
    for (std::size_t i = 0; i < changes.size(); ++i) {
      if (changes[i].areas.empty() || !plausible(hint)) continue;
      const Shift shift{hint.to_x - hint.from.x, hint.to_y - hint.from.y};
      verify(old, changes, i, {hint.to_x, hint.to_y, hint.from.width, hint.from.height}, shift, out);
    }
  if (!out.empty()) return out;

  struct Candidate {
    std::size_t change;
    Rect area;
  };
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    std::int64_t changed = 0;
    Rect box;
    for (const Rect& r : changes[i].areas) {
      changed += r.area();
      box = around(box, r);
    }
    if (changed >= kMinSearchArea) candidates.push_back({i, box});
  }
  if (candidates.empty()) return out;
  if (skip_ > 0) {
    --skip_;
    return out;
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.area.area() > b.area.area(); });
  if (candidates.size() > kMaxSearched) candidates.resize(kMaxSearched);
  for (const Candidate& candidate : candidates) {
    const Shift shift = find_shift(old, changes[candidate.change], candidate.area);
    if (shift.dx != 0 || shift.dy != 0) verify(old, changes, candidate.change, candidate.area, shift, out);
  }
  failures_ = out.empty() ? std::min(failures_ + 1, kMaxBackoff) : 0;
  skip_ = failures_;
  return out;
}

}  // namespace lucid::recording
