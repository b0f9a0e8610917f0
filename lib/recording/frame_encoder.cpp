#include "lib/recording/frame_encoder.hpp"

#include <algorithm>
#include <memory>
#include <string>

#include "lib/recording/copy_finder.hpp"
#include "lib/recording/hot_tiles.hpp"
#include "lib/recording/record_layout.hpp"
#include "lib/recording/tile_codec.hpp"
#include "lib/recording/tile_diff.hpp"

namespace lucid::recording {
namespace {

using layout::kTile;

constexpr std::int64_t kActivityCapMs = 1000;  // a pause longer than this counts as so much activity
constexpr int kMinJpegSide = 16;               // smaller changes are cheaper lossless
constexpr std::int64_t kMinRestoreArea = 512;  // smaller areas are restored only when all of them can be

const std::uint32_t* grabbed(const PixelView& v, int x, int y) {
  return v.pixels + static_cast<std::ptrdiff_t>(y - v.area.y) * static_cast<std::ptrdiff_t>(v.stride) + (x - v.area.x);
}

using TilePixels = std::unique_ptr<std::uint32_t[]>;

std::uint32_t* at(const TilePixels& tile, const Rect& area) { return tile.get() + (area.y % kTile) * kTile + area.x % kTile; }

// What one grab changes in one tile.
struct Cell {
  std::size_t tile, grab;
  Rect part;     // of the tile, inside the grab
  Rect changed;  // screen coordinates; empty: nothing (any more)
};

// Joins rectangles that are no dearer together than apart.
void merge(std::vector<Rect>& areas) {
  for (std::size_t i = 0; i < areas.size(); ++i)
    for (std::size_t k = i + 1; k < areas.size();) {
      const Rect both = around(areas[i], areas[k]);
      if (both.area() > areas[i].area() + areas[k].area() + 64) {
        ++k;
        continue;
      }
      areas[i] = both;
      areas.erase(areas.begin() + static_cast<std::ptrdiff_t>(k));
      k = i + 1;
    }
}

}  // namespace

struct FrameEncoder::State {
  explicit State(EncoderConfig c) : config(c), hot(c.max_rate) {}

  EncoderConfig config;
  int width = 0, height = 0, columns = 0, rows = 0;
  std::vector<std::uint32_t> picture;  // as recorded
  // What the last full keyframe shows in the tiles that changed since (the others still show it), kTile pixels a row.
  std::vector<TilePixels> full_tiles;
  std::vector<TilePixels> kept_tiles;  // what is kept beside it (records.hpp), where that is something else
  bool needs_full = true;              // no picture to compare with
  std::uint32_t number = 0, full_number = 0;
  std::size_t full_bytes = 0;                                                // of the last full keyframe
  std::int64_t since_full_ms = 0, since_keyframe_ms = 0, last_frame_ms = 0;  // the first two count activity only
  HotTiles hot;
  CopyFinder copies;
  TileCoder coder;

  const std::uint32_t* at(int x, int y) const {
    return picture.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x);
  }
  std::uint32_t* at(int x, int y) {
    return picture.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x);
  }
  std::size_t stride() const { return static_cast<std::size_t>(width); }
  std::size_t tiles() const { return static_cast<std::size_t>(columns) * static_cast<std::size_t>(rows); }
  Rect tile_area(std::size_t tile) const {
    const int x = static_cast<int>(tile) % columns * kTile, y = static_cast<int>(tile) / columns * kTile;
    return intersect({x, y, kTile, kTile}, {0, 0, width, height});
  }
  bool keyframe_due() const { return since_keyframe_ms >= config.diff_keyframe_ms || since_full_ms >= config.full_keyframe_ms; }

  std::vector<PixelView> clip(std::span<const PixelView> grabs) const;
  void compare(Cell& cell, const PixelView& grab);
  std::vector<Cell> compare(const std::vector<PixelView>& grabs);
  void take(const Rect& area, const PixelView& grab);
  void add_parts(std::vector<Rect>& areas, const Cell& cell, const PixelView& grab) const;
  void put_area(std::size_t tile, const Rect& area, bool was_hot, std::int64_t ms, Bytes& records);
  void keep_full_tiles(const Rect& area);
  void keep(std::size_t tile, const Rect& area);
  TileDifference difference(const TilePixels& tile, const Rect& area) const;
  bool put_restored(std::size_t tile, const Rect& area, std::int64_t ms, Bytes& records);
  TileCodec put_tile(const Rect& area, ManyColours many, std::int64_t ms, Bytes& records);
  void put_kept_tile(std::size_t tile, const Rect& area, ManyColours many, std::int64_t ms, Bytes& records);
  void put_frame_end(bool keyframe, std::int64_t ms, Bytes& records);

  std::uint64_t take_full_screen(const std::vector<PixelView>& grabs);
  void put_full_keyframe(std::int64_t ms, Bytes& records);
  bool put_diff_keyframe(std::int64_t ms, Bytes& records);
  bool put_copies(const std::vector<PixelView>& grabs, std::span<const MoveHint> hints, std::vector<Cell>& cells, std::int64_t ms,
                  Bytes& records);
  bool put_changes(const std::vector<PixelView>& grabs, std::vector<Cell>& cells, std::int64_t ms, Bytes& records);
};

// ---- comparing ------------------------------------------------------------------------------------------------------

std::vector<PixelView> FrameEncoder::State::clip(std::span<const PixelView> grabs) const {
  std::vector<PixelView> out;
  for (const PixelView& grab : grabs) {
    const Rect area = intersect(grab.area, {0, 0, width, height});
    if (area.empty() || grab.pixels == nullptr) continue;
    out.push_back({area, grabbed(grab, area.x, area.y), grab.stride});
  }
  return out;
}

void FrameEncoder::State::compare(Cell& cell, const PixelView& grab) {
  const Rect& p = cell.part;
  const Rect r = tile_difference(grabbed(grab, p.x, p.y), grab.stride, at(p.x, p.y), stride(), p.width, p.height).area;
  cell.changed = r.empty() ? Rect{} : Rect{p.x + r.x, p.y + r.y, r.width, r.height};
}

// The cells in which any grab differs from the picture.
std::vector<Cell> FrameEncoder::State::compare(const std::vector<PixelView>& grabs) {
  std::vector<Cell> cells;
  for (std::size_t g = 0; g < grabs.size(); ++g) {
    const Rect& area = grabs[g].area;
    for (int row = area.y / kTile; row * kTile < area.bottom(); ++row)
      for (int column = area.x / kTile; column * kTile < area.right(); ++column) {
        Cell cell;
        cell.tile = static_cast<std::size_t>(row) * static_cast<std::size_t>(columns) + static_cast<std::size_t>(column);
        cell.grab = g;
        cell.part = intersect(area, {column * kTile, row * kTile, kTile, kTile});
        compare(cell, grabs[g]);
        if (!cell.changed.empty()) cells.push_back(cell);
      }
  }
  return cells;
}

// The one or two rectangles that hold the cell's changes.
void FrameEncoder::State::add_parts(std::vector<Rect>& areas, const Cell& cell, const PixelView& grab) const {
  const Rect& c = cell.changed;
  for (Rect r : changed_parts(grabbed(grab, c.x, c.y), grab.stride, at(c.x, c.y), stride(), c.width, c.height))
    if (!r.empty()) areas.push_back({c.x + r.x, c.y + r.y, r.width, r.height});
}

// Takes over the grab's pixels of `area` into the recorded picture.
void FrameEncoder::State::take(const Rect& area, const PixelView& grab) {
  keep_full_tiles(area);
  for (int y = area.y; y < area.bottom(); ++y) std::copy_n(grabbed(grab, area.x, y), area.width, at(area.x, y));
}

// Called before pixels of `area` change for the first time since the full keyframe.
void FrameEncoder::State::keep_full_tiles(const Rect& area) {
  if (needs_full) return;
  for (int row = area.y / kTile; row * kTile < area.bottom(); ++row)
    for (int column = area.x / kTile; column * kTile < area.right(); ++column) {
      const std::size_t tile = static_cast<std::size_t>(row) * static_cast<std::size_t>(columns) + static_cast<std::size_t>(column);
      if (full_tiles[tile]) continue;
      const Rect r = tile_area(tile);
      full_tiles[tile] = std::make_unique<std::uint32_t[]>(kTile * kTile);
      for (int y = 0; y < r.height; ++y) std::copy_n(at(r.x, r.y + y), r.width, full_tiles[tile].get() + y * kTile);
    }
}

// `area` was written as a planar tile.
void FrameEncoder::State::keep(std::size_t tile, const Rect& area) {
  if (!kept_tiles[tile]) {
    kept_tiles[tile] = std::make_unique_for_overwrite<std::uint32_t[]>(kTile * kTile);
    std::copy_n(full_tiles[tile].get(), kTile * kTile, kept_tiles[tile].get());
  }
  for (int y = 0; y < area.height; ++y) std::copy_n(at(area.x, area.y + y), area.width, recording::at(kept_tiles[tile], area) + y * kTile);
}

// Where the picture differs from an earlier state of that tile, relative to the area.
TileDifference FrameEncoder::State::difference(const TilePixels& tile, const Rect& area) const {
  return tile_difference(at(area.x, area.y), stride(), recording::at(tile, area), kTile, area.width, area.height);
}

// ---- writing --------------------------------------------------------------------------------------------------------

TileCodec FrameEncoder::State::put_tile(const Rect& area, ManyColours many, std::int64_t ms, Bytes& records) {
  const TileCoder::Encoded encoded = coder.encode(at(area.x, area.y), stride(), area.width, area.height, many);
  layout::append_tile(records, ms, area, encoded.codec, encoded.data);
  return encoded.codec;
}

// A tile of an ordinary frame.
void FrameEncoder::State::put_kept_tile(std::size_t tile, const Rect& area, ManyColours many, std::int64_t ms, Bytes& records) {
  if (put_tile(area, many, ms, records) == TileCodec::planar) keep(tile, area);
}

void FrameEncoder::State::put_frame_end(bool keyframe, std::int64_t ms, Bytes& records) {
  FrameEnd end;
  end.number = number++;
  end.lossy = config.jpeg_for_hot_tiles && hot.any_lossy();
  if (config.digests == Digests::all || (config.digests == Digests::keyframes && keyframe)) end.digest = frame_digest(picture);
  append(records, {ms, end});
  last_frame_ms = ms;
}

// ---- keyframes ------------------------------------------------------------------------------------------------------

// Answers how many pixels differed although nothing was reported there.
std::uint64_t FrameEncoder::State::take_full_screen(const std::vector<PixelView>& grabs) {
  std::uint64_t missed = 0;
  for (const Cell& cell : compare(grabs)) {
    // Held back and lossy tiles differ from the screen on purpose.
    if (!needs_full && hot.held(cell.tile).empty() && hot.lossy(cell.tile).empty()) {
      const Rect& c = cell.changed;
      missed +=
          tile_difference(grabbed(grabs[cell.grab], c.x, c.y), grabs[cell.grab].stride, at(c.x, c.y), stride(), c.width, c.height).pixels;
    }
    take(cell.changed, grabs[cell.grab]);
  }
  hot.all_written();
  return missed;
}

void FrameEncoder::State::put_full_keyframe(std::int64_t ms, Bytes& records) {
  const std::size_t before = records.size();
  // Repeated here so that a reader may start at this record.
  append(records, {ms, ScreenSize{static_cast<std::uint16_t>(width), static_cast<std::uint16_t>(height), 24}});
  append(records, {ms, Keyframe{KeyframeKind::full, number}});
  for (std::size_t tile = 0; tile < tiles(); ++tile) put_tile(tile_area(tile), ManyColours::planar, ms, records);
  full_tiles.clear();
  full_tiles.resize(tiles());
  kept_tiles.clear();
  kept_tiles.resize(tiles());
  full_number = number;
  full_bytes = records.size() - before;
  since_full_ms = 0;
  needs_full = false;
}

// False, and nothing written, when it would be nearly as large as a full keyframe.
bool FrameEncoder::State::put_diff_keyframe(std::int64_t ms, Bytes& records) {
  const std::size_t before = records.size();
  append(records, {ms, Keyframe{KeyframeKind::diff, full_number}});
  for (std::size_t tile = 0; tile < tiles(); ++tile) {
    if (!full_tiles[tile] || difference(full_tiles[tile], tile_area(tile)).pixels == 0) continue;
    put_tile(tile_area(tile), ManyColours::planar, ms, records);
    if (records.size() - before > full_bytes / 4 * 3) {
      records.resize(before);
      return false;
    }
  }
  for (TilePixels& tile : kept_tiles) tile.reset();
  return true;
}

// ---- ordinary frames ------------------------------------------------------------------------------------------------

bool FrameEncoder::State::put_copies(const std::vector<PixelView>& grabs, std::span<const MoveHint> hints, std::vector<Cell>& cells,
                                     std::int64_t ms, Bytes& records) {
  std::vector<std::vector<Rect>> areas(grabs.size());
  for (const Cell& cell : cells) areas[cell.grab].push_back(cell.changed);
  std::vector<CopyFinder::Change> changes;
  for (std::size_t g = 0; g < grabs.size(); ++g) changes.push_back({grabs[g], areas[g]});
  std::vector<CopyFinder::Found> found = copies.find({picture.data(), width, height}, changes, hints);
  // Another JPEG decoder may show a lossy tile a shade off; a copy would spread that to tiles held to be exact.
  std::erase_if(found, [&](const CopyFinder::Found& f) {
    const Rect& from = f.copy.from;
    for (int row = from.y / kTile; row * kTile < from.bottom(); ++row)
      for (int column = from.x / kTile; column * kTile < from.right(); ++column)
        if (!hot.lossy(static_cast<std::size_t>(row * columns + column)).empty()) return true;
    return false;
  });
  if (found.empty()) return false;
  const std::size_t before = records.size();
  for (const auto& [copy, change] : found) append(records, {ms, copy});
  hot.spend(records.size() - before);
  // The copied pixels are those of the grab they were verified in, so they can be taken from there in any order.
  for (const auto& [copy, change] : found) take({copy.to_x, copy.to_y, copy.from.width, copy.from.height}, grabs[change]);
  // Only grabs that disagree where they overlap could make a copied cell differ again.
  const bool one_grab = std::all_of(found.begin(), found.end(), [&](const auto& f) { return f.change == found[0].change; });
  for (Cell& cell : cells) {
    const bool copied = one_grab && cell.grab == found[0].change && std::any_of(found.begin(), found.end(), [&](const auto& f) {
                          return contains({f.copy.to_x, f.copy.to_y, f.copy.from.width, f.copy.from.height}, cell.changed);
                        });
    if (copied)
      cell.changed = {};
    else
      compare(cell, grabs[cell.grab]);
  }
  return true;
}

// Writes an area that shows (nearly) what an earlier picture showed there, as a window that moved or closed leaves behind,
// as a reference to it. False: it shows something else.
bool FrameEncoder::State::put_restored(std::size_t tile, const Rect& area, std::int64_t ms, Bytes& records) {
  RestoreFrom from = RestoreFrom::full_keyframe;
  const TilePixels* pixels = &full_tiles[tile];
  TileDifference left = difference(*pixels, area);
  if (left.pixels > 0 && kept_tiles[tile]) {
    const TileDifference other = difference(kept_tiles[tile], area);
    if (other.pixels < left.pixels) {
      from = RestoreFrom::kept;
      pixels = &kept_tiles[tile];
      left = other;
    }
  }
  // A plain area costs no more than its reference.
  if (left.pixels > 0 && (area.area() < kMinRestoreArea || left.pixels * std::int64_t{2} > area.area() ||
                          !TileCoder::has_many_colours(at(area.x, area.y), stride(), area.width, area.height)))
    return false;
  append(records, {ms, Restore{from, area}});
  if (left.pixels == 0) return true;
  std::vector<Rect> parts;
  for (Rect r : changed_parts(at(area.x, area.y), stride(), recording::at(*pixels, area), kTile, area.width, area.height))
    if (!r.empty()) parts.push_back({area.x + r.x, area.y + r.y, r.width, r.height});
  for (const Rect& part : parts) put_kept_tile(tile, part, ManyColours::planar, ms, records);
  return true;
}

void FrameEncoder::State::put_area(std::size_t tile, const Rect& area, bool was_hot, std::int64_t ms, Bytes& records) {
  if (put_restored(tile, area, ms, records)) {
    if (contains(area, hot.lossy(tile))) hot.mark_exact(tile);
    return;
  }
  if (config.jpeg_for_hot_tiles && was_hot && hot.slowed(ms) && area.width >= kMinJpegSide && area.height >= kMinJpegSide &&
      TileCoder::has_many_colours(at(area.x, area.y), stride(), area.width, area.height)) {
    const TileCoder::Encoded encoded = coder.encode_jpeg(at(area.x, area.y), stride(), area.width, area.height);
    layout::append_tile(records, ms, area, encoded.codec, encoded.data);
    hot.mark_lossy(tile, area);
    return;
  }
  put_kept_tile(tile, area, was_hot ? ManyColours::rgb : ManyColours::planar, ms, records);
  if (contains(area, hot.lossy(tile))) hot.mark_exact(tile);
}

bool FrameEncoder::State::put_changes(const std::vector<PixelView>& grabs, std::vector<Cell>& cells, std::int64_t ms, Bytes& records) {
  auto covered = [&](const Rect& area) {
    return std::any_of(grabs.begin(), grabs.end(), [&](const PixelView& g) { return contains(g.area, area); });
  };
  std::vector<std::uint8_t> repair(tiles(), 0), waits(tiles(), 0);
  if (hot.pending()) {
    for (std::size_t tile = 0; tile < tiles(); ++tile) {
      if (!hot.repair_due(tile, ms) || !covered(hot.lossy(tile))) continue;
      repair[tile] = 1;
      for (std::size_t g = 0; g < grabs.size(); ++g)
        if (contains(grabs[g].area, hot.lossy(tile))) cells.push_back({tile, g, hot.lossy(tile), hot.lossy(tile)});
    }
  }
  std::stable_sort(cells.begin(), cells.end(), [](const Cell& a, const Cell& b) { return a.tile < b.tile; });

  bool wrote = false;
  for (std::size_t i = 0; i < cells.size();) {
    const std::size_t tile = cells[i].tile, begin = i;
    Rect area;
    for (; i < cells.size() && cells[i].tile == tile; ++i) area = around(area, cells[i].changed);
    if (area.empty()) continue;
    if (!repair[tile]) hot.changed(tile, ms);
    if (!repair[tile] && hot.must_wait(tile, ms)) {
      hot.hold(tile, area);
      waits[tile] = 1;
      continue;
    }
    const bool was_hot = !repair[tile] && hot.hot(tile, ms);
    std::vector<Rect> areas;
    if (repair[tile])
      areas.push_back(area);
    else
      for (std::size_t k = begin; k < i; ++k) add_parts(areas, cells[k], grabs[cells[k].grab]);
    merge(areas);
    for (std::size_t k = begin; k < i; ++k) take(cells[k].changed, grabs[cells[k].grab]);
    const std::size_t before = records.size();
    for (const Rect& r : areas) put_area(tile, r, was_hot, ms, records);
    hot.written(tile, records.size() - before, was_hot, ms);
    wrote = true;
  }
  if (!hot.pending()) return wrote;
  for (std::size_t tile = 0; tile < tiles(); ++tile)
    if (!waits[tile] && !hot.held(tile).empty() && covered(hot.held(tile))) hot.release(tile);
  hot.settle();
  return wrote;
}

// ---- the public face ------------------------------------------------------------------------------------------------

FrameEncoder::FrameEncoder(EncoderConfig config) : state_(std::make_unique<State>(config)) {}
FrameEncoder::~FrameEncoder() = default;

void FrameEncoder::resize(int width, int height, std::int64_t ms, Bytes& records) {
  if (!layout::screen_ok(width, height))
    throw Error(ErrorKind::invalid, "screen_size",
                "record a screen of " + std::to_string(width) + "x" + std::to_string(height) + " pixels: out of range");
  State& s = *state_;
  s.width = width;
  s.height = height;
  s.columns = (width + kTile - 1) / kTile;
  s.rows = (height + kTile - 1) / kTile;
  s.picture.assign(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), 0);
  s.picture.shrink_to_fit();
  s.hot.resize(s.tiles());
  s.needs_full = true;
  append(records, {ms, ScreenSize{static_cast<std::uint16_t>(width), static_cast<std::uint16_t>(height), 24}});
}

bool FrameEncoder::wants_full_screen(std::int64_t) const { return state_->needs_full || state_->keyframe_due(); }

EncodeResult FrameEncoder::update(std::int64_t ms, std::span<const PixelView> grabs, std::span<const MoveHint> hints, bool full,
                                  Bytes& records) {
  State& s = *state_;
  EncodeResult result;
  if (s.width == 0) return result;
  const std::size_t before = records.size();
  const std::vector<PixelView> views = s.clip(grabs);
  s.hot.begin_frame(ms);
  result.number = s.number;
  std::int64_t seen = 0;
  for (const PixelView& view : views) seen += view.area.area();
  full = full && seen >= std::int64_t{s.width} * s.height;
  if (s.needs_full && !full) return result;
  if (full && wants_full_screen(ms)) {
    const bool must_be_full = s.needs_full || s.since_full_ms >= s.config.full_keyframe_ms;
    result.missed_damage_pixels = s.take_full_screen(views);
    if (must_be_full || !s.put_diff_keyframe(ms, records)) s.put_full_keyframe(ms, records);
    s.since_keyframe_ms = 0;
    result.frame = result.keyframe = true;
  } else {
    std::vector<Cell> cells = s.compare(views);
    const bool copied = !cells.empty() && s.put_copies(views, hints, cells, ms, records);
    const bool changed = s.put_changes(views, cells, ms, records);
    result.frame = copied || changed;
    if (result.frame) {
      const std::int64_t active = std::clamp<std::int64_t>(ms - s.last_frame_ms, 0, kActivityCapMs);
      s.since_full_ms += active;
      s.since_keyframe_ms += active;
    }
  }
  if (result.frame) s.put_frame_end(result.keyframe, ms, records);
  result.slowed = s.hot.slowed(ms);
  result.bytes = records.size() - before;
  return result;
}

std::int64_t FrameEncoder::deferred_due_ms() const { return state_->hot.due_ms(); }
std::vector<Rect> FrameEncoder::deferred_areas() const { return state_->hot.due_areas(); }
void FrameEncoder::restart() { state_->needs_full = true; }
std::uint32_t FrameEncoder::next_frame_number() const { return state_->number; }
void FrameEncoder::set_next_frame_number(std::uint32_t number) {
  state_->number = number;
  state_->needs_full = true;
}

}  // namespace lucid::recording
