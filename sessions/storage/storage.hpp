// Keeps what was recorded: chunk bytes in packs, one index row per chunk, manifests. The logic of session-storage, without
// HTTP. Thread-safe; calls block on the disk. What put_chunk(), put_manifest(), close() and remove() did survives power
// loss when they return. A chunk is visible when its row is: bytes are durable before the row, so a row never speaks of
// bytes that are not there. At construction the packs of sessions that were open are looked through: chunks that became
// durable without their row get it, a torn tail is cut; a removal that had begun is finished.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/base/file_ops.hpp"
#include "lib/contracts/storage.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/runtime/exposure.hpp"
#include "lib/runtime/log.hpp"
#include "lib/runtime/metrics.hpp"
#include "lib/store/documents.hpp"
#include "lib/store/packs.hpp"
#include "sessions/storage/config.hpp"

namespace lucid::storage {

// What the service works with; all of it outlives the Storage.
struct Parts {
  FileOps& files;
  const Clock& clock;
  runtime::Metrics& metrics;
  store::Documents& documents;
  // Bytes free on the disk that holds a path.
  std::function<std::uint64_t(const std::string&)> free_bytes;
};
std::uint64_t free_bytes_of(const std::string& path);  // statvfs(3), what is free for this user

struct StoredChunk {
  contracts::ChunkRow row;
  Bytes bytes;
};
struct ListedSession {
  Id session;
  contracts::StorageSummary summary;
  bool closed = false;
};
struct SessionPage {
  std::vector<ListedSession> sessions;  // newest first
  std::string cursor;                   // of the next page; empty: this was the last
};

class Storage {
 public:
  Storage(const Config& config, const Parts& parts);
  ~Storage();

  // Checks the chunk against the URL's session and sequence, then keeps it. A chunk that is there already stands.
  // Errors: malformed, invalid "chunk_mismatch", storage_full (then nothing is visible of it).
  contracts::StorageClient::Put put_chunk(const Id& session, std::uint64_t sequence, ByteView stored);
  // Verified against the index. Errors: not_found "chunk_not_found"; corrupt "chunk_corrupt", which also leaves an
  // incident document.
  StoredChunk chunk(const Id& session, std::uint64_t sequence);
  std::vector<contracts::ChunkRow> chunks(const Id& session, std::uint64_t from, std::size_t limit);

  void put_manifest(const Id& session, std::string_view text);
  std::optional<std::string> manifest(const Id& session);

  // All zero for a session nothing is stored of.
  contracts::StorageSummary summary(const Id& session);
  SessionPage list(const std::string& cursor, std::size_t limit);
  void close(const Id& session);
  // Safe to repeat; a session nothing is stored of is fine.
  void remove(const Id& session);

  // Why no chunk would be taken now, if so.
  std::optional<std::string> space_problem() const;
  // Why writing failed last, if it still does (then it writes a small file to see).
  std::optional<std::string> write_problem();

 private:
  struct Session;
  struct Instruments;
  // A session that is being written: found or made, its mutex held.
  struct Locked {
    std::shared_ptr<Session> session;
    std::unique_lock<std::mutex> lock;
  };
  enum class Loading { needed, left };
  // `left`: for work that does not touch chunks; unlock_session() then forgets the session again.
  Locked lock_session(const Id& id, Loading loading);
  void unlock_session(const Id& id, Locked& locked);
  // Loaded, and nobody is writing `sequence`.
  Locked lock_for_chunk(const Id& id, std::uint64_t sequence);
  std::optional<contracts::StorageSummary> live_summary(const Id& id);
  void load(const Id& id, Session& session);
  contracts::StorageSummary summary_from_rows(const Id& id, store::PackEnd& end) const;
  std::optional<contracts::ChunkRow> row(const Id& id, std::uint64_t sequence) const;
  contracts::ChunkRow write_chunk(const Id& id, const recording::ChunkHeader& header, ByteView stored, const Hash32& hash, bool marked);
  void remove_locked(const Id& id);
  void drop(const Id& id, Session& session);
  void note_write(const std::optional<Error>& failed);
  // Runs `write`, remembering for /health whether it worked and counting when the disk failed it.
  template <class F>
  auto noting(const F& write);
  // Runs `read`, counting when the disk failed it.
  template <class F>
  auto reading(const F& read) const;
  void update_gauges();
  [[noreturn]] void report_corrupt(const Id& id, const contracts::ChunkRow& row, const std::string& found);

  const Config config_;
  const Parts parts_;
  const runtime::Log log_;
  store::Packs packs_;
  std::unique_ptr<Instruments> instruments_;
  mutable std::mutex mutex_;  // the two below; never held over disk access
  std::unordered_map<Id, std::shared_ptr<Session>> sessions_;
  std::optional<std::string> write_problem_;
  runtime::Exposure exposure_;  // last: ends before what it looks at
};

}  // namespace lucid::storage
