// What a History is made of; internal to history.cpp (appending) and query.cpp.
//
// The minute and hour under way are summed up in memory and written when they are over. What the file holds of them are the finer rows, from
// which they are summed up again after a restart. A series is `live` when it was seen since 10 minutes before the open hour began: those are
// in memory and keep their place in the rows; every other has its last sight in the file, and its place may be another's.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>

#include "rdp/monitor/history/active.hpp"
#include "rdp/monitor/history/history.hpp"
#include "rdp/monitor/history/tables.hpp"

namespace lucid::monitor {

struct History::State {
  State(const std::string& path, HistoryLimits limits);

  void append(std::int64_t wall_ms, std::span<const Reading> readings);
  HistoryAnswer query(const HistoryQuery& query);
  Size size();
  // Lends a reading connection of its own.
  void with_reader(const std::function<void(history::Tables&)>& use);

  const std::string path;
  const HistoryLimits limits;

  // Appending: one at a time.
  std::mutex append_mutex;
  history::Tables writer;
  std::int64_t next_number = 1;
  Bytes scratch;
  std::chrono::steady_clock::time_point synced = std::chrono::steady_clock::now();

  // What appending changes and queries read: held for microseconds.
  std::mutex memory_mutex;
  history::ActiveSeries active;
  std::int64_t open_minute = -1, open_hour = -1;  // their start; -1: none is open
  std::int64_t last_ms = 0;                       // no later row is there
  std::uint64_t refused = 0;

  std::atomic<std::uint64_t> damaged{0};
  std::mutex readers_mutex;
  std::vector<std::unique_ptr<history::Tables>> readers;

 private:
  void take_up();
  void sum_up_again(history::Tier tier, std::int64_t from_ms, std::int64_t to_ms, history::Tier into);
  void shrink();
  std::int64_t time_after_last(std::int64_t wall_ms) const;
  void close_spans(std::int64_t at_ms);
  void keep_limits(std::int64_t at_ms);
  void make_room();
  static std::uint64_t log_bytes(const HistoryLimits& limits);
  std::uint64_t room() const { return limits.max_bytes - log_bytes(limits); }  // of the file without its log
  std::vector<history::Series*> stage(std::int64_t at_ms, std::span<const Reading> readings);
  void write_tick(std::int64_t at_ms, std::span<history::Series* const> fresh);
  void add_tick(std::int64_t at_ms);
};

}  // namespace lucid::monitor
