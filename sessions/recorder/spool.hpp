// The recorder's durable memory: sealed batches of all sessions of this process, appended to one spool file at a time.
// A batch is visible (survives kill -9 of this process) when append() returned, and durable (survives power loss) at most
// `sync_interval` later, or when make_durable() returned. A segment's batches all lie in one file, because the file's key
// seals them; a file goes when every segment in it is released. The recorder cannot read back what it sealed.
//
// Disk full: what cannot be written stays in memory, sealed, up to `memory_limit`; a half-written batch is truncated
// away; the worker tries again every `retry_interval`. At the limit append() refuses and `pressure(true)` is called, and
// `pressure(false)` when there is room again.
//
// After a crash recover() finds every whole batch of earlier processes by its readable header; a torn tail is ignored.
// Any thread; one Segment is appended to by one thread. Owned by the Recorder.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/file_ops.hpp"
#include "lib/base/id.hpp"
#include "lib/base/random.hpp"
#include "lib/recording/spool_format.hpp"
#include "lib/runtime/log.hpp"

namespace lucid::recorder {

struct SpoolConfig {
  std::string directory;
  std::uint64_t rotate_bytes = 64 << 20;
  std::uint64_t early_rotate_bytes = 1 << 20;  // an idle file above this size is given back
  std::size_t memory_limit = 64 << 20;
  std::chrono::milliseconds sync_interval{500};
  std::chrono::milliseconds retry_interval{500};
};

struct SpoolFile;

// One segment's batches and where they lie. Fields below the line belong to the Spool.
struct Segment {
  Id session;
  std::uint64_t sequence = 0;
  std::uint64_t fencing_token = 0;
  std::int64_t first_ms = 0, last_ms = 0;
  std::uint16_t flags = 0;  // recording::ChunkFlags
  bool closed = false;      // false in a recovered one: cut short by a crash
  bool recovered = false;   // an earlier process recorded it
  bool filler = false;      // stands for a segment that was lost or damaged
  // ---
  struct Piece {
    std::uint64_t offset = 0;
    std::uint32_t size = 0;
    Bytes memory;  // not empty: not on disk yet
  };
  std::shared_ptr<SpoolFile> file;
  std::vector<Piece> pieces;
  bool released = false;
};
using SegmentPtr = std::shared_ptr<Segment>;

// What one batch says of itself.
struct BatchInfo {
  std::uint16_t flags = 0;
  std::int64_t first_ms = 0, last_ms = 0;
  bool last = false;
};

class Spool {
 public:
  struct Hooks {
    // Memory for unwritten batches ran out (true) or there is room again (false). Called without locks, from any thread.
    std::function<void(bool full)> pressure;
    // Called before a file is removed: must make durable what only this file still tells (how far each session's sequence
    // numbers and times have come). A throw keeps the file; it is tried again.
    std::function<void()> before_remove;
  };
  Spool(SpoolConfig config, FileOps& files, RandomSource& random, crypto::BoxPublicKey processor, runtime::Log log, Hooks hooks);
  ~Spool();  // syncs what is dirty; files stay

  // The segments of earlier processes, by session and sequence. Before anything else.
  std::vector<SegmentPtr> recover();

  SegmentPtr open_segment(const Id& session, std::uint64_t sequence, std::uint64_t fencing_token);
  // Seals `records` as the segment's next batch and keeps it. False when there is no room: nothing was kept.
  [[nodiscard]] bool append(const SegmentPtr& segment, const BatchInfo& info, ByteView records);
  // When this returns, every batch of the segment that is on disk survives power loss. Throws Error.
  void make_durable(const Segment& segment);
  // SpoolHeader and batches, as the processor takes them. Throws Error when the file cannot be read.
  Bytes body(const Segment& segment);
  bool in_memory(const Segment& segment) const;  // part of it is not on disk
  // The segment is committed (or given up): its bytes may go.
  void release(Segment& segment);
  // Nothing is being recorded: a current file whose segments are all released goes, however small.
  void rotate_if_empty();
  // Spool files are numbered as they are met or made. A session whose last batch was written while newest_file() was n
  // has no byte left here once oldest_file() > n.
  std::uint64_t oldest_file() const;
  std::uint64_t newest_file() const;

  bool full() const { return full_; }
  // Why the spool does not take what it is given at once, or nullopt.
  std::optional<std::string> problem() const;
  std::optional<ErrorKind> problem_kind() const;
  std::uint64_t bytes() const;  // held on disk
  std::uint64_t memory_bytes() const;

 private:
  using Lock = std::unique_lock<std::mutex>;
  void scan(const std::string& name, std::vector<SegmentPtr>& out);
  std::shared_ptr<SpoolFile> current_file();
  bool write(SpoolFile& file, ByteView bytes);
  void write_pending();
  void forget_pending(const Segment& segment);
  bool update_pressure();  // true when `full_` changed
  void tell_pressure();
  void sync(const std::shared_ptr<SpoolFile>& file);
  void remove_finished_files();
  void work();

  SpoolConfig config_;
  FileOps& files_;
  RandomSource& random_;
  crypto::BoxPublicKey processor_;
  runtime::Log log_;
  Hooks hooks_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::shared_ptr<SpoolFile> current_;
  std::vector<std::shared_ptr<SpoolFile>> all_;             // current and older ones
  std::deque<std::pair<SegmentPtr, std::size_t>> pending_;  // pieces in memory, oldest first
  std::size_t pending_bytes_ = 0;
  std::optional<Error> failure_;  // of the last write, while pieces are pending
  std::atomic<bool> full_{false};
  std::uint64_t next_number_ = 1;
  bool dirty_ = false, removal_due_ = false, stop_ = false;
  std::mutex removal_mutex_;
  std::thread worker_;
};

}  // namespace lucid::recorder
