#include "sessions/storage/index.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "lib/base/json.hpp"

namespace lucid::storage {

namespace {

Error damaged(const std::string& what, const std::string& why) {
  return Error(ErrorKind::corrupt, "index_corrupt",
               fmt::format("{} in the index of session-storage does not read: {}; run fsck", what, why));
}

contracts::StorageSummary read_summary(const json::value& value, const std::string& key) {
  FieldReader in(value);
  contracts::StorageSummary summary;
  auto number = [&](const char* name) { return in.integer(name, 0, INT64_MAX); };
  summary.chunks = static_cast<std::uint64_t>(number("chunks"));
  summary.stored_bytes = static_cast<std::uint64_t>(number("stored_bytes"));
  summary.plain_bytes = static_cast<std::uint64_t>(number("plain_bytes"));
  summary.next_sequence = static_cast<std::uint64_t>(number("next_sequence"));
  summary.first_ms = number("first_ms");
  summary.last_ms = number("last_ms");
  summary.complete = in.boolean_or("complete", false);
  try {
    in.finish();
  } catch (const Error& error) { throw damaged("summary of session " + key, error.what()); }
  return summary;
}

}  // namespace

std::string session_prefix(const Id& session) { return session.text() + "/"; }
std::string chunk_key(const Id& session, std::uint64_t sequence) { return session_prefix(session) + store::sortable(sequence); }

contracts::ChunkRow row_of(const recording::ChunkHeader& header, const Hash32& blake3, const store::PackLocation& location) {
  contracts::ChunkRow row;
  row.sequence = header.sequence;
  row.blake3 = blake3;
  row.stored_size = location.length;
  row.plain_size = header.plain_size;
  row.key_epoch = header.key_epoch;
  row.first_ms = header.first_ms;
  row.last_ms = header.last_ms;
  row.flags = header.flags;
  row.codec = static_cast<std::uint8_t>(header.codec);
  row.pack = location.pack;
  row.offset = location.offset;
  return row;
}

store::PackLocation location_of(const contracts::ChunkRow& row) { return {row.pack, row.offset, row.stored_size}; }

std::string row_text(const contracts::ChunkRow& row) { return json::serialize(contracts::to_json(row)); }

contracts::ChunkRow read_row(const store::Document& document) {
  auto value = parse_json(document.json);
  if (!value) throw damaged("chunk row " + document.key, value.error().what());
  auto row = contracts::read_chunk_row(*value);
  if (!row) throw damaged("chunk row " + document.key, row.error().what());
  if (!document.key.ends_with("/" + store::sortable(row->sequence))) throw damaged("chunk row " + document.key, "it is another chunk's");
  return *row;
}

std::vector<contracts::ChunkRow> read_rows(store::Documents& documents, const Id& session, std::uint64_t from, std::size_t limit) {
  std::vector<contracts::ChunkRow> rows;
  std::string prefix = session_prefix(session);
  for (const store::Document& document :
       documents.scan(kChunks, {.from = chunk_key(session, from), .to = store::after_prefix(prefix), .limit = limit}))
    rows.push_back(read_row(document));
  return rows;
}

void add_to(contracts::StorageSummary& summary, const contracts::ChunkRow& row) {
  summary.first_ms = summary.chunks == 0 ? row.first_ms : std::min(summary.first_ms, row.first_ms);
  summary.last_ms = summary.chunks == 0 ? row.last_ms : std::max(summary.last_ms, row.last_ms);
  ++summary.chunks;
  summary.stored_bytes += row.stored_size;
  summary.plain_bytes += row.plain_size;
  summary.next_sequence = std::max(summary.next_sequence, row.sequence + 1);
  summary.complete = summary.complete || (row.flags & recording::kEnd) != 0;
}

std::string closed_text(const contracts::StorageSummary& summary) {
  return json::serialize(json::object{{"state", "closed"}, {"summary", contracts::to_json(summary)}});
}

std::optional<contracts::StorageSummary> read_closed(const store::Document& document) {
  auto value = parse_json(document.json);
  const json::object* object = value ? value->if_object() : nullptr;
  if (object == nullptr) throw damaged("session " + document.key, "it is not an object");
  const json::value* summary = object->if_contains("summary");
  if (summary == nullptr) return std::nullopt;
  return read_summary(*summary, document.key);
}

std::optional<std::uint32_t> chunk_length(ByteView header) {
  // Looked at for every byte when a damaged pack is searched, so the common case is refused without building an Error.
  if (header.size() < 4 || header[0] != 'L' || header[1] != 'C' || header[2] != 'H' || header[3] != 'K') return std::nullopt;
  auto parsed = recording::parse_chunk_header(header);
  if (!parsed) return std::nullopt;
  return static_cast<std::uint32_t>(recording::stored_size(*parsed));
}

}  // namespace lucid::storage
