#include "rdp/monitor/history/history.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>

#include "rdp/monitor/history/state.hpp"

namespace lucid::monitor {

using history::Block;
using history::kPlaces;
using history::live_since;
using history::Series;
using history::slot;
using history::slot_ms;
using history::SummaryBlock;
using history::Tables;
using history::Tier;

namespace {

constexpr std::int64_t kLastTime = std::int64_t{1} << 46;  // year 4199: a row's key has room for twice that
constexpr std::chrono::seconds kSyncEvery{50};             // with a tick of up to 10 s: within a minute
constexpr std::size_t kMaxSubject = 256;
constexpr std::int64_t kRemoveRows = 8192;       // of a tier and minute, so that a tick after a long pause is not a long one
constexpr std::int64_t kRoomRows = 64;           // removed at a time to stay below max_bytes
constexpr std::uint64_t kLogBytes = 4ull << 20;  // what the write-ahead log may have
constexpr std::size_t kRemembered = 16;          // series in the file for one in memory
constexpr std::uint64_t kSeriesBytes = 256;      // about what one takes in the file
constexpr std::size_t kMaxSeries = 65'536;

template <class Use>
void each_series(history::ActiveSeries& active, const Use& use) {
  for (Block& block : active.blocks())
    for (const std::unique_ptr<Series>& series : block.series)
      if (series) use(block, *series);
}

}  // namespace

History::State::State(const std::string& file, HistoryLimits given)
    : path(file), limits(given), writer(file, Tables::Use::write, log_bytes(given)), active(std::min(given.max_series, kMaxSeries)) {
  shrink();
  take_up();
}

// ---- taking up what is there -----------------------------------------------------------------------------------------------------------
void History::State::take_up() {
  next_number = writer.last_series_number() + 1;
  auto time_of = [](std::optional<std::int64_t> key) { return key ? history::row_time(*key) : -1; };
  std::int64_t raw = time_of(writer.last_key(Tier::raw)), minute = time_of(writer.last_key(Tier::minute)),
               hour = time_of(writer.last_key(Tier::hour));
  std::int64_t newest = std::max(raw, minute);
  if (newest < 0 && hour < 0) return;
  // A span whose row is written is over, whatever the clock says now.
  last_ms = std::max({raw, minute < 0 ? -1 : minute + slot_ms(Tier::minute) - 1, hour < 0 ? -1 : hour + slot_ms(Tier::hour) - 1});
  std::int64_t current_hour = slot(Tier::hour, std::max(newest, hour));
  writer.each_series_since(live_since(current_hour), [&](Series series) {
    std::int64_t number = series.number;
    // One that cannot be live again must not look so: its place is free for others.
    if (series.metric == nullptr || !active.restore(std::move(series))) writer.save_last_seen(number, live_since(current_hour) - 1);
  });
  if (newest <= hour + slot_ms(Tier::hour) - 1 && hour >= 0) return;
  open_hour = current_hour;
  sum_up_again(Tier::minute, open_hour, last_ms + 1, Tier::hour);
  if (raw < 0 || slot(Tier::minute, raw) <= minute) return;
  open_minute = slot(Tier::minute, raw);
  sum_up_again(Tier::raw, open_minute, last_ms + 1, Tier::minute);
  for (Block& block : active.blocks())
    for (int place = 0; place < kPlaces; ++place)
      if ((block.minute.present >> place & 1) != 0) block.hour.add(place, block.minute.values[place]);
}

void History::State::sum_up_again(Tier tier, std::int64_t from_ms, std::int64_t to_ms, Tier into) {
  SummaryBlock row;
  std::int64_t next = history::row_key(from_ms, 0);
  std::function<void(const Tables::Row&)> take = [&](const Tables::Row& found) {
    if (found.key != next) {
      next = found.key;
      return;
    }
    next = found.key + 1;
    std::int64_t at = history::row_time(found.key), block = history::row_block(found.key);
    if (at >= to_ms || block >= static_cast<std::int64_t>(active.blocks().size())) return;
    if (!decode(found.bytes, tier, found.key, row)) {
      ++damaged;
      return;
    }
    Block& target = active.blocks()[static_cast<std::size_t>(block)];
    for (int place = 0; place < kPlaces; ++place) {
      Series* series = target.series[place].get();
      if ((row.present >> place & 1) == 0 || series == nullptr || at < slot(tier, series->first_ms)) continue;
      target.open(into).add(place, row.values[place]);
      series->last_ms = std::max(series->last_ms, at + slot_ms(tier) - 1);
    }
  };
  while (history::row_time(next) < to_ms && writer.seek(tier, next, take)) {}
}

// ---- appending -------------------------------------------------------------------------------------------------------------------------
std::int64_t History::State::time_after_last(std::int64_t wall_ms) const {
  return std::max(std::clamp<std::int64_t>(wall_ms, 1, kLastTime), last_ms + 1);
}

void History::State::append(std::int64_t wall_ms, std::span<const Reading> readings) {
  std::lock_guard appending(append_mutex);
  bool minute_over = open_minute >= 0 && slot(Tier::minute, time_after_last(wall_ms)) != open_minute;
  bool hour_over = open_hour >= 0 && slot(Tier::hour, time_after_last(wall_ms)) != open_hour;
  if (minute_over || hour_over) close_spans(time_after_last(wall_ms));
  std::int64_t at = time_after_last(wall_ms);
  std::vector<Series*> fresh = stage(at, readings);
  try {
    write_tick(at, fresh);
  } catch (...) {
    std::lock_guard changing(memory_mutex);
    for (Block& block : active.blocks()) block.tick.present = 0;
    for (Series* series : fresh) active.remove(*series);
    throw;
  }
  add_tick(at);
  // What was appended survives a kill already; this is for power loss.
  if (std::chrono::steady_clock::now() - synced >= kSyncEvery) {
    synced = std::chrono::steady_clock::now();
    writer.checkpoint();
  }
}

// Writes the minute (and hour) that is over and removes what is too old.
void History::State::close_spans(std::int64_t at_ms) {
  bool minute_over = open_minute >= 0 && slot(Tier::minute, at_ms) != open_minute;
  bool hour_over = open_hour >= 0 && slot(Tier::hour, at_ms) != open_hour;
  writer.change([&] {
    make_room();
    for (Tier tier : {Tier::minute, Tier::hour}) {
      if (!(tier == Tier::minute ? minute_over : hour_over)) continue;
      for (std::size_t i = 0; i < active.blocks().size(); ++i) {
        const SummaryBlock& block = active.blocks()[i].open(tier);
        std::int64_t key = history::row_key(tier == Tier::minute ? open_minute : open_hour, static_cast<std::int64_t>(i));
        if (block.present == 0) continue;
        encode(block, tier, key, scratch);
        writer.insert(tier, key, scratch);
      }
    }
    if (hour_over) {
      each_series(active, [&](const Block&, const Series& series) {
        if (series.last_ms != series.saved_last_ms) writer.save_last_seen(series.number, series.last_ms);
      });
      std::uint64_t remembered = std::min<std::uint64_t>(limits.max_series * kRemembered, limits.max_bytes / 8 / kSeriesBytes);
      writer.forget_series(std::min(at_ms - limits.hour_ms, live_since(open_hour)), static_cast<std::int64_t>(remembered),
                           live_since(open_hour));
    }
    keep_limits(at_ms);
  });
  std::lock_guard changing(memory_mutex);
  if (minute_over) {
    last_ms = std::max(last_ms, open_minute + slot_ms(Tier::minute) - 1);
    open_minute = -1;
    for (Block& block : active.blocks()) block.minute.present = 0;
  }
  if (hour_over) {
    last_ms = std::max(last_ms, open_hour + slot_ms(Tier::hour) - 1);
    open_hour = -1;
    for (Block& block : active.blocks()) block.hour.present = 0;
    each_series(active, [](Block&, Series& series) { series.saved_last_ms = series.last_ms; });
  }
}

void History::State::keep_limits(std::int64_t at_ms) {
  // The newest that is too old stays: what it tells is that nothing is missing since (see choose_tier() in query.cpp).
  auto remove = [&](Tier tier, std::int64_t kept_ms) {
    if (at_ms <= kept_ms) return;
    if (auto newest = writer.last_key_before(tier, at_ms - kept_ms)) writer.remove_before(tier, history::row_time(*newest), kRemoveRows);
  };
  remove(Tier::raw, limits.raw_ms);
  remove(Tier::minute, limits.minute_ms);
  remove(Tier::hour, limits.hour_ms);
}

std::uint64_t History::State::log_bytes(const HistoryLimits& limits) { return std::min(limits.max_bytes / 4, kLogBytes); }

void History::State::make_room() {
  constexpr std::uint64_t kTickBytes = 64 << 10;
  std::uint64_t wanted = room() - std::min(room() / 8, kTickBytes);
  for (Tier tier : history::kTiers) {
    while (writer.used_bytes() > wanted)
      if (writer.remove_before(tier, kLastTime * 2 - 1, kRoomRows) == 0) break;
  }
}

// A file that was allowed to be larger.
void History::State::shrink() {
  if (writer.file_bytes() <= room()) return;
  writer.change([&] { make_room(); });
  try {
    writer.vacuum();
  } catch (const Error& e) {
    // No room to make it smaller: it stays as it is, and its space is used again.
    if (e.kind() != ErrorKind::storage_full) throw;
  }
}

std::vector<Series*> History::State::stage(std::int64_t at_ms, std::span<const Reading> readings) {
  std::lock_guard changing(memory_mutex);
  if (open_hour < 0) active.forget_before(live_since(slot(Tier::hour, at_ms)));
  std::vector<Series*> fresh;
  for (const Reading& reading : readings) {
    if (!std::isfinite(reading.value)) continue;
    Series* series = active.find(reading.metric, reading.subject);
    if (series == nullptr) {
      const Metric* metric = find_metric(reading.metric);
      if (metric == nullptr) continue;
      if (reading.subject.size() <= kMaxSubject) series = active.add(*metric, reading.subject);
      if (series == nullptr) {
        ++refused;
        continue;
      }
      series->number = next_number++;
      series->first_ms = series->last_ms = series->saved_last_ms = at_ms;
      fresh.push_back(series);
    }
    history::RawBlock& tick = active.blocks()[static_cast<std::size_t>(series->block)].tick;
    tick.present |= 1u << series->place;
    tick.values[series->place] = reading.value;
  }
  return fresh;
}

void History::State::write_tick(std::int64_t at_ms, std::span<Series* const> fresh) {
  writer.change([&] {
    make_room();
    for (const Series* series : fresh) writer.insert_series(*series);
    for (std::size_t i = 0; i < active.blocks().size(); ++i) {
      const history::RawBlock& tick = active.blocks()[i].tick;
      if (tick.present == 0) continue;
      std::int64_t key = history::row_key(at_ms, static_cast<std::int64_t>(i));
      encode(tick, key, scratch);
      writer.insert(Tier::raw, key, scratch);
    }
  });
}

void History::State::add_tick(std::int64_t at_ms) {
  std::lock_guard changing(memory_mutex);
  last_ms = at_ms;
  open_minute = slot(Tier::minute, at_ms);
  open_hour = slot(Tier::hour, at_ms);
  for (Block& block : active.blocks()) {
    for (std::uint32_t present = block.tick.present; present != 0; present &= present - 1) {
      int place = std::countr_zero(present);
      double value = block.tick.values[place];
      block.minute.add(place, {value, value, value, value, 1});
      block.hour.add(place, {value, value, value, value, 1});
      block.series[place]->last_ms = at_ms;
    }
    block.tick.present = 0;
  }
}

History::Size History::State::size() {
  Size size;
  for (const char* suffix : {"", "-wal"}) {
    std::error_code error;
    std::uintmax_t bytes = std::filesystem::file_size(path + suffix, error);
    if (!error) size.bytes += bytes;
  }
  {
    std::lock_guard reading(memory_mutex);
    size.series = active.size();
    size.refused_series = refused;
    if (open_hour >= 0) size.oldest_ms = open_hour;
  }
  with_reader([&](Tables& reader) {
    for (Tier tier : history::kTiers)
      if (auto key = reader.first_key(tier))
        size.oldest_ms = size.oldest_ms == 0 ? history::row_time(*key) : std::min(size.oldest_ms, history::row_time(*key));
  });
  size.damaged_rows = damaged;
  return size;
}

History::History(const std::string& path, HistoryLimits limits) : state_(std::make_unique<State>(path, limits)) {}
History::~History() = default;
void History::append(std::int64_t wall_ms, std::span<const Reading> readings) { state_->append(wall_ms, readings); }
HistoryAnswer History::query(const HistoryQuery& query) const { return state_->query(query); }
History::Size History::size() const { return state_->size(); }

const char* name(Aggregate aggregate) {
  switch (aggregate) {
    case Aggregate::avg: return "avg";
    case Aggregate::min: return "min";
    case Aggregate::max: return "max";
    case Aggregate::last: return "last";
  }
  return "";
}

std::optional<Aggregate> aggregate(std::string_view text) {
  for (Aggregate each : {Aggregate::avg, Aggregate::min, Aggregate::max, Aggregate::last})
    if (text == name(each)) return each;
  return std::nullopt;
}

}  // namespace lucid::monitor
