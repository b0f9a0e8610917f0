#include "lib/contracts/storage.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "lib/contracts/fields.hpp"
#include "lib/contracts/paths.hpp"

namespace lucid::contracts {
json::value to_json(const ChunkRow& r) {
  return json::object{{"sequence", r.sequence},
                      {"blake3", to_hex(r.blake3)},
                      {"stored_size", r.stored_size},
                      {"plain_size", r.plain_size},
                      {"key_epoch", r.key_epoch},
                      {"first_ms", r.first_ms},
                      {"last_ms", r.last_ms},
                      {"flags", r.flags},
                      {"codec", r.codec},
                      {"pack", r.pack},
                      {"offset", r.offset}};
}

Expected<ChunkRow> read_chunk_row(const json::value& value) {
  Fields in(value);
  ChunkRow r;
  r.sequence = in.number<std::uint64_t>("sequence");
  r.blake3 = in.hash("blake3");
  r.stored_size = in.number<std::uint32_t>("stored_size");
  r.plain_size = in.number<std::uint32_t>("plain_size");
  r.key_epoch = in.number<std::uint32_t>("key_epoch");
  r.first_ms = in.number<std::int64_t>("first_ms");
  r.last_ms = in.number<std::int64_t>("last_ms");
  r.flags = in.number<std::uint16_t>("flags");
  r.codec = in.number<std::uint8_t>("codec");
  r.pack = in.number<std::uint32_t>("pack");
  r.offset = in.number<std::uint64_t>("offset");
  if (!in.ok()) return std::unexpected(in.error("chunk row"));
  return r;
}

json::value to_json(const StorageSummary& s) {
  return json::object{
      {"chunks", s.chunks},     {"stored_bytes", s.stored_bytes}, {"plain_bytes", s.plain_bytes}, {"next_sequence", s.next_sequence},
      {"first_ms", s.first_ms}, {"last_ms", s.last_ms},           {"complete", s.complete}};
}

void StorageClient::put_manifest(const Id& session, std::string_view manifest_json) {
  net::Call call{.method = net::Method::put,
                 .target = session_path(session) + "/manifest",
                 .headers = {},
                 .body = as_bytes(manifest_json),
                 .content_type = "application/json",
                 .timeout = {},
                 .sink = {}};
  http_->expect(call);
}

std::optional<std::string> StorageClient::manifest(const Id& session) {
  try {
    net::Response r = http_->expect({.method = net::Method::get,
                                     .target = session_path(session) + "/manifest",
                                     .headers = {},
                                     .body = {},
                                     .content_type = {},
                                     .timeout = {},
                                     .sink = {}});
    return std::string(as_text(r.body));
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::not_found) return std::nullopt;
    throw;
  }
}

StorageClient::Put StorageClient::put_chunk(const Id& session, std::uint64_t sequence, ByteView stored) {
  net::Response r = http_->expect({.method = net::Method::put,
                                   .target = fmt::format("{}/chunks/{}", session_path(session), sequence),
                                   .headers = {},
                                   .body = stored,
                                   .content_type = "application/octet-stream",
                                   .timeout = {},
                                   .sink = {}});
  auto value = parse_json(as_text(r.body));
  if (!value) throw value.error();
  auto row = read_chunk_row(*value);
  if (!row) throw row.error();
  return {*row, r.status == 201};
}

std::vector<ChunkRow> StorageClient::chunks(const Id& session, std::uint64_t from, std::size_t limit) {
  json::value value = http_->get_json(fmt::format("{}/chunks?from={}&limit={}", session_path(session), from, limit));
  Fields in(value);
  std::vector<ChunkRow> rows;
  for (const json::value& item : in.array("chunks")) {
    auto row = read_chunk_row(item);
    if (!row) throw row.error();
    rows.push_back(*row);
  }
  if (!in.ok()) throw in.error("chunk list");
  return rows;
}

std::vector<ChunkRow> StorageClient::all_chunks(const Id& session) {
  constexpr std::size_t kPage = 10'000;
  std::vector<ChunkRow> all;
  for (std::uint64_t from = 0;;) {
    std::vector<ChunkRow> page = chunks(session, from, kPage);
    all.insert(all.end(), page.begin(), page.end());
    if (page.size() < kPage) return all;
    from = page.back().sequence + 1;
  }
}

Bytes StorageClient::chunk(const Id& session, std::uint64_t sequence) {
  return http_
      ->expect({.method = net::Method::get,
                .target = fmt::format("{}/chunks/{}", session_path(session), sequence),
                .headers = {},
                .body = {},
                .content_type = {},
                .timeout = {},
                .sink = {}})
      .body;
}

StorageSummary StorageClient::summary(const Id& session) {
  json::value value = http_->get_json(session_path(session) + "/summary");
  Fields in(value);
  StorageSummary s;
  s.chunks = in.number<std::uint64_t>("chunks");
  s.stored_bytes = in.number<std::uint64_t>("stored_bytes");
  s.plain_bytes = in.number<std::uint64_t>("plain_bytes");
  s.next_sequence = in.number<std::uint64_t>("next_sequence");
  s.first_ms = in.number<std::int64_t>("first_ms");
  s.last_ms = in.number<std::int64_t>("last_ms");
  s.complete = in.boolean("complete");
  if (!in.ok()) throw in.error("storage summary");
  return s;
}

void StorageClient::close(const Id& session) { http_->send_json(net::Method::post, session_path(session) + "/close", json::object{}); }

void StorageClient::remove(const Id& session) {
  http_->expect({.method = net::Method::del,
                 .target = session_path(session),
                 .headers = {},
                 .body = {},
                 .content_type = {},
                 .timeout = {},
                 .sink = {}});
}

}  // namespace lucid::contracts
