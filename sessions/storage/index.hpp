// The index: which documents session-storage keeps, their keys and their JSON. Free functions over store::Documents,
// shared by the service and fsck. Any thread. A document that does not read is Error{corrupt, "index_corrupt"}.
//   chunks/<session>/<16 hex digits of the sequence>  one row per chunk, written once, after its bytes
//   sessions/<session>      {"state": "open"} or {"state": "closed", "summary": …}; every session with anything stored
//   open/<session>          sessions that have chunks and are not closed: looked through at start
//   manifests/<session>     the manifest's text
//   deleting/<session>      a removal that has begun: finished at start if need be
//   incidents/<session>/<sequence>  a chunk that was read and was not what was stored
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "lib/contracts/storage.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/store/documents.hpp"
#include "lib/store/packs.hpp"

namespace lucid::storage {

inline constexpr const char* kChunks = "chunks";
inline constexpr const char* kSessions = "sessions";
inline constexpr const char* kOpen = "open";
inline constexpr const char* kManifests = "manifests";
inline constexpr const char* kDeleting = "deleting";
inline constexpr const char* kIncidents = "incidents";
inline constexpr const char* kOpenState = R"({"state":"open"})";

std::string chunk_key(const Id& session, std::uint64_t sequence);
std::string session_prefix(const Id& session);  // of the session's keys in chunks and incidents

contracts::ChunkRow row_of(const recording::ChunkHeader& header, const Hash32& blake3, const store::PackLocation& location);
store::PackLocation location_of(const contracts::ChunkRow& row);
std::string row_text(const contracts::ChunkRow& row);
// The row, whose sequence is the one its key names.
contracts::ChunkRow read_row(const store::Document& document);
// At most `limit` rows from sequence `from` on.
std::vector<contracts::ChunkRow> read_rows(store::Documents& documents, const Id& session, std::uint64_t from, std::size_t limit);

// A summary that grows row by row.
void add_to(contracts::StorageSummary& summary, const contracts::ChunkRow& row);
std::string closed_text(const contracts::StorageSummary& summary);
// The summary in a session document; nullopt while the session is open.
std::optional<contracts::StorageSummary> read_closed(const store::Document& document);

// For store::Packs: how long the stored chunk is whose first bytes these are.
std::optional<std::uint32_t> chunk_length(ByteView header);

}  // namespace lucid::storage
