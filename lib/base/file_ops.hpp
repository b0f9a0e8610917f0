// The only place that opens, writes, syncs, renames and removes files that must survive a crash. Code that keeps data
// takes a FileOps&, so tests can make any call fail (FaultyFileOps) and then check what is left. Any thread.
//
// Words used here: "durable" means it survives power loss once the call returned; "visible" means other processes see
// it and it survives kill -9, but not power loss.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"

namespace lucid {

// An open file descriptor, closed when it goes out of scope.
class File {
 public:
  File() = default;
  explicit File(int fd) : fd_(fd) {}
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  File& operator=(File&& other) noexcept;
  ~File() { close(); }
  int fd() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void close();

 private:
  int fd_ = -1;
};

enum class OpenMode {
  read,        // must exist
  append,      // created (0600) when absent; every write goes to the end
  create_new,  // must not exist; 0600
};

class FileOps {
 public:
  virtual ~FileOps() = default;
  // All throw lucid::Error (system_error) naming the path.
  virtual File open(const std::string& path, OpenMode mode);
  // Writes all of `bytes` at the file's end or position. Visible on return. After a throw part of it may be there.
  virtual void write(const File& file, ByteView bytes, const std::string& path);
  // Makes everything written to `file` so far durable.
  virtual void sync_data(const File& file, const std::string& path);
  // Makes creations, renames and removals inside directory `path` durable.
  virtual void sync_directory(const std::string& path);
  virtual void rename(const std::string& from, const std::string& to);
  virtual void remove(const std::string& path);  // absent is fine
  virtual void truncate(const File& file, std::uint64_t size, const std::string& path);
  // Reads up to out.size() bytes at `offset`; the count read (short only at the end of the file).
  virtual std::size_t read_at(const File& file, std::span<std::uint8_t> out, std::uint64_t offset, const std::string& path);
  virtual std::uint64_t size(const File& file, const std::string& path);

  // Built from the calls above.
  // Creates `path` and its parents with mode 0700 (existing ones are left alone); durable.
  void make_directories(const std::string& path);
  // Replaces `path` by `bytes` with mode 0600: a reader sees the old or the new content, never a mixture; durable.
  void replace_file(const std::string& path, ByteView bytes);
  // The whole file; Error{not_found} when absent, Error{too_large} above `max_bytes`.
  Bytes read_file(const std::string& path, std::size_t max_bytes = 64 << 20);
  // Names in a directory, sorted, without "." and ".."; empty when the directory is absent.
  std::vector<std::string> list(const std::string& path);
  bool exists(const std::string& path);
  // Removes a directory and all below it. Not atomic; safe to repeat.
  void remove_tree(const std::string& path);
};

// The real one. Stateless; one shared instance is enough for a process.
FileOps& system_files();

// Calls through to the system, except that calls chosen by `fail` throw instead: it gets the call's name ("write",
// "sync_data", "rename", "open", "truncate", "remove", "sync_directory", "read_at"), the path and a running number, and
// answers the errno to fail with, or 0. A failing write first writes half of its bytes, as a full disk does.
class FaultyFileOps final : public FileOps {
 public:
  using Decide = std::function<int(std::string_view call, const std::string& path, std::uint64_t number)>;
  explicit FaultyFileOps(Decide fail) : fail_(std::move(fail)) {}
  File open(const std::string& path, OpenMode mode) override;
  void write(const File& file, ByteView bytes, const std::string& path) override;
  void sync_data(const File& file, const std::string& path) override;
  void sync_directory(const std::string& path) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove(const std::string& path) override;
  void truncate(const File& file, std::uint64_t size, const std::string& path) override;
  std::size_t read_at(const File& file, std::span<std::uint8_t> out, std::uint64_t offset, const std::string& path) override;
  std::uint64_t calls() const { return calls_; }

 private:
  void check(const char* call, const std::string& path);
  Decide fail_;
  std::atomic<std::uint64_t> calls_ = 0;
};

// A directory under $TMPDIR that is removed with the object. For tests and scratch work.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace lucid
