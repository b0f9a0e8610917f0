#include "sessions/storage/storage.hpp"

#include <chrono>
#include <condition_variable>
#include <set>
#include <type_traits>

#include <sys/statvfs.h>

#include <fmt/format.h>

#include "lib/crypto/hash.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/recording/manifest.hpp"
#include "sessions/storage/index.hpp"

namespace lucid::storage {

namespace {

constexpr std::size_t kRowsPerRead = 5'000;

const runtime::Labels kLabels{{"service", kServiceName}};
constexpr const char* kErrors = "lucid_storage_errors_total";
constexpr const char* kErrorsHelp = "Writes and reads that the disk or the database failed";

runtime::Labels operation(const char* name) {
  runtime::Labels labels = kLabels;
  labels["operation"] = name;
  return labels;
}

// The disk's or the database's failure, not a mistake of who asked. What is stored but damaged is counted by itself.
bool is_fault(const Error& error) {
  return error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::storage_full ||
         (error.kind() == ErrorKind::corrupt && error.code() != "chunk_corrupt");
}

std::string name_of(const Id& session, std::uint64_t sequence) { return fmt::format("chunk {} of session {}", sequence, session.text()); }

}  // namespace

std::uint64_t free_bytes_of(const std::string& path) {
  struct statvfs st{};
  if (::statvfs(path.c_str(), &st) != 0) throw system_error("look at the free space of", path, errno);
  return static_cast<std::uint64_t>(st.f_bavail) * st.f_frsize;
}

struct Storage::Session {
  std::mutex mutex;
  std::condition_variable changed;
  bool loaded = false, dropped = false;  // dropped: no longer in the table, look it up again
  bool marked = false;                   // its `open` document is there
  contracts::StorageSummary summary;
  std::set<std::uint64_t> in_flight;  // sequences being written now
};

struct Storage::Instruments {
  runtime::Counter& stored;
  runtime::Counter& bytes;
  runtime::Counter& duplicates;
  runtime::Counter& corrupt;
  runtime::Counter& recovered;
  runtime::Counter &write_errors, &read_errors;
  runtime::Gauge& free_bytes;
  runtime::Histogram& seconds;
  explicit Instruments(runtime::Metrics& m)
      : stored(m.counter("lucid_storage_chunks_stored_total", "Chunks stored durably", kLabels)),
        bytes(m.counter("lucid_storage_stored_bytes_total", "Bytes of the chunks stored durably", kLabels)),
        duplicates(m.counter("lucid_storage_duplicate_chunks_total", "Chunks sent again that were there already", kLabels)),
        corrupt(m.counter("lucid_storage_corrupt_chunks_total", "Chunks read that were not what was stored", kLabels)),
        recovered(m.counter("lucid_storage_recovered_chunks_total", "Chunks found in a pack without their index row", kLabels)),
        write_errors(m.counter(kErrors, kErrorsHelp, operation("write"))),
        read_errors(m.counter(kErrors, kErrorsHelp, operation("read"))),
        free_bytes(m.gauge("lucid_storage_free_bytes", "Free on the disk of the packs", kLabels)),
        seconds(m.histogram("lucid_storage_put_duration_seconds", "From the chunk's bytes to their durability", kLabels)) {}
};

template <class F>
auto Storage::noting(const F& write) {
  try {
    if constexpr (std::is_void_v<decltype(write())>) {
      write();
      note_write(std::nullopt);
    } else {
      auto answer = write();
      note_write(std::nullopt);
      return answer;
    }
  } catch (const Error& error) {
    if (is_fault(error)) instruments_->write_errors.add();
    note_write(error);
    throw;
  }
}

template <class F>
auto Storage::reading(const F& read) const {
  try {
    return read();
  } catch (const Error& error) {
    if (is_fault(error)) instruments_->read_errors.add();
    throw;
  }
}

Storage::Storage(const Config& config, const Parts& parts)
    : config_(config),
      parts_(parts),
      log_(kServiceName),
      packs_(packs_in(config.directory), parts.files, chunk_length, recording::kChunkHeaderSize, config.pack_bytes),
      instruments_(std::make_unique<Instruments>(parts.metrics)),
      exposure_(parts.metrics, [this] { update_gauges(); }) {
  auto each_id = [this](const char* collection, runtime::Counter& errors, const auto& use) {
    for (const store::Document& document : parts_.documents.scan(collection, {.limit = SIZE_MAX})) {
      auto id = Id::parse(document.key);
      if (!id) continue;
      try {
        use(*id);
      } catch (const Error& error) {
        // A full disk or one damaged session must not keep all others from being read; it is tried again at its next use.
        note_write(error);
        if (is_fault(error)) errors.add();
        log_.error("session could not be looked through", {{"session", document.key}, {"error", error.what()}});
      }
    }
  };
  each_id(kDeleting, instruments_->write_errors, [this](const Id& id) { remove_locked(id); });
  each_id(kOpen, instruments_->read_errors, [this](const Id& id) { lock_session(id, Loading::needed); });
}

Storage::~Storage() = default;

Storage::Locked Storage::lock_session(const Id& id, Loading loading) {
  while (true) {
    std::shared_ptr<Session> session;
    {
      std::lock_guard lock(mutex_);
      auto& slot = sessions_[id];
      if (!slot) slot = std::make_shared<Session>();
      session = slot;
    }
    std::unique_lock lock(session->mutex);
    if (session->dropped) continue;
    if (!session->loaded && loading == Loading::needed) {
      try {
        load(id, *session);
      } catch (...) {
        drop(id, *session);
        throw;
      }
    }
    return {std::move(session), std::move(lock)};
  }
}

void Storage::unlock_session(const Id& id, Locked& locked) {
  if (!locked.session->loaded && !locked.session->dropped) drop(id, *locked.session);
  locked.lock.unlock();
}

Storage::Locked Storage::lock_for_chunk(const Id& id, std::uint64_t sequence) {
  while (true) {
    Locked locked = lock_session(id, Loading::needed);
    if (!locked.session->in_flight.contains(sequence)) return locked;
    // Then looked up anew: it may have been closed or removed meanwhile.
    locked.session->changed.wait(locked.lock);
  }
}

// Memory holds only sessions that are being written. The session's mutex is held.
void Storage::drop(const Id& id, Session& session) {
  std::lock_guard lock(mutex_);
  session.dropped = true;
  sessions_.erase(id);
}

contracts::StorageSummary Storage::summary_from_rows(const Id& id, store::PackEnd& end) const {
  contracts::StorageSummary summary;
  while (true) {
    std::vector<contracts::ChunkRow> rows = read_rows(parts_.documents, id, summary.next_sequence, kRowsPerRead);
    for (const contracts::ChunkRow& row : rows) {
      add_to(summary, row);
      end = std::max(end, store::PackEnd::after(location_of(row)));
    }
    if (rows.size() < kRowsPerRead) return summary;
  }
}

// Makes a session ready to be written: what is in its packs behind the last indexed chunk was durable but never
// acknowledged (or its row was lost), so it gets its row now; the one who sends it again is told that it stands.
void Storage::load(const Id& id, Session& session) {
  store::PackEnd known;
  session.summary = summary_from_rows(id, known);
  session.marked = parts_.documents.get(kOpen, id.text()).has_value();
  std::vector<contracts::ChunkRow> found;
  packs_.open(id, known, [&](const store::PackEntry& entry) {
    auto header = recording::parse_chunk_header(entry.stored);
    if (header && header->session == id && header->sequence < INT64_MAX) found.push_back(row_of(*header, entry.blake3, entry.location));
  });
  if (!found.empty()) {
    std::vector<store::Documents::Insert> inserts{{kOpen, id.text(), "{}"}, {kSessions, id.text(), kOpenState}};
    for (const contracts::ChunkRow& row : found) inserts.push_back({kChunks, chunk_key(id, row.sequence), row_text(row)});
    std::vector<bool> fresh = parts_.documents.insert_many(inserts);
    session.marked = true;
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (!fresh[i + 2]) continue;
      add_to(session.summary, found[i]);
      instruments_->recovered.add();
      log_.warn("found a durable chunk without its index row", {{"session", id.text()}, {"sequence", std::to_string(found[i].sequence)}});
    }
  }
  session.loaded = true;
}

std::optional<contracts::ChunkRow> Storage::row(const Id& id, std::uint64_t sequence) const {
  auto document = parts_.documents.get(kChunks, chunk_key(id, sequence));
  if (!document) return std::nullopt;
  return read_row(*document);
}

contracts::StorageClient::Put Storage::put_chunk(const Id& session, std::uint64_t sequence, ByteView stored) {
  auto began = std::chrono::steady_clock::now();
  auto header = recording::parse_chunk_header(stored);
  if (!header) throw header.error();
  if (recording::stored_size(*header) != stored.size())
    throw Error(
        ErrorKind::malformed, "chunk_size_mismatch",
        fmt::format("{} has {} bytes, its header says {}", name_of(session, sequence), stored.size(), recording::stored_size(*header)));
  if (header->session != session || header->sequence != sequence)
    throw Error(ErrorKind::invalid, "chunk_mismatch",
                fmt::format("this is {}, not {}", name_of(header->session, header->sequence), name_of(session, sequence)));
  // The largest is left out because next_sequence follows it.
  if (sequence >= INT64_MAX) throw Error(ErrorKind::invalid, "chunk_mismatch", fmt::format("sequence {} is out of range", sequence));
  Hash32 hash = crypto::blake3(stored);

  auto [state, lock] = reading([&] { return lock_for_chunk(session, sequence); });
  // Below next_sequence it may be there; from there on nothing is: this process alone writes.
  if (sequence < state->summary.next_sequence) {
    if (auto there = row(session, sequence)) {
      instruments_->duplicates.add();
      return {*there, false};
    }
  }
  if (auto problem = space_problem()) throw Error(ErrorKind::storage_full, *problem);
  state->in_flight.insert(sequence);
  bool marked = state->marked;
  lock.unlock();
  contracts::ChunkRow written;
  try {
    written = noting([&] { return write_chunk(session, *header, stored, hash, marked); });
  } catch (...) {
    lock.lock();
    state->in_flight.erase(sequence);
    state->changed.notify_all();
    throw;
  }
  lock.lock();
  state->marked = true;
  add_to(state->summary, written);
  state->in_flight.erase(sequence);
  state->changed.notify_all();
  lock.unlock();
  instruments_->stored.add();
  instruments_->bytes.add(static_cast<double>(stored.size()));
  instruments_->seconds.observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  return {written, true};
}

// Bytes first, then the row: after a crash between the two, load() writes the row.
contracts::ChunkRow Storage::write_chunk(const Id& id, const recording::ChunkHeader& header, ByteView stored, const Hash32& hash,
                                         bool marked) {
  contracts::ChunkRow row = row_of(header, hash, packs_.append(id, stored, &hash));
  std::vector<store::Documents::Insert> inserts{{kChunks, chunk_key(id, row.sequence), row_text(row)}};
  if (!marked) {
    inserts.push_back({kOpen, id.text(), "{}"});
    inserts.push_back({kSessions, id.text(), kOpenState});
  }
  if (!parts_.documents.insert_many(inserts).front())
    throw Error(ErrorKind::internal, fmt::format("the index had {} though this process did not write it", name_of(id, row.sequence)));
  return row;
}

StoredChunk Storage::chunk(const Id& session, std::uint64_t sequence) {
  auto none = [&] { return Error(ErrorKind::not_found, "chunk_not_found", fmt::format("{} is not stored", name_of(session, sequence))); };
  auto found = reading([&] { return row(session, sequence); });
  if (!found) throw none();
  StoredChunk chunk{*found, {}};
  try {
    chunk.bytes = packs_.read(session, location_of(*found));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt && error.kind() != ErrorKind::not_found) {
      instruments_->read_errors.add();
      throw;
    }
    // Removed between row and bytes, or really damaged?
    if (!row(session, sequence)) throw none();
    report_corrupt(session, *found, error.what());
  }
  Hash32 hash = crypto::blake3(chunk.bytes);
  if (hash != found->blake3) report_corrupt(session, *found, "its BLAKE3 is " + to_hex(hash));
  return chunk;
}

void Storage::report_corrupt(const Id& id, const contracts::ChunkRow& row, const std::string& found) {
  instruments_->corrupt.add();
  std::string what =
      fmt::format("{} (pack {}, offset {}) is not what was stored: {}", name_of(id, row.sequence), row.pack, row.offset, found);
  log_.error("chunk is corrupt", {{"session", id.text()}, {"sequence", std::to_string(row.sequence)}, {"detail", what}});
  try {
    parts_.documents.insert(kIncidents, chunk_key(id, row.sequence),
                            json::serialize(json::object{{"kind", "chunk_corrupt"},
                                                         {"session", id.text()},
                                                         {"sequence", row.sequence},
                                                         {"pack", row.pack},
                                                         {"offset", row.offset},
                                                         {"expected_blake3", to_hex(row.blake3)},
                                                         {"detail", to_utf8(what, 2000)},
                                                         {"found_at", to_rfc3339(parts_.clock.wall_ms())}}));
  } catch (const Error& error) { log_.error("the incident could not be recorded", {{"error", error.what()}}); }
  throw Error(ErrorKind::corrupt, "chunk_corrupt", what);
}

std::vector<contracts::ChunkRow> Storage::chunks(const Id& session, std::uint64_t from, std::size_t limit) {
  return reading([&] { return read_rows(parts_.documents, session, from, limit); });
}

void Storage::put_manifest(const Id& session, std::string_view text) {
  auto manifest = recording::parse_manifest(text);
  if (!manifest) throw manifest.error();
  if (manifest->session != session)
    throw Error(ErrorKind::invalid, "manifest_mismatch",
                fmt::format("this manifest is of session {}, not {}", manifest->session.text(), session.text()));
  // Under the session's lock, so that a removal does not run in between.
  Locked locked = lock_session(session, Loading::left);
  noting([&] {
    if (!parts_.documents.get(kSessions, session.text())) parts_.documents.insert(kSessions, session.text(), kOpenState);
    parts_.documents.put(kManifests, session.text(), std::string(text));
  });
  unlock_session(session, locked);
}

std::optional<std::string> Storage::manifest(const Id& session) {
  auto document = reading([&] { return parts_.documents.get(kManifests, session.text()); });
  if (!document) return std::nullopt;
  return std::move(document->json);
}

std::optional<contracts::StorageSummary> Storage::live_summary(const Id& id) {
  std::shared_ptr<Session> state;
  {
    std::lock_guard lock(mutex_);
    auto found = sessions_.find(id);
    if (found == sessions_.end()) return std::nullopt;
    state = found->second;
  }
  std::lock_guard lock(state->mutex);
  if (!state->loaded || state->dropped) return std::nullopt;
  return state->summary;
}

contracts::StorageSummary Storage::summary(const Id& session) {
  if (auto live = live_summary(session)) return *live;
  return reading([&] {
    if (auto document = parts_.documents.get(kSessions, session.text()))
      if (auto closed = read_closed(*document)) return *closed;
    store::PackEnd end;
    return summary_from_rows(session, end);
  });
}

SessionPage Storage::list(const std::string& cursor, std::size_t limit) {
  SessionPage page;
  std::vector<store::Document> documents =
      reading([&] { return parts_.documents.scan(kSessions, {.to = cursor, .limit = limit + 1, .order = store::Order::descending}); });
  bool more = documents.size() > limit;
  if (more) documents.resize(limit);
  for (const store::Document& document : documents) {
    auto id = Id::parse(document.key);
    if (!id) continue;
    auto live = live_summary(*id);
    auto closed = live ? std::nullopt : read_closed(document);
    page.sessions.push_back({*id, live ? *live : closed ? *closed : summary(*id), closed.has_value()});
  }
  if (more) page.cursor = documents.back().key;
  return page;
}

void Storage::close(const Id& session) {
  while (true) {
    Locked locked = lock_session(session, Loading::left);
    Session& state = *locked.session;
    if (!state.in_flight.empty()) {
      state.changed.wait(locked.lock);
      continue;
    }
    auto document = parts_.documents.get(kSessions, session.text());
    if (document) {
      store::PackEnd end;
      noting([&] {
        std::string text = closed_text(state.loaded ? state.summary : summary_from_rows(session, end));
        if (document->json != text) parts_.documents.put(kSessions, session.text(), text);
        // Last: while it is there, the next start looks the session through again.
        if (state.marked) parts_.documents.remove(kOpen, session.text());
      });
      packs_.close(session);
    }
    if (!state.dropped) drop(session, state);
    state.changed.notify_all();
    return;
  }
}

void Storage::remove(const Id& session) {
  while (true) {
    Locked locked = lock_session(session, Loading::left);
    Session& state = *locked.session;
    if (!state.in_flight.empty()) {
      state.changed.wait(locked.lock);
      continue;
    }
    noting([&] { remove_locked(session); });
    drop(session, state);
    state.changed.notify_all();
    return;
  }
}

// The document in `deleting` comes first and goes last, so a removal once begun is finished whatever happens.
void Storage::remove_locked(const Id& id) {
  store::Documents& documents = parts_.documents;
  std::string key = id.text(), prefix = session_prefix(id), end = store::after_prefix(prefix);
  bool anything = documents.get(kSessions, key) || documents.get(kDeleting, key) || documents.count(kChunks, prefix, end) > 0 ||
                  !packs_.list(id).empty();
  if (!anything) return packs_.remove(id);
  documents.put(kDeleting, key, "{}");
  packs_.remove(id);
  documents.remove_range(kChunks, prefix, end);
  documents.remove_range(kIncidents, prefix, end);
  documents.remove(kManifests, key);
  documents.remove(kOpen, key);
  documents.remove(kSessions, key);
  documents.remove(kDeleting, key);
  log_.info("session removed", {{"session", key}});
}

void Storage::update_gauges() { instruments_->free_bytes.set(static_cast<double>(parts_.free_bytes(config_.directory))); }

std::optional<std::string> Storage::space_problem() const {
  std::uint64_t free = parts_.free_bytes(config_.directory);
  if (free >= config_.min_free_bytes) return std::nullopt;
  return fmt::format("only {} MiB are free at {}, {} MiB are kept free: free disk space or delete sessions", free >> 20, config_.directory,
                     config_.min_free_bytes >> 20);
}

std::optional<std::string> Storage::write_problem() {
  {
    std::lock_guard lock(mutex_);
    if (!write_problem_) return std::nullopt;
  }
  try {
    parts_.files.replace_file(config_.directory + "/write-check", as_bytes("ok"));
    note_write(std::nullopt);
  } catch (const Error& error) {
    note_write(error);  // a check, not a chunk: not counted
  }
  std::lock_guard lock(mutex_);
  return write_problem_;
}

void Storage::note_write(const std::optional<Error>& failed) {
  std::lock_guard lock(mutex_);
  if (failed && failed->kind() != ErrorKind::internal)
    write_problem_ = failed->what();
  else if (!failed)
    write_problem_.reset();
}

}  // namespace lucid::storage
