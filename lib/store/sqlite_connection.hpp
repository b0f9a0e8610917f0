// One SQLite connection with its prepared statements. Used by one thread at a time (opened without SQLite's own mutex);
// the documents backend hands connections around. Errors are lucid::Error naming the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include <sqlite3.h>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"

namespace lucid::store {

class SqliteConnection {
 public:
  SqliteConnection(const std::string& path, int flags);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  // Runs SQL without parameters or results.
  void execute(const char* sql);
  // Ends an open transaction without its changes, if there is one. Never throws: SQLite may have rolled back by itself.
  void roll_back() noexcept;
  std::int64_t changes() const { return sqlite3_changes64(db_); }

  // A prepared statement in use: bind, step, read; reset when it goes out of scope.
  class Statement {
   public:
    Statement(SqliteConnection& connection, sqlite3_stmt* statement) : connection_(connection), statement_(statement) {}
    ~Statement();
    Statement(const Statement&) = delete;
    // The bound text must live until the statement ends.
    Statement& text(int index, std::string_view value);
    Statement& integer(int index, std::int64_t value);
    Statement& blob(int index, ByteView value);  // as text(): must live until the statement ends
    bool step();                                 // true: a row; false: done
    std::string text_at(int column) const;
    ByteView blob_at(int column) const;  // valid until the next step
    std::int64_t integer_at(int column) const { return sqlite3_column_int64(statement_, column); }

   private:
    SqliteConnection& connection_;
    sqlite3_stmt* statement_;
  };
  // `sql` is a string literal: prepared once per connection.
  Statement prepare(const char* sql);

 private:
  [[noreturn]] void fail(int code, const char* doing) const;

  std::string path_;
  sqlite3* db_ = nullptr;
  std::unordered_map<const char*, sqlite3_stmt*> statements_;
};

}  // namespace lucid::store
