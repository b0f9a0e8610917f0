#include "rdp/monitor/history/tables.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "lib/base/file_ops.hpp"

namespace lucid::monitor::history {
namespace {

constexpr std::int64_t kSchema = 1;
constexpr std::int64_t kApplication = 1280133192;  // "LMhH": says whose file it is

// One statement a tier, in the order of Tier; literals, because statements are kept by their address.
using PerTier = std::array<const char*, 3>;
constexpr PerTier kInsert{"INSERT INTO raw(key, row) VALUES(?1, ?2)", "INSERT INTO minute(key, row) VALUES(?1, ?2)",
                          "INSERT INTO hour(key, row) VALUES(?1, ?2)"};
constexpr PerTier kSeek{"SELECT key, row FROM raw WHERE key>=?1 ORDER BY key LIMIT 1",
                        "SELECT key, row FROM minute WHERE key>=?1 ORDER BY key LIMIT 1",
                        "SELECT key, row FROM hour WHERE key>=?1 ORDER BY key LIMIT 1"};
constexpr PerTier kFirst{"SELECT key FROM raw ORDER BY key LIMIT 1", "SELECT key FROM minute ORDER BY key LIMIT 1",
                         "SELECT key FROM hour ORDER BY key LIMIT 1"};
constexpr PerTier kLast{"SELECT key FROM raw WHERE key<?1 ORDER BY key DESC LIMIT 1",
                        "SELECT key FROM minute WHERE key<?1 ORDER BY key DESC LIMIT 1",
                        "SELECT key FROM hour WHERE key<?1 ORDER BY key DESC LIMIT 1"};
constexpr PerTier kNth{"SELECT key FROM raw WHERE key<?1 ORDER BY key LIMIT 1 OFFSET ?2",
                       "SELECT key FROM minute WHERE key<?1 ORDER BY key LIMIT 1 OFFSET ?2",
                       "SELECT key FROM hour WHERE key<?1 ORDER BY key LIMIT 1 OFFSET ?2"};
constexpr PerTier kRemove{"DELETE FROM raw WHERE key<?1", "DELETE FROM minute WHERE key<?1", "DELETE FROM hour WHERE key<?1"};

const char* of(const PerTier& sql, Tier tier) { return sql[static_cast<std::size_t>(tier)]; }

// Columns: number, metric, subject, block, place, first, last.
Series series_at(const store::SqliteConnection::Statement& row) {
  Series series;
  series.number = row.integer_at(0);
  series.metric = find_metric(row.text_at(1));
  series.subject = row.text_at(2);
  series.block = static_cast<int>(std::clamp<std::int64_t>(row.integer_at(3), -1, INT32_MAX));
  series.place = static_cast<int>(std::clamp<std::int64_t>(row.integer_at(4), -1, kPlaces));
  series.first_ms = row.integer_at(5);
  series.last_ms = series.saved_last_ms = row.integer_at(6);
  return series;
}

}  // namespace

Tables::Tables(const std::string& path, Use use, std::uint64_t log_bytes) {
  if (use == Use::write) {
    create(path, log_bytes);
    return;
  }
  db_ = std::make_unique<store::SqliteConnection>(path, SQLITE_OPEN_READONLY);
  db_->execute("PRAGMA trusted_schema=OFF");
  db_->execute("PRAGMA cache_size=-1024");
}

void Tables::create(const std::string& path, std::uint64_t log_bytes) {
  FileOps& files = system_files();
  std::size_t slash = path.find_last_of('/');
  std::string directory = slash == std::string::npos ? "." : path.substr(0, slash);
  files.make_directories(directory);
  // Created here, so that the file is private from its first moment; SQLite gives -wal and -shm the same mode.
  files.open(path, OpenMode::append).close();
  db_ = std::make_unique<store::SqliteConnection>(path, SQLITE_OPEN_READWRITE);
  db_->execute("PRAGMA page_size=4096");
  db_->execute("PRAGMA journal_mode=WAL");
  db_->execute("PRAGMA synchronous=NORMAL");
  db_->execute(fmt::format("PRAGMA journal_size_limit={}", log_bytes).c_str());
  // A commit of the turn of an hour comes on top.
  db_->execute(fmt::format("PRAGMA wal_autocheckpoint={}", std::max<std::uint64_t>(log_bytes * 3 / 5 / 4096, 16)).c_str());
  db_->execute("PRAGMA cache_size=-1024");
  db_->execute("PRAGMA trusted_schema=OFF");
  std::int64_t version = number("PRAGMA user_version");
  bool ours = version == 0 ? number("SELECT count(*) FROM sqlite_schema") == 0 : number("PRAGMA application_id") == kApplication;
  if (!ours)
    throw Error(ErrorKind::corrupt, "database_corrupt",
                fmt::format("{} is a database, but not the monitor's history; move it away, a new one is begun", path));
  if (version != 0 && version != kSchema)
    throw Error(ErrorKind::unavailable, "database_version",
                fmt::format("database {} has version {}, this program knows {}; run the program that wrote it", path, version, kSchema));
  if (version == 0) {
    change([&] {
      db().execute("CREATE TABLE raw(key INTEGER PRIMARY KEY, row BLOB NOT NULL)");
      db().execute("CREATE TABLE minute(key INTEGER PRIMARY KEY, row BLOB NOT NULL)");
      db().execute("CREATE TABLE hour(key INTEGER PRIMARY KEY, row BLOB NOT NULL)");
      db().execute(
          "CREATE TABLE series(number INTEGER PRIMARY KEY, metric TEXT NOT NULL, subject TEXT NOT NULL, block INTEGER NOT NULL, "
          "place INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL)");
      db().execute("CREATE INDEX series_of_metric ON series(metric)");
      db().execute("PRAGMA application_id=1280133192");
      db().execute("PRAGMA user_version=1");
    });
  }
  files.sync_directory(directory);
}

std::int64_t Tables::number(const char* sql) {
  auto statement = db().prepare(sql);
  return statement.step() ? statement.integer_at(0) : 0;
}

void Tables::change(const std::function<void()>& change) {
  db().execute("BEGIN IMMEDIATE");
  try {
    change();
    db().execute("COMMIT");
  } catch (...) {
    db().roll_back();
    throw;
  }
}

void Tables::snapshot(const std::function<void()>& read) {
  db().execute("BEGIN");
  try {
    read();
  } catch (...) {
    db().roll_back();
    throw;
  }
  db().roll_back();
}

void Tables::insert(Tier tier, std::int64_t key, ByteView row) { db().prepare(of(kInsert, tier)).integer(1, key).blob(2, row).step(); }

bool Tables::seek(Tier tier, std::int64_t key, const std::function<void(const Row&)>& use) {
  auto statement = db().prepare(of(kSeek, tier));
  if (!statement.integer(1, key).step()) return false;
  std::int64_t found = statement.integer_at(0);
  use({found, found == key ? statement.blob_at(1) : ByteView{}});
  return true;
}

std::optional<std::int64_t> Tables::first_key(Tier tier) {
  auto statement = db().prepare(of(kFirst, tier));
  return statement.step() ? std::optional(statement.integer_at(0)) : std::nullopt;
}

std::optional<std::int64_t> Tables::last_key(Tier tier) { return last_key_before(tier, INT64_MAX >> 16); }

std::optional<std::int64_t> Tables::last_key_before(Tier tier, std::int64_t before_ms) {
  auto statement = db().prepare(of(kLast, tier));
  return statement.integer(1, row_key(before_ms, 0)).step() ? std::optional(statement.integer_at(0)) : std::nullopt;
}

std::int64_t Tables::remove_before(Tier tier, std::int64_t before_ms, std::int64_t max_rows) {
  std::int64_t end = row_key(before_ms, 0);
  {
    auto statement = db().prepare(of(kNth, tier));
    if (statement.integer(1, end).integer(2, max_rows).step()) end = row_key(row_time(statement.integer_at(0)) + 1, 0);
  }
  db().prepare(of(kRemove, tier)).integer(1, end).step();
  return db().changes();
}

void Tables::insert_series(const Series& series) {
  db().prepare("INSERT INTO series(number, metric, subject, block, place, first, last) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")
      .integer(1, series.number)
      .text(2, series.metric->name)
      .text(3, series.subject)
      .integer(4, series.block)
      .integer(5, series.place)
      .integer(6, series.first_ms)
      .integer(7, series.last_ms)
      .step();
}

void Tables::save_last_seen(std::int64_t number, std::int64_t last_ms) {
  db().prepare("UPDATE series SET last=?2 WHERE number=?1").integer(1, number).integer(2, last_ms).step();
}

std::int64_t Tables::last_series_number() { return number("SELECT max(number) FROM series"); }

void Tables::each_series_since(std::int64_t since_ms, const std::function<void(Series)>& use) {
  auto statement = db().prepare("SELECT number, metric, subject, block, place, first, last FROM series WHERE last>=?1 ORDER BY number");
  statement.integer(1, since_ms);
  while (statement.step()) use(series_at(statement));
}

void Tables::each_series_of(const Wanted& wanted, const std::function<void(Series)>& use) {
  auto statement = db().prepare(wanted.subject != nullptr
                                    ? "SELECT number, metric, subject, block, place, first, last FROM series WHERE metric=?1 AND first<?3 "
                                      "AND (last>=?2 OR last>=?4) AND subject=?5 ORDER BY last>=?4 DESC, last DESC, subject"
                                    : "SELECT number, metric, subject, block, place, first, last FROM series WHERE metric=?1 AND first<?3 "
                                      "AND (last>=?2 OR last>=?4) ORDER BY last>=?4 DESC, last DESC, subject");
  statement.text(1, wanted.metric).integer(2, wanted.from_ms).integer(3, wanted.to_ms).integer(4, wanted.live_since);
  if (wanted.subject != nullptr) statement.text(5, *wanted.subject);
  while (statement.step()) use(series_at(statement));
}

void Tables::forget_series(std::int64_t before_ms, std::int64_t max_series, std::int64_t live_since) {
  db().prepare("DELETE FROM series WHERE last<?1").integer(1, before_ms).step();
  std::int64_t more = number("SELECT count(*) FROM series") - max_series;
  if (more <= 0) return;
  db().prepare("DELETE FROM series WHERE number IN (SELECT number FROM series WHERE last<?1 ORDER BY last LIMIT ?2)")
      .integer(1, live_since)
      .integer(2, more)
      .step();
}

std::uint64_t Tables::used_bytes() {
  return static_cast<std::uint64_t>(number("PRAGMA page_count") - number("PRAGMA freelist_count")) *
         static_cast<std::uint64_t>(number("PRAGMA page_size"));
}

std::uint64_t Tables::file_bytes() {
  return static_cast<std::uint64_t>(number("PRAGMA page_count")) * static_cast<std::uint64_t>(number("PRAGMA page_size"));
}

void Tables::checkpoint() {
  auto statement = db().prepare("PRAGMA wal_checkpoint(PASSIVE)");
  statement.step();
}

void Tables::vacuum() {
  db().execute("VACUUM");
  db().execute("PRAGMA wal_checkpoint(TRUNCATE)");
}

}  // namespace lucid::monitor::history
