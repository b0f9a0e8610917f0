// For tests: a SQLite file system that is the system's own, except that a chosen call fails. It is process-wide and the
// default while the object lives; databases opened meanwhile go through it.
#pragma once

#include <atomic>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <sqlite3.h>

namespace lucid::store {

class FaultyVfs {
 public:
  // Gets the call ("write", "sync", "truncate") and a running number; answers SQLITE_OK or the code to fail with.
  using Decide = std::function<int(const char* call, std::uint64_t number)>;

  explicit FaultyVfs(Decide decide) : decide_(std::move(decide)), real_(sqlite3_vfs_find(nullptr)), vfs_(*real_) {
    current() = this;
    vfs_.zName = "lucid-faulty";
    vfs_.szOsFile = real_->szOsFile + static_cast<int>(sizeof(Wrapped));
    vfs_.xOpen = [](sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
      auto* wrapped = reinterpret_cast<Wrapped*>(file);
      wrapped->base.pMethods = nullptr;
      int code = current()->real_->xOpen(current()->real_, name, real_file(file), flags, out);
      if (real_file(file)->pMethods != nullptr) {
        current()->wrap(real_file(file)->pMethods);
        wrapped->base.pMethods = &current()->methods_;
      }
      return code;
    };
    sqlite3_vfs_register(&vfs_, 1);
  }
  ~FaultyVfs() {
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(real_, 1);
    current() = nullptr;
  }
  FaultyVfs(const FaultyVfs&) = delete;
  std::uint64_t calls() const { return calls_; }

 private:
  struct Wrapped {
    sqlite3_file base;
  };
  static FaultyVfs*& current() {
    static FaultyVfs* one = nullptr;
    return one;
  }
  static sqlite3_file* real_file(sqlite3_file* file) {
    return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(file) + sizeof(Wrapped));
  }
  int check(const char* call) { return decide_(call, calls_++); }

  void wrap(const sqlite3_io_methods* real) {
    using F = sqlite3_file;
    methods_.iVersion = real->iVersion;
    methods_.xClose = [](F* f) { return real_file(f)->pMethods->xClose(real_file(f)); };
    methods_.xRead = [](F* f, void* p, int n, sqlite3_int64 at) { return real_file(f)->pMethods->xRead(real_file(f), p, n, at); };
    methods_.xWrite = [](F* f, const void* p, int n, sqlite3_int64 at) {
      if (int code = current()->check("write")) {
        real_file(f)->pMethods->xWrite(real_file(f), p, n / 2, at);  // as a full disk does
        return code;
      }
      return real_file(f)->pMethods->xWrite(real_file(f), p, n, at);
    };
    methods_.xTruncate = [](F* f, sqlite3_int64 n) {
      if (int code = current()->check("truncate")) return code;
      return real_file(f)->pMethods->xTruncate(real_file(f), n);
    };
    methods_.xSync = [](F* f, int flags) {
      if (int code = current()->check("sync")) return code;
      return real_file(f)->pMethods->xSync(real_file(f), flags);
    };
    methods_.xFileSize = [](F* f, sqlite3_int64* n) { return real_file(f)->pMethods->xFileSize(real_file(f), n); };
    methods_.xLock = [](F* f, int l) { return real_file(f)->pMethods->xLock(real_file(f), l); };
    methods_.xUnlock = [](F* f, int l) { return real_file(f)->pMethods->xUnlock(real_file(f), l); };
    methods_.xCheckReservedLock = [](F* f, int* l) { return real_file(f)->pMethods->xCheckReservedLock(real_file(f), l); };
    methods_.xFileControl = [](F* f, int op, void* arg) { return real_file(f)->pMethods->xFileControl(real_file(f), op, arg); };
    methods_.xSectorSize = [](F* f) { return real_file(f)->pMethods->xSectorSize(real_file(f)); };
    methods_.xDeviceCharacteristics = [](F* f) { return real_file(f)->pMethods->xDeviceCharacteristics(real_file(f)); };
    methods_.xShmMap = [](F* f, int page, int size, int extend, void volatile** out) {
      return real_file(f)->pMethods->xShmMap(real_file(f), page, size, extend, out);
    };
    methods_.xShmLock = [](F* f, int at, int n, int flags) { return real_file(f)->pMethods->xShmLock(real_file(f), at, n, flags); };
    methods_.xShmBarrier = [](F* f) { real_file(f)->pMethods->xShmBarrier(real_file(f)); };
    methods_.xShmUnmap = [](F* f, int gone) { return real_file(f)->pMethods->xShmUnmap(real_file(f), gone); };
    methods_.xFetch = [](F*, sqlite3_int64, int, void** out) {
      *out = nullptr;
      return SQLITE_OK;
    };
    methods_.xUnfetch = [](F*, sqlite3_int64, void*) { return SQLITE_OK; };
  }

  Decide decide_;
  sqlite3_vfs* real_;
  sqlite3_vfs vfs_;
  sqlite3_io_methods methods_{};
  std::atomic<std::uint64_t> calls_{0};
};

}  // namespace lucid::store
