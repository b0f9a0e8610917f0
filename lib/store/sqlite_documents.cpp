// Documents on SQLite: one table keyed (collection, key). One connection writes, by whichever thread leads: it takes
// every change waiting at that moment into one transaction, so one sync serves all of them. Readers have connections of
// their own and, thanks to WAL, never wait for a writer.
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <type_traits>

#include <fmt/format.h>

#include "lib/base/file_ops.hpp"
#include "lib/store/documents.hpp"
#include "lib/store/sqlite_connection.hpp"

namespace lucid::store {

namespace {

constexpr int kSchemaVersion = 1;
constexpr std::size_t kIdleReaders = 16;

std::string directory_of(const std::string& path) {
  std::size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? std::string(".") : path.substr(0, slash);
}

void prepare_writer(SqliteConnection& db, const std::string& path) {
  db.execute("PRAGMA journal_mode=WAL");
  db.execute("PRAGMA synchronous=FULL");
  db.execute("PRAGMA wal_autocheckpoint=2000");
  db.execute("PRAGMA journal_size_limit=67108864");
  db.execute("PRAGMA trusted_schema=OFF");
  std::int64_t version = 0;
  {
    auto statement = db.prepare("PRAGMA user_version");
    if (statement.step()) version = statement.integer_at(0);
  }
  if (version == kSchemaVersion) return;
  if (version != 0)
    throw Error(
        ErrorKind::unavailable, "database_version",
        fmt::format("database {} has version {}, this program knows {}; run the program that wrote it", path, version, kSchemaVersion));
  db.execute("BEGIN IMMEDIATE");
  try {
    db.execute(
        "CREATE TABLE IF NOT EXISTS documents(collection TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, "
        "json TEXT NOT NULL, PRIMARY KEY(collection, key)) WITHOUT ROWID");
    db.execute("PRAGMA user_version=1");
    db.execute("COMMIT");
  } catch (...) {
    db.roll_back();
    throw;
  }
}

class SqliteDocuments final : public Documents {
 public:
  explicit SqliteDocuments(const std::string& path) : path_(path) {
    const std::string directory = directory_of(path);
    FileOps& files = system_files();
    files.make_directories(directory);
    // Created here, so that the file is private from its first moment; SQLite gives -wal and -shm the same mode.
    files.open(path, OpenMode::append).close();
    writer_ = std::make_unique<SqliteConnection>(path, SQLITE_OPEN_READWRITE);
    prepare_writer(*writer_, path);
    files.sync_directory(directory);
  }

  bool insert(const std::string& collection, const std::string& key, const std::string& json) override {
    bool fresh = false;
    change([&] { fresh = insert_one(collection, key, json); });
    return fresh;
  }

  std::vector<bool> insert_many(std::span<const Insert> inserts) override {
    std::vector<bool> fresh(inserts.size());
    if (inserts.empty()) return fresh;
    change([&] {
      for (std::size_t i = 0; i < inserts.size(); ++i) fresh[i] = insert_one(inserts[i].collection, inserts[i].key, inserts[i].json);
    });
    return fresh;
  }

  std::optional<Document> get(const std::string& collection, const std::string& key) override {
    return read([&](SqliteConnection& db) -> std::optional<Document> {
      auto statement = db.prepare("SELECT version, json FROM documents WHERE collection=?1 AND key=?2");
      if (!statement.text(1, collection).text(2, key).step()) return std::nullopt;
      return Document{key, statement.integer_at(0), statement.text_at(1)};
    });
  }

  bool replace(const std::string& collection, const std::string& key, const std::string& json, std::int64_t expected_version) override {
    bool changed = false;
    change([&] {
      auto statement = writer_->prepare("UPDATE documents SET json=?3, version=version+1 WHERE collection=?1 AND key=?2 AND version=?4");
      statement.text(1, collection).text(2, key).text(3, json).integer(4, expected_version).step();
      changed = writer_->changes() > 0;
    });
    return changed;
  }

  void put(const std::string& collection, const std::string& key, const std::string& json) override {
    change([&] {
      auto statement = writer_->prepare(
          "INSERT INTO documents(collection, key, version, json) VALUES(?1, ?2, 1, ?3) "
          "ON CONFLICT(collection, key) DO UPDATE SET version=version+1, json=excluded.json");
      statement.text(1, collection).text(2, key).text(3, json).step();
    });
  }

  bool remove(const std::string& collection, const std::string& key) override {
    bool removed = false;
    change([&] {
      auto statement = writer_->prepare("DELETE FROM documents WHERE collection=?1 AND key=?2");
      statement.text(1, collection).text(2, key).step();
      removed = writer_->changes() > 0;
    });
    return removed;
  }

  std::uint64_t remove_range(const std::string& collection, const std::string& from, const std::string& to) override {
    std::uint64_t removed = 0;
    change([&] {
      auto statement = writer_->prepare(to.empty() ? "DELETE FROM documents WHERE collection=?1 AND key>=?2"
                                                   : "DELETE FROM documents WHERE collection=?1 AND key>=?2 AND key<?3");
      statement.text(1, collection).text(2, from);
      if (!to.empty()) statement.text(3, to);
      statement.step();
      removed = static_cast<std::uint64_t>(writer_->changes());
    });
    return removed;
  }

  std::vector<Document> scan(const std::string& collection, const Scan& scan) override {
    bool up = scan.order == Order::ascending;
    const char* sql =
        scan.to.empty()
            ? (up ? "SELECT key, version, json FROM documents WHERE collection=?1 AND key>=?2 ORDER BY key LIMIT ?4"
                  : "SELECT key, version, json FROM documents WHERE collection=?1 AND key>=?2 ORDER BY key DESC LIMIT ?4")
            : (up ? "SELECT key, version, json FROM documents WHERE collection=?1 AND key>=?2 AND key<?3 ORDER BY key LIMIT ?4"
                  : "SELECT key, version, json FROM documents WHERE collection=?1 AND key>=?2 AND key<?3 ORDER BY key DESC LIMIT ?4");
    return read([&](SqliteConnection& db) {
      std::vector<Document> found;
      auto statement = db.prepare(sql);
      statement.text(1, collection).text(2, scan.from);
      if (!scan.to.empty()) statement.text(3, scan.to);
      statement.integer(4, static_cast<std::int64_t>(std::min<std::size_t>(scan.limit, INT64_MAX)));
      while (statement.step()) found.push_back({statement.text_at(0), statement.integer_at(1), statement.text_at(2)});
      return found;
    });
  }

  std::uint64_t count(const std::string& collection, const std::string& from, const std::string& to) override {
    return read([&](SqliteConnection& db) {
      auto statement = db.prepare(to.empty() ? "SELECT count(*) FROM documents WHERE collection=?1 AND key>=?2"
                                             : "SELECT count(*) FROM documents WHERE collection=?1 AND key>=?2 AND key<?3");
      statement.text(1, collection).text(2, from);
      if (!to.empty()) statement.text(3, to);
      statement.step();
      return static_cast<std::uint64_t>(statement.integer_at(0));
    });
  }

 private:
  struct Job {
    const std::function<void()>& run;  // may run twice; only the last run counts
    std::exception_ptr error;
    bool done = false;
  };

  bool insert_one(const std::string& collection, const std::string& key, const std::string& json) {
    auto statement = writer_->prepare("INSERT INTO documents(collection, key, version, json) VALUES(?1, ?2, 1, ?3) ON CONFLICT DO NOTHING");
    statement.text(1, collection).text(2, key).text(3, json).step();
    return writer_->changes() > 0;
  }

  // Returns when `run`'s changes are durable; throws when they were not made.
  void change(const std::function<void()>& run) {
    Job job{run, nullptr, false};
    std::unique_lock lock(mutex_);
    waiting_.push_back(&job);
    while (!job.done) {
      if (leading_) {
        changed_.wait(lock);
        continue;
      }
      leading_ = true;
      std::vector<Job*> batch;
      batch.swap(waiting_);
      lock.unlock();
      commit(batch);
      lock.lock();
      for (Job* each : batch) each->done = true;
      leading_ = false;
      changed_.notify_all();
    }
    if (job.error) std::rethrow_exception(job.error);
  }

  void commit(std::span<Job* const> batch) {
    try {
      writer_->execute("BEGIN IMMEDIATE");
      for (Job* job : batch) job->run();
      writer_->execute("COMMIT");
      return;
    } catch (...) {
      writer_->roll_back();
      if (batch.size() == 1) {
        batch[0]->error = std::current_exception();
        return;
      }
    }
    // One bad change must not fail its neighbours: each gets a transaction and an answer of its own.
    for (Job* job : batch) commit(std::span<Job* const>(&job, 1));
  }

  template <class F>
  std::invoke_result_t<const F&, SqliteConnection&> read(const F& use) {
    std::unique_ptr<SqliteConnection> db;
    {
      std::lock_guard lock(readers_mutex_);
      if (!readers_.empty()) {
        db = std::move(readers_.back());
        readers_.pop_back();
      }
    }
    if (!db) {
      db = std::make_unique<SqliteConnection>(path_, SQLITE_OPEN_READONLY);
      db->execute("PRAGMA trusted_schema=OFF");
    }
    auto answer = use(*db);
    std::lock_guard lock(readers_mutex_);
    if (readers_.size() < kIdleReaders) readers_.push_back(std::move(db));
    return answer;
  }

  std::string path_;
  std::unique_ptr<SqliteConnection> writer_;  // used by the leader only; closed last, so that it checkpoints
  std::mutex mutex_;
  std::condition_variable changed_;
  bool leading_ = false;
  std::vector<Job*> waiting_;
  std::mutex readers_mutex_;
  std::vector<std::unique_ptr<SqliteConnection>> readers_;
};

}  // namespace

std::unique_ptr<Documents> open_sqlite_documents(const std::string& path) { return std::make_unique<SqliteDocuments>(path); }

std::string sortable(std::uint64_t number) { return fmt::format("{:016x}", number); }

// No UTF-8 text holds the byte 0xff, so this key lies behind every text that starts with `prefix`.
std::string after_prefix(const std::string& prefix) { return prefix + '\xff'; }

}  // namespace lucid::store
