#include "rdp/monitor/history/active.hpp"

#include <bit>

namespace lucid::monitor::history {
namespace {

constexpr std::size_t kMaxBlocks = 1 << 16;  // what a row's key has room for
constexpr std::uint32_t kFull = 0xffffffff;

const Metric* block_metric(const Metric& metric) { return metric.subject == Subject::none ? nullptr : &metric; }

}  // namespace

Series* ActiveSeries::find(std::string_view metric, std::string_view subject) {
  auto found = by_name_.find(Key{metric, subject});
  return found != by_name_.end() ? found->second : nullptr;
}

Series* ActiveSeries::add(const Metric& metric, std::string subject) {
  if (by_name_.size() >= max_) return nullptr;
  const Metric* wanted = block_metric(metric);
  std::size_t at = blocks_.size();
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    if (block.used != kFull && block.used != 0 && block.metric == wanted) {
      at = i;
      break;
    }
    if (block.used == 0 && at == blocks_.size()) at = i;
  }
  if (at == kMaxBlocks) return nullptr;
  Series series;
  series.metric = &metric;
  series.subject = std::move(subject);
  series.block = static_cast<int>(at);
  series.place = at < blocks_.size() ? std::countr_one(blocks_[at].used) : 0;
  return put(std::move(series));
}

bool ActiveSeries::restore(Series series) {
  if (by_name_.size() >= max_ || series.block < 0 || series.block >= static_cast<int>(kMaxBlocks) || series.place < 0 ||
      series.place >= kPlaces || find(series.metric->name, series.subject) != nullptr)
    return false;
  if (series.block < static_cast<int>(blocks_.size())) {
    const Block& block = blocks_[series.block];
    if ((block.used >> series.place & 1) != 0 || (block.used != 0 && block.metric != block_metric(*series.metric))) return false;
  }
  put(std::move(series));
  return true;
}

Series* ActiveSeries::put(Series series) {
  if (series.block >= static_cast<int>(blocks_.size())) blocks_.resize(static_cast<std::size_t>(series.block) + 1);
  Block& block = blocks_[series.block];
  std::unique_ptr<Series>& place = block.series[series.place];
  place = std::make_unique<Series>(std::move(series));
  block.metric = block_metric(*place->metric);
  block.used |= 1u << place->place;
  by_name_.emplace(Key{place->metric->name, place->subject}, place.get());
  return place.get();
}

void ActiveSeries::remove(Series& series) {
  by_name_.erase(Key{series.metric->name, series.subject});
  Block& block = blocks_[series.block];
  std::uint32_t others = ~(1u << series.place);
  block.used &= others;
  block.tick.present &= others;
  block.minute.present &= others;
  block.hour.present &= others;
  block.series[series.place].reset();
}

void ActiveSeries::forget_before(std::int64_t at_ms) {
  for (Block& block : blocks_)
    for (std::unique_ptr<Series>& series : block.series)
      if (series && series->last_ms < at_ms) remove(*series);
}

}  // namespace lucid::monitor::history
