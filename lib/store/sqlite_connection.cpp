#include "lib/store/sqlite_connection.hpp"

#include <cerrno>

#include <fmt/format.h>

namespace lucid::store {

namespace {

constexpr int kBusyTimeoutMs = 10'000;

}  // namespace

SqliteConnection::SqliteConnection(const std::string& path, int flags) : path_(path) {
  int code = sqlite3_open_v2(path.c_str(), &db_, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK) {
    try {
      fail(code, "open");
    } catch (...) {
      sqlite3_close(db_);
      throw;
    }
  }
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_busy_timeout(db_, kBusyTimeoutMs);
}

SqliteConnection::~SqliteConnection() {
  for (auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(db_);
}

void SqliteConnection::execute(const char* sql) {
  int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code, sql);
}

void SqliteConnection::roll_back() noexcept {
  if (sqlite3_get_autocommit(db_) == 0) sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
}

SqliteConnection::Statement SqliteConnection::prepare(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) {
    int code = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) fail(code, sql);
  }
  return Statement(*this, statement);
}

void SqliteConnection::fail(int code, const char* doing) const {
  int system = db_ != nullptr ? sqlite3_system_errno(db_) : 0;
  std::string message =
      fmt::format("database {}: {} failed: {} (code {}{})", path_, doing, db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(code), code,
                  system != 0 ? fmt::format(", errno {}", system) : "");
  bool io = (code & 0xff) == SQLITE_IOERR;
  // SQLite calls only ENOSPC "full"; a quota is the same to the operator.
  if ((code & 0xff) == SQLITE_FULL || (io && (system == ENOSPC || system == EDQUOT)))
    throw Error(ErrorKind::storage_full, message + "; free disk space and try again");
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: throw Error(ErrorKind::corrupt, "database_corrupt", message);
    case SQLITE_TOOBIG: throw Error(ErrorKind::too_large, message);
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE: throw Error(ErrorKind::internal, message);
    default: throw Error(ErrorKind::unavailable, "database_unavailable", message);
  }
}

SqliteConnection::Statement::~Statement() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

SqliteConnection::Statement& SqliteConnection::Statement::text(int index, std::string_view value) {
  int code = sqlite3_bind_text64(statement_, index, value.data() != nullptr ? value.data() : "", value.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (code != SQLITE_OK) connection_.fail(code, "bind");
  return *this;
}

SqliteConnection::Statement& SqliteConnection::Statement::integer(int index, std::int64_t value) {
  int code = sqlite3_bind_int64(statement_, index, value);
  if (code != SQLITE_OK) connection_.fail(code, "bind");
  return *this;
}

SqliteConnection::Statement& SqliteConnection::Statement::blob(int index, ByteView value) {
  int code = sqlite3_bind_blob64(statement_, index, value.data() != nullptr ? static_cast<const void*>(value.data()) : "", value.size(),
                                 SQLITE_STATIC);
  if (code != SQLITE_OK) connection_.fail(code, "bind");
  return *this;
}

bool SqliteConnection::Statement::step() {
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  connection_.fail(code, sqlite3_sql(statement_));
}

std::string SqliteConnection::Statement::text_at(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return {text != nullptr ? text : "", static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

ByteView SqliteConnection::Statement::blob_at(int column) const {
  const auto* bytes = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column));
  return {bytes, bytes != nullptr ? static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)) : 0};
}

}  // namespace lucid::store
