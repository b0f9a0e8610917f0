// What a session recorded, read back: stored and decrypted chunks, where its keyframes are, its events. Everything comes
// from storage through its client and is checked before it is handed on: a chunk must be the one asked for and must open
// under its key. Owned by the service; any thread. Throws lucid::Error.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "lib/contracts/storage.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/recording/manifest.hpp"
#include "sessions/api/playback_keys.hpp"

namespace lucid::api {

// Where a seek can begin, and totals over all chunks so far.
struct RecordingIndex {
  struct Keyframe {
    std::uint64_t sequence = 0;
    std::int64_t first_ms = 0, last_ms = 0;
    std::uint16_t flags = 0;
  };
  std::vector<Keyframe> keyframes;  // chunks that hold one, ascending
  std::uint64_t chunks = 0, stored_bytes = 0, plain_bytes = 0, next_sequence = 0;
  std::int64_t first_ms = 0, last_ms = 0;
  bool complete = false;  // the last chunk carries the end record
};
json::object to_json(const RecordingIndex& index);

struct EventQuery {
  std::vector<std::string> kinds;                       // empty: all
  std::int64_t from_ms = INT64_MIN, to_ms = INT64_MAX;  // session time, both inclusive
  std::uint64_t limit = UINT64_MAX;
};
// Every word `kinds` may hold.
const std::vector<std::string>& event_kinds();

class Recordings {
 public:
  Recordings(std::shared_ptr<contracts::StorageClient> storage, crypto::BoxKey playback);

  std::vector<contracts::ChunkRow> rows(const Id& session, std::uint64_t from, std::size_t limit) {
    return storage_->chunks(session, from, limit);
  }
  std::optional<contracts::ChunkRow> row(const Id& session, std::uint64_t sequence);
  Bytes stored(const Id& session, std::uint64_t sequence);

  struct Content {
    recording::ChunkHeader header;
    Bytes bytes;
  };  // bytes: compressed as header.codec says
  Content content(const Id& session, std::uint64_t sequence);
  Bytes records(const Id& session, std::uint64_t sequence);  // expanded

  RecordingIndex index(const Id& session);
  // Error{not_found, "manifest_not_found"} while nothing was recorded.
  std::string manifest_text(const Id& session);
  recording::Manifest manifest(const Id& session);
  void forget(const Id& session);

 private:
  struct Cached {
    Id session;
    RecordingIndex index;
  };
  std::shared_ptr<contracts::StorageClient> storage_;
  PlaybackKeys keys_;
  std::mutex index_mutex_;
  std::list<Cached> indexes_;  // most recently used first, at most kMaxIndexes
};

// Walks a recording's events in order, one chunk in memory at a time. One thread.
class EventWalk {
 public:
  EventWalk(Recordings& recordings, const Id& session, EventQuery query);
  // The next event as one JSON object; nullopt at the end.
  std::optional<std::string> next();
  // More events than the limit let through were there.
  bool cut_short() const { return cut_short_; }

 private:
  bool load_chunk();
  Recordings& recordings_;
  Id session_;
  EventQuery query_;
  std::vector<contracts::ChunkRow> page_;
  std::size_t row_ = 0;
  std::uint64_t next_sequence_ = 0, given_ = 0;
  bool last_page_ = false, cut_short_ = false;
  std::vector<std::string> events_;
  std::size_t event_ = 0;
};

}  // namespace lucid::api
