// Answering: which series and rows a question needs, and their values by steps. Reads one state of the file and, for the minute and hour
// that are not over, the memory; rows as late as what memory has are left to memory, so nothing counts twice.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "rdp/monitor/history/state.hpp"

namespace lucid::monitor {
namespace {

using history::row_key;
using history::Series;
using history::slot;
using history::slot_ms;
using history::Summary;
using history::SummaryBlock;
using history::Tables;
using history::Tier;

constexpr std::size_t kMaxLines = 100, kMaxAllPoints = 100'000;
constexpr std::int64_t kMaxPoints = 11'000, kWantedPoints = 300;
constexpr std::int64_t kEndOfTime = 253'402'300'800'000;  // the year 10000
constexpr std::size_t kIdleReaders = 2;

Error refused_query(const char* pointer, const std::string& reason) {
  return Error(ErrorKind::invalid, fmt::format("history query refused: {} {}", pointer + 1, reason)).with_fields({{pointer, reason}});
}

std::int64_t steps_of(const HistoryQuery& q, std::int64_t step) { return (q.to_ms - 1) / step - q.from_ms / step + 1; }

std::int64_t readable_step(std::int64_t at_least_ms) {
  constexpr std::int64_t kSecond = 1'000, kMinute = 60 * kSecond, kHour = 60 * kMinute, kDay = 24 * kHour;
  for (std::int64_t step : {kSecond, 2 * kSecond, 5 * kSecond, 10 * kSecond, 15 * kSecond, 30 * kSecond, kMinute, 2 * kMinute, 5 * kMinute,
                            10 * kMinute, 15 * kMinute, 30 * kMinute, kHour, 2 * kHour, 3 * kHour, 6 * kHour, 12 * kHour, kDay})
    if (step >= at_least_ms) return step;
  return (at_least_ms + kDay - 1) / kDay * kDay;
}

const Metric& checked(const HistoryQuery& q) {
  const Metric* metric = find_metric(q.metric);
  if (metric == nullptr) throw refused_query("/metric", "is not in the catalogue of metrics");
  if (q.from_ms < 0 || q.from_ms >= q.to_ms) throw refused_query("/from", "must be before `to`, and not before 1970");
  if (q.to_ms > kEndOfTime) throw refused_query("/to", "must be before the year 10000");
  if (q.step_ms < 0) throw refused_query("/step", "must be positive");
  if (q.step_ms > 0 && steps_of(q, q.step_ms) > kMaxPoints)
    throw refused_query("/step", fmt::format("gives {} points; at most {} are answered", steps_of(q, q.step_ms), kMaxPoints));
  return *metric;
}

// What memory has of the metric at one moment.
struct Open {
  struct Value {
    int block, place;
    Summary minute, hour;
  };
  std::int64_t minute = -1, hour = -1, last_ms = 0;
  std::vector<Value> values;
  std::int64_t slot_of(Tier tier) const { return tier == Tier::minute ? minute : hour; }
};

class Answering {
 public:
  Answering(const HistoryQuery& q, Open open, Tables& tables) : q_(q), open_(std::move(open)), tables_(tables) {}

  HistoryAnswer run(std::uint64_t& damaged) {
    choose_tier();
    choose_step();
    find_series();
    if (answer_.lines.size() * static_cast<std::size_t>(steps_of(q_, answer_.step_ms)) > kMaxAllPoints)
      throw refused_query("/step", fmt::format("gives {} lines of {} points; at most {} points are answered", answer_.lines.size(),
                                               steps_of(q_, answer_.step_ms), kMaxAllPoints));
    read_rows();
    add_open();
    for (std::size_t i = 0; i < answer_.lines.size(); ++i) end_step(i);
    std::erase_if(answer_.lines, [](const HistoryLine& line) { return line.points.empty(); });
    std::ranges::sort(answer_.lines, {}, &HistoryLine::subject);
    damaged = damaged_;
    return std::move(answer_);
  }

 private:
  // A series' place in the rows of some time, and the line it belongs to.
  struct Place {
    int block, place;
    std::int64_t first_ms, last_ms;
    std::size_t line;
  };
  struct Step {
    std::int64_t at_ms = -1;
    Summary values;
  };

  // Of what a tier has no more, the newest tick is kept: so a tier whose oldest is not after `from` lacks nothing since.
  void choose_tier() {
    auto oldest = [&](Tier tier) {
      auto key = tables_.first_key(tier);
      std::int64_t open = tier == Tier::raw ? -1 : open_.slot_of(tier);
      return key ? history::row_time(*key) : open >= 0 ? open : INT64_MAX;
    };
    std::int64_t raw = oldest(Tier::raw), minute = oldest(Tier::minute), hour = oldest(Tier::hour);
    auto start = [](Tier tier, std::int64_t at) { return at == INT64_MAX ? at : slot(tier, at); };
    // Nothing older in a coarser tier: then the finer one has all there is.
    if (raw <= q_.from_ms || (start(Tier::minute, raw) <= minute && start(Tier::hour, raw) <= hour))
      tier_ = Tier::raw;
    else if (minute <= q_.from_ms || start(Tier::hour, minute) <= hour)
      tier_ = Tier::minute;
    else
      tier_ = Tier::hour;
    answer_.tier = history::name(tier_);
  }

  void choose_step() {
    std::int64_t span = slot_ms(tier_);
    std::int64_t step = q_.step_ms > 0 ? q_.step_ms : readable_step((q_.to_ms - q_.from_ms) / kWantedPoints);
    answer_.step_ms = (step + span - 1) / span * span;
  }

  void find_series() {
    std::map<std::string, std::size_t, std::less<>> lines;
    std::int64_t live = open_.hour >= 0 ? history::live_since(open_.hour) : INT64_MAX;
    tables_.each_series_of(
        {q_.metric, q_.subject ? &*q_.subject : nullptr, slot(tier_, q_.from_ms), slot(tier_, q_.to_ms - 1) + slot_ms(tier_), live},
        [&](Series series) {
          if (series.block < 0 || series.place < 0 || series.place >= history::kPlaces) return;
          auto line = lines.find(series.subject);
          if (line == lines.end()) {
            if (lines.size() == kMaxLines) {
              answer_.cut = true;
              return;
            }
            line = lines.emplace(series.subject, answer_.lines.size()).first;
            answer_.lines.push_back({series.subject, {}});
          }
          places_.push_back({series.block, series.place, slot(tier_, series.first_ms), series.last_ms >= live ? INT64_MAX : series.last_ms,
                             line->second});
        });
    std::ranges::sort(places_, {}, &Place::block);
    steps_.resize(answer_.lines.size());
  }

  // Of every tick the rows of the blocks asked for, and no others.
  void read_rows() {
    if (places_.empty()) return;
    std::int64_t from = slot(tier_, q_.from_ms), to = q_.to_ms;
    // Rows that came after memory was looked at belong to a later moment.
    to = std::min(to, tier_ == Tier::raw ? open_.last_ms + 1 : open_.slot_of(tier_) >= 0 ? open_.slot_of(tier_) : to);
    std::int64_t first_block = places_.front().block;
    std::int64_t next = row_key(from, first_block);
    std::function<void(const Tables::Row&)> take = [&](const Tables::Row& row) {
      std::int64_t at = history::row_time(row.key), block = history::row_block(row.key);
      if (row.key == next && at < to) {
        add_row(at, block, row);
        ++block;
      }
      auto wanted = std::ranges::lower_bound(places_, block, {}, [](const Place& p) { return std::int64_t{p.block}; });
      next = wanted != places_.end() ? row_key(at, wanted->block) : row_key(at + slot_ms(tier_), first_block);
    };
    while (history::row_time(next) < to && tables_.seek(tier_, next, take)) {}
  }

  void add_row(std::int64_t at, std::int64_t block, const Tables::Row& row) {
    if (!decode(row.bytes, tier_, row.key, row_)) {
      ++damaged_;
      return;
    }
    auto place = std::ranges::lower_bound(places_, block, {}, [](const Place& p) { return std::int64_t{p.block}; });
    for (; place != places_.end() && place->block == block; ++place)
      if ((row_.present >> place->place & 1) != 0 && at >= place->first_ms && at <= place->last_ms)
        add(place->line, at, row_.values[place->place]);
  }

  void add_open() {
    if (tier_ == Tier::raw) return;
    std::int64_t at = open_.slot_of(tier_);
    if (at < slot(tier_, q_.from_ms) || at >= q_.to_ms) return;
    for (const Open::Value& value : open_.values) {
      const Summary& summary = tier_ == Tier::minute ? value.minute : value.hour;
      auto found = std::ranges::find_if(
          places_, [&](const Place& p) { return p.block == value.block && p.place == value.place && p.last_ms == INT64_MAX; });
      if (summary.count > 0 && found != places_.end()) add(found->line, at, summary);
    }
  }

  void add(std::size_t line, std::int64_t at, const Summary& values) {
    std::int64_t step = at - at % answer_.step_ms;
    if (steps_[line].at_ms != step) end_step(line);
    steps_[line].at_ms = step;
    steps_[line].values.add(values);
  }

  void end_step(std::size_t line) {
    Step& step = steps_[line];
    if (step.values.count > 0) answer_.lines[line].points.push_back({step.at_ms, value_of(step.values)});
    step = {};
  }

  double value_of(const Summary& s) const {
    switch (q_.aggregate) {
      case Aggregate::avg: return s.mean();
      case Aggregate::min: return s.min;
      case Aggregate::max: return s.max;
      case Aggregate::last: return s.last;
    }
    return s.mean();
  }

  const HistoryQuery& q_;
  const Open open_;
  Tables& tables_;
  Tier tier_ = Tier::raw;
  HistoryAnswer answer_;
  std::vector<Place> places_;  // by block
  std::vector<Step> steps_;    // a line's step under way
  SummaryBlock row_;
  std::uint64_t damaged_ = 0;
};

}  // namespace

HistoryAnswer History::State::query(const HistoryQuery& q) {
  const Metric& metric = checked(q);
  Open open;
  {
    std::lock_guard reading(memory_mutex);
    open.minute = open_minute;
    open.hour = open_hour;
    open.last_ms = last_ms;
    auto summary = [](const SummaryBlock& block, int place) {
      return (block.present >> place & 1) != 0 ? block.values[static_cast<std::size_t>(place)] : Summary{};
    };
    for (const history::Block& block : active.blocks())
      for (const std::unique_ptr<Series>& series : block.series)
        if (series && series->metric == &metric && (!q.subject || series->subject == *q.subject))
          open.values.push_back({series->block, series->place, summary(block.minute, series->place), summary(block.hour, series->place)});
  }
  HistoryAnswer answer;
  with_reader([&](Tables& reader) {
    reader.snapshot([&] {
      std::uint64_t met = 0;
      answer = Answering(q, std::move(open), reader).run(met);
      damaged += met;
    });
  });
  return answer;
}

void History::State::with_reader(const std::function<void(Tables&)>& use) {
  std::unique_ptr<Tables> reader;
  {
    std::lock_guard lending(readers_mutex);
    if (!readers.empty()) {
      reader = std::move(readers.back());
      readers.pop_back();
    }
  }
  if (!reader) reader = std::make_unique<Tables>(path, Tables::Use::read);
  use(*reader);
  std::lock_guard lending(readers_mutex);
  if (readers.size() < kIdleReaders) readers.push_back(std::move(reader));
}

}  // namespace lucid::monitor
