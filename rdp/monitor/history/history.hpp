// The past of every reading, in one SQLite file: each tick as it came for 2 h, minutes for 48 h, hours for 90 d (minimum, mean, maximum, last,
// count). A tick is one commit of a few rows appended in order (a row holds up to 32 series of one metric), so a small machine's card is
// written little and a question about one metric reads little. Bounded: at most `max_series` series within about an hour (those new beyond it
// are not kept and counted) and 16 times as many remembered (the longest unseen is forgotten first); at most `max_bytes` of file: the oldest
// of the finest tier goes first, and the file's space is used again. A kill loses nothing that append() returned from; power loss loses at
// most the last minute. Thread-safe; appends wait for one another, queries never do.
// Errors: Error{storage_full} when the disk is full, {unavailable} when it fails otherwise, {corrupt} when the file is no database.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rdp/monitor/reading.hpp"

namespace lucid::monitor {

struct HistoryLimits {
  std::int64_t raw_ms = 2 * 3'600'000ll, minute_ms = 48 * 3'600'000ll, hour_ms = 90 * 86'400'000ll;  // how long each tier is kept
  std::size_t max_series = 4096;
  std::uint64_t max_bytes = 256ull << 20;
};

enum class Aggregate { avg, min, max, last };
const char* name(Aggregate aggregate);
std::optional<Aggregate> aggregate(std::string_view name);

struct HistoryQuery {
  std::string metric;
  std::optional<std::string> subject;   // absent: every subject
  std::int64_t from_ms = 0, to_ms = 0;  // wall clock; [from, to)
  std::int64_t step_ms = 0;             // 0: chosen so that about 300 points come out; made a multiple of the tier's span
  Aggregate aggregate = Aggregate::avg;
};
struct HistoryPoint {
  std::int64_t at_ms = 0;  // start of the step
  double value = 0;
};
struct HistoryLine {
  std::string subject;
  std::vector<HistoryPoint> points;  // ascending; steps without a reading are absent
};
struct HistoryAnswer {
  std::int64_t step_ms = 0;  // as used
  std::string tier;          // "raw", "minute" or "hour": the finest that still holds `from` (or the oldest there is)
  std::vector<HistoryLine> lines;
  bool cut = false;  // more subjects matched than are answered
};

class History {
 public:
  // Creates the file (mode 0600) and its directory's entry. A file of a crashed process is taken up as it is; one larger than `max_bytes`
  // is cut and made smaller.
  History(const std::string& path, HistoryLimits limits);
  ~History();
  // Readings of one tick; of two of one series the later counts. A metric that is not in the catalogue is left out. Times that do not grow (the clock went back) are kept under the last time + 1 ms. Non-finite values are left out.
  void append(std::int64_t wall_ms, std::span<const Reading> readings);
  // At most 100 lines of at most 11 000 points, 100 000 points in all. Error{invalid} naming the field for an unknown metric, from >= to, a
  // range or step that would be more.
  HistoryAnswer query(const HistoryQuery& query) const;
  struct Size {
    std::uint64_t bytes = 0;           // of the file and its log
    std::uint64_t series = 0;          // at the moment
    std::uint64_t refused_series = 0;  // readings left out because there were too many series, or with a subject of more than 256 bytes
    std::uint64_t damaged_rows = 0;    // rows met by queries and skipped because their bytes are not what was written
    std::int64_t oldest_ms = 0;
  };
  Size size() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lucid::monitor
