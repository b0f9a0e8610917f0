// Edge processor/api → session-storage (8086). Types, their JSON, the HTTP client. The client is thread-safe; its calls
// block and throw lucid::Error as the server said it.
//   PUT    /api/v1/sessions/{id}/manifest            manifest JSON → 204; durable, replaces
//   GET    /api/v1/sessions/{id}/manifest
//   PUT    /api/v1/sessions/{id}/chunks/{seq}        stored chunk bytes → 201 ChunkRow (new) or 200 ChunkRow (already there)
//   GET    /api/v1/sessions/{id}/chunks?from&limit   {"chunks":[ChunkRow…]} ascending by sequence, limit ≤ 10 000
//   GET    /api/v1/sessions/{id}/chunks/{seq}        stored bytes (Range works); ETag = BLAKE3
//   GET    /api/v1/sessions/{id}/summary             {chunks, stored_bytes, plain_bytes, first_ms, last_ms, next_sequence, complete}
//   GET    /api/v1/sessions                          ids with their summaries, ?cursor&limit
//   POST   /api/v1/sessions/{id}/close               no more chunks are coming: closes the pack writer
//   DELETE /api/v1/sessions/{id}                     removes chunks, index and manifest
// PUT of a chunk answers only when bytes and index row survive power loss. It is idempotent by (session, sequence): a
// second PUT with other bytes changes nothing and answers the row that stands.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/bytes.hpp"
#include "lib/base/id.hpp"
#include "lib/base/json.hpp"
#include "lib/net/client.hpp"

namespace lucid::contracts {

struct ChunkRow {
  std::uint64_t sequence = 0;
  Hash32 blake3{};  // of the stored bytes
  std::uint32_t stored_size = 0, plain_size = 0, key_epoch = 0;
  std::int64_t first_ms = 0, last_ms = 0;
  std::uint16_t flags = 0;  // recording::ChunkFlags
  std::uint8_t codec = 0;
  std::uint32_t pack = 0;
  std::uint64_t offset = 0;
};
json::value to_json(const ChunkRow& row);
Expected<ChunkRow> read_chunk_row(const json::value& value);

struct StorageSummary {
  std::uint64_t chunks = 0, stored_bytes = 0, plain_bytes = 0, next_sequence = 0;
  std::int64_t first_ms = 0, last_ms = 0;
  bool complete = false;  // a chunk with the end flag is there
};
json::value to_json(const StorageSummary& summary);

class StorageClient {
 public:
  explicit StorageClient(std::shared_ptr<net::Client> http) : http_(std::move(http)) {}
  void put_manifest(const Id& session, std::string_view manifest_json);
  std::optional<std::string> manifest(const Id& session);  // nullopt: none
  struct Put {
    ChunkRow row;
    bool created = false;
  };
  Put put_chunk(const Id& session, std::uint64_t sequence, ByteView stored);
  std::vector<ChunkRow> chunks(const Id& session, std::uint64_t from, std::size_t limit);
  std::vector<ChunkRow> all_chunks(const Id& session);  // pages through chunks()
  Bytes chunk(const Id& session, std::uint64_t sequence);
  StorageSummary summary(const Id& session);
  void close(const Id& session);
  void remove(const Id& session);

 private:
  std::shared_ptr<net::Client> http_;
};

}  // namespace lucid::contracts
