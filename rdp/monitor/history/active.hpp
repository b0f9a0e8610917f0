// The series that were seen lately, in memory: where each has its place in the rows, and what they read in the open minute and hour. A
// block is up to 32 series of one metric (metrics without a subject share blocks), so that asking for one metric reads few rows. The
// appending thread changes it, under History's lock; see history.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "rdp/monitor/history/row.hpp"
#include "rdp/monitor/reading.hpp"

namespace lucid::monitor::history {

// Series last seen at or after this are live while the hour that begins at `open_hour_ms` is open.
inline std::int64_t live_since(std::int64_t open_hour_ms) { return open_hour_ms - 600'000; }

struct Series {
  std::int64_t number = 0;  // in the table of series
  const Metric* metric = nullptr;
  std::string subject;
  int block = 0, place = 0;
  std::int64_t first_ms = 0, last_ms = 0;
  std::int64_t saved_last_ms = 0;  // last_ms as the table has it
};

struct Block {
  const Metric* metric = nullptr;  // of its series; null: metrics without subject
  std::uint32_t used = 0;          // bit i: place i belongs to a series
  std::array<std::unique_ptr<Series>, kPlaces> series;
  RawBlock tick;  // being appended
  SummaryBlock minute, hour;
  SummaryBlock& open(Tier tier) { return tier == Tier::minute ? minute : hour; }
};

class ActiveSeries {
 public:
  explicit ActiveSeries(std::size_t max) : max_(max) {}
  Series* find(std::string_view metric, std::string_view subject);
  // A new one in a free place; null when there are `max` already.
  Series* add(const Metric& metric, std::string subject);
  // One that has its place from an earlier life of the process; false when that makes no sense.
  bool restore(Series series);
  void remove(Series& series);
  // Removes those last seen before `at_ms`.
  void forget_before(std::int64_t at_ms);
  std::size_t size() const { return by_name_.size(); }
  std::vector<Block>& blocks() { return blocks_; }
  const std::vector<Block>& blocks() const { return blocks_; }

 private:
  struct Key {
    std::string_view metric, subject;  // of the Series itself
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const {
      return std::hash<std::string_view>()(key.metric) * 31 + std::hash<std::string_view>()(key.subject);
    }
  };
  Series* put(Series series);

  std::size_t max_;
  std::vector<Block> blocks_;
  std::unordered_map<Key, Series*, Hash> by_name_;
};

}  // namespace lucid::monitor::history
