// The SQLite file below History: one table of rows a tier (key: time and block; see row.hpp) and one of series. SQL only; what is kept and
// when is History's. A Tables is one connection, used by one thread at a time. Throws lucid::Error naming the file.
//
// Pages of 4 KiB: a tick is a few hundred bytes to some KiB, and SQLite writes whole pages. WAL with synchronous=NORMAL: a commit is one
// write without a sync; checkpoint() syncs.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "lib/store/sqlite_connection.hpp"
#include "rdp/monitor/history/active.hpp"
#include "rdp/monitor/history/row.hpp"

namespace lucid::monitor::history {

class Tables {
 public:
  enum class Use { write, read };
  // For writing: creates the file (0600) and the tables when they are not there. The write-ahead log is kept at about `log_bytes`.
  Tables(const std::string& path, Use use, std::uint64_t log_bytes = 0);

  // Runs `change` as one transaction; nothing of it is kept when it throws.
  void change(const std::function<void()>& change);
  // Runs `read` over one state of the file.
  void snapshot(const std::function<void()>& read);

  void insert(Tier tier, std::int64_t key, ByteView row);
  // The first row at or after `key`: its key, and its bytes when the key is `key` itself.
  struct Row {
    std::int64_t key;
    ByteView bytes;  // valid during `use`
  };
  // Calls `use` with it; false when there is none.
  bool seek(Tier tier, std::int64_t key, const std::function<void(const Row&)>& use);
  std::optional<std::int64_t> first_key(Tier tier);
  std::optional<std::int64_t> last_key(Tier tier);
  std::optional<std::int64_t> last_key_before(Tier tier, std::int64_t before_ms);
  // Removes rows before `before_ms`, oldest first, at most about `max_rows` (whole ticks). The count removed.
  std::int64_t remove_before(Tier tier, std::int64_t before_ms, std::int64_t max_rows);

  void insert_series(const Series& series);
  void save_last_seen(std::int64_t number, std::int64_t last_ms);
  std::int64_t last_series_number();
  // Series last seen at or after `since_ms`, in order of number. A metric that is no more is null in Series::metric.
  void each_series_since(std::int64_t since_ms, const std::function<void(Series)>& use);
  // Series of a metric (of one subject, when given) seen within [from, to), or at or after `live_since`; the latest seen first.
  struct Wanted {
    std::string_view metric;
    const std::string* subject = nullptr;
    std::int64_t from_ms = 0, to_ms = 0, live_since = 0;
  };
  void each_series_of(const Wanted& wanted, const std::function<void(Series)>& use);
  // Forgets series last seen before `before_ms`, then the longest unseen above `max_series` of those not seen since `live_since`.
  void forget_series(std::int64_t before_ms, std::int64_t max_series, std::int64_t live_since);

  std::uint64_t used_bytes();  // pages in use; the file itself is never larger than the most there were
  std::uint64_t file_bytes();
  void checkpoint();
  void vacuum();

 private:
  std::int64_t number(const char* sql);
  void create(const std::string& path, std::uint64_t log_bytes);
  store::SqliteConnection& db() { return *db_; }

  std::unique_ptr<store::SqliteConnection> db_;
};

}  // namespace lucid::monitor::history
