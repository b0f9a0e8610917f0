#include "lib/recording/hot_tiles.hpp"

#include <algorithm>

namespace lucid::recording {
namespace {

constexpr std::uint32_t kCheap = 1024;  // typed text stays below: it never waits
constexpr double kMaxDebtSeconds = 7;   // so that an old burst is forgiven soon
constexpr std::int64_t kMinIntervalMs = 250, kMaxIntervalMs = 2000;

}  // namespace

void HotTiles::resize(std::size_t tiles) {
  tiles_.assign(tiles, Tile{});
  pending_ = false;
}

void HotTiles::all_written() {
  pending_ = false;
  for (Tile& tile : tiles_) {
    tile.held = {};
    tile.lossy = {};
  }
}

void HotTiles::begin_frame(std::int64_t ms) {
  go_ = ms >= next_;
  if (ms > refilled_ms_) tokens_ = std::min(max_rate_, tokens_ + max_rate_ * static_cast<double>(ms - refilled_ms_) / 1000);
  refilled_ms_ = std::max(refilled_ms_, ms);
}

void HotTiles::spend(std::size_t bytes) { tokens_ = std::max(tokens_ - static_cast<double>(bytes), -kMaxDebtSeconds * max_rate_); }

void HotTiles::changed(std::size_t tile, std::int64_t ms) {
  Tile& t = tiles_[tile];
  t.changes[t.next] = ms + 1;
  t.next = static_cast<std::uint8_t>((t.next + 1) % kChanges);
  t.changed_ms = ms;
}

bool HotTiles::hot(std::size_t tile, std::int64_t ms) const {
  const Tile& t = tiles_[tile];
  const std::int64_t oldest = t.changes[t.next];
  return t.cost >= kCheap && oldest != 0 && ms - (oldest - 1) < 1000;
}

void HotTiles::written(std::size_t tile, std::size_t bytes, bool was_hot, std::int64_t ms) {
  tiles_[tile].cost = static_cast<std::uint32_t>(bytes);
  spend(bytes);
  if (!was_hot || tokens_ >= 0) return;
  // One clock for all hot tiles: a film's tiles are written together, so no recorded frame shows it torn. The interval
  // is measured from `ms`; further tiles of the same frame only deepen the debt.
  const std::int64_t interval = static_cast<std::int64_t>(static_cast<double>(kMinIntervalMs) * (1 - tokens_ / max_rate_));
  next_ = ms + std::clamp(interval, kMinIntervalMs, kMaxIntervalMs);
}

void HotTiles::hold(std::size_t tile, const Rect& area) {
  tiles_[tile].held = around(tiles_[tile].held, area);
  pending_ = true;
}

void HotTiles::mark_lossy(std::size_t tile, const Rect& area) {
  tiles_[tile].lossy = around(tiles_[tile].lossy, area);
  pending_ = true;
}

void HotTiles::settle() {
  pending_ = std::any_of(tiles_.begin(), tiles_.end(), [](const Tile& t) { return !t.held.empty() || !t.lossy.empty(); });
}

bool HotTiles::repair_due(std::size_t tile, std::int64_t ms) const {
  return !tiles_[tile].lossy.empty() && ms >= tiles_[tile].changed_ms + kStillMs;
}

bool HotTiles::any_lossy() const {
  return pending_ && std::any_of(tiles_.begin(), tiles_.end(), [](const Tile& t) { return !t.lossy.empty(); });
}

std::int64_t HotTiles::due_ms() const {
  if (!pending_) return 0;
  std::int64_t due = 0;
  auto earlier = [&](std::int64_t ms) { due = due == 0 ? std::max<std::int64_t>(ms, 1) : std::min(due, std::max<std::int64_t>(ms, 1)); };
  for (const Tile& t : tiles_) {
    if (!t.held.empty()) earlier(next_);
    if (!t.lossy.empty()) earlier(t.changed_ms + kStillMs);
  }
  return due;
}

std::vector<Rect> HotTiles::due_areas() const {
  const std::int64_t due = due_ms();
  std::vector<Rect> out;
  if (due == 0) return out;
  for (const Tile& t : tiles_) {
    Rect area;
    if (!t.held.empty() && next_ <= due) area = t.held;
    if (!t.lossy.empty() && t.changed_ms + kStillMs <= due) area = around(area, t.lossy);
    if (!area.empty()) out.push_back(area);
  }
  return out;
}

Rect around(const Rect& a, const Rect& b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  const std::int32_t x = std::min(a.x, b.x), y = std::min(a.y, b.y);
  return {x, y, std::max(a.right(), b.right()) - x, std::max(a.bottom(), b.bottom()) - y};
}

bool contains(const Rect& outer, const Rect& inner) {
  return inner.x >= outer.x && inner.y >= outer.y && inner.right() <= outer.right() && inner.bottom() <= outer.bottom();
}

}  // namespace lucid::recording
