#include "sessions/storage/fsck_session.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "lib/base/file_ops.hpp"
#include "lib/crypto/hash.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/recording/manifest.hpp"
#include "sessions/storage/index.hpp"

namespace lucid::storage {

namespace {

constexpr std::size_t kFsckRowsPerRead = 5'000;

std::uint64_t end_of(const contracts::ChunkRow& row) { return row.offset + row.stored_size + store::kPackSealSize; }

}  // namespace

void SessionCheck::run() {
  ++scene_.report.sessions;
  read_rows();
  check_packs();
  check_rows();
  look_between();
  check_sequences();
  check_manifest();
  check_state();
  mend_seals();
}

Finding& SessionCheck::add(const char* code, std::string detail) {
  Finding finding;
  finding.code = code;
  finding.session = session_.text();
  finding.detail = std::move(detail);
  return scene_.report.findings.emplace_back(std::move(finding));
}

Finding& SessionCheck::add(const char* code, const contracts::ChunkRow& row, std::string detail) {
  Finding& finding = add(code, std::move(detail));
  finding.sequence = row.sequence;
  finding.pack = row.pack;
  finding.offset = row.offset;
  return finding;
}

// Beside a running service a session may be removed while it is checked.
bool SessionCheck::still_there(std::uint64_t sequence) {
  return !scene_.live || scene_.documents.get(kChunks, chunk_key(session_, sequence)).has_value();
}

void SessionCheck::read_rows() {
  std::string prefix = session_prefix(session_), from = prefix, end = store::after_prefix(prefix);
  while (true) {
    auto documents = scene_.documents.scan(kChunks, {.from = from, .to = end, .limit = kFsckRowsPerRead});
    for (const store::Document& document : documents) {
      known_ = true;
      try {
        contracts::ChunkRow row = read_row(document);
        rows_[row.sequence] = row;
      } catch (const Error& error) {
        Finding& finding = add("row_unreadable", error.what());
        std::uint64_t sequence = 0;
        std::string digits = document.key.substr(prefix.size());
        auto [stop, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), sequence, 16);
        if (failed == std::errc{} && stop == digits.data() + digits.size()) {
          finding.sequence = sequence;
          unreadable_[sequence] = scene_.report.findings.size() - 1;
        }
      }
    }
    if (documents.size() < kFsckRowsPerRead) break;
    from = documents.back().key + '\0';
  }
  scene_.report.chunks += rows_.size();
}

void SessionCheck::check_packs() {
  packs_ = scene_.packs.list(session_);
  scene_.report.packs += packs_.size();
  std::map<std::uint32_t, std::uint64_t> lost;
  for (auto& [sequence, row] : rows_)
    if (!std::binary_search(packs_.begin(), packs_.end(), row.pack)) ++lost[row.pack];
  for (auto& [pack, chunks] : lost) {
    missing_packs_.insert(pack);
    if (scene_.live && !scene_.documents.get(kSessions, session_.text())) continue;
    add("pack_missing", fmt::format("{} is gone and {} chunks with it", scene_.packs.path(session_, pack), chunks)).pack = pack;
  }
  bool listed = scene_.documents.get(kSessions, session_.text()).has_value();
  known_ = known_ || listed;
  if (!known_ && !packs_.empty() && !scene_.live) {
    Finding& finding = add("orphan_pack", fmt::format("{} packs of a session the index does not know", packs_.size()));
    finding.pack = packs_.front();
    finding.repaired = scene_.repair;  // check_state() writes the session's document
  }
}

SessionCheck::Verdict SessionCheck::check_bytes(const contracts::ChunkRow& row) {
  Bytes entry;
  store::PackLocation location = location_of(row);
  try {
    entry = scene_.packs.read(session_, location);
  } catch (const Error& error) {
    if (still_there(row.sequence)) add("chunk_truncated", row, error.what());
    return Verdict::bad;
  }
  scene_.read(entry.size());
  Hash32 hash = crypto::blake3(entry), seal{};
  try {
    Bytes behind = scene_.packs.read(session_, {row.pack, row.offset + row.stored_size, store::kPackSealSize});
    std::copy(behind.begin(), behind.end(), seal.begin());
  } catch (const Error&) {
    // The pack ends inside the hash: as good as a damaged one.
  }
  if (hash != row.blake3) {
    if (!still_there(row.sequence)) return Verdict::bad;
    if (hash == seal)
      add("hash_mismatch", row,
          fmt::format("the index says BLAKE3 {}, the pack holds and says {}; the session's signed tree tells which is right",
                      to_hex(row.blake3), to_hex(hash)));
    else
      add("chunk_corrupt", row, fmt::format("BLAKE3 of the bytes is {}, stored was {}", to_hex(hash), to_hex(row.blake3)));
    return Verdict::bad;
  }
  contracts::ChunkRow fixed = row;
  check_fields(fixed, entry);
  return hash == seal ? Verdict::good : Verdict::seal_damaged;
}

// The bytes are the row's by their hash, so the header is right where the two differ.
void SessionCheck::check_fields(contracts::ChunkRow& row, ByteView stored) {
  auto header = recording::parse_chunk_header(stored);
  if (!header || header->session != session_ || header->sequence != row.sequence) {
    add("foreign_chunk", row, "the bytes at this row are no chunk of this session and sequence");
    return;
  }
  contracts::ChunkRow right = row_of(*header, row.blake3, location_of(row));
  if (row_text(right) == row_text(row)) return;
  Finding& finding = add("row_mismatch", row, "the row's fields are not those of the chunk's header");
  if (!scene_.repair) return;
  scene_.documents.put(kChunks, chunk_key(session_, row.sequence), row_text(right));
  finding.repaired = true;
  rows_[row.sequence] = right;
}

void SessionCheck::check_rows() {
  for (auto& [sequence, row] : rows_) {
    if (missing_packs_.contains(row.pack)) {
      damaged_.insert(sequence);
      continue;
    }
    switch (check_bytes(row)) {
      case Verdict::good: break;
      case Verdict::seal_damaged: broken_seals_[row.pack].push_back(row); break;
      case Verdict::bad: damaged_.insert(sequence); break;
    }
  }
}

// Every byte of every pack belongs to a row, to an older copy of a chunk, or to a finding.
void SessionCheck::look_between() {
  std::map<std::uint32_t, std::vector<std::pair<std::uint64_t, std::uint64_t>>> covered;
  for (auto& [sequence, row] : rows_) covered[row.pack].emplace_back(row.offset, end_of(row));
  for (std::uint32_t pack : packs_) {
    auto& extents = covered[pack];
    std::sort(extents.begin(), extents.end());
    std::uint64_t at = 0;
    for (auto [from, to] : extents) {
      if (from > at) walk(pack, at, from, false);
      at = std::max(at, to);
    }
    walk(pack, at, UINT64_MAX, true);
  }
}

void SessionCheck::walk(std::uint32_t pack, std::uint64_t from, std::uint64_t to, bool tail) {
  // Behind the last row the running service may be at work.
  if (tail && scene_.live && pack == packs_.back()) return;
  store::PackWalk walked;
  try {
    walked = scene_.packs.walk(session_, pack, from, to, [this](const store::PackEntry& entry) { take_unindexed(entry); });
  } catch (const Error&) {
    if (scene_.live) return;  // removed meanwhile
    throw;
  }
  for (auto [bad_from, bad_to] : walked.bad) {
    bool at_end = tail && pack == packs_.back() && bad_to == walked.size;
    Finding& finding = add(at_end ? "torn_tail" : "unknown_bytes",
                           fmt::format("{} bytes of {} belong to no whole chunk", bad_to - bad_from, scene_.packs.path(session_, pack)));
    finding.pack = pack;
    finding.offset = bad_from;
    if (at_end && scene_.repair) {
      cut_tail(pack, bad_from);
      finding.repaired = true;
    }
  }
}

void SessionCheck::take_unindexed(const store::PackEntry& entry) {
  scene_.read(entry.stored.size());
  auto header = recording::parse_chunk_header(entry.stored);
  if (!header || header->session != session_ || header->sequence >= INT64_MAX) {
    Finding& finding = add("foreign_chunk", "a whole chunk that is not of this session");
    finding.pack = entry.location.pack;
    finding.offset = entry.location.offset;
    return;
  }
  contracts::ChunkRow row = row_of(*header, entry.blake3, entry.location);
  auto there = rows_.find(row.sequence);
  if (there != rows_.end()) {
    // A copy left by a crash between bytes and row. It helps only where the row's own bytes are gone.
    if (!damaged_.contains(row.sequence) || there->second.blake3 != row.blake3 || !scene_.repair) return;
    scene_.documents.put(kChunks, chunk_key(session_, row.sequence), row_text(row));
    for (Finding& finding : scene_.report.findings)
      if (finding.session == session_.text() && finding.sequence == row.sequence) finding.repaired = true;
    there->second = row;
    damaged_.erase(row.sequence);
    return;
  }
  // Beside a running service: stored after the rows were read, its own row may be a moment away.
  if (scene_.live && (rows_.empty() || row.sequence > rows_.rbegin()->first)) return;
  auto unreadable = unreadable_.find(row.sequence);
  Finding* finding = unreadable != unreadable_.end() ? &scene_.report.findings[unreadable->second]
                                                     : &add("row_missing", row, "a whole chunk in the pack has no row in the index");
  if (!scene_.repair || finding->repaired) return;
  scene_.documents.put(kChunks, chunk_key(session_, row.sequence), row_text(row));
  finding->repaired = true;
  rows_[row.sequence] = row;
}

void SessionCheck::check_sequences() {
  std::uint64_t expected = 0;
  for (auto& [sequence, row] : rows_) {
    if (sequence > expected) {
      Finding& finding =
          add("sequence_gap", fmt::format("{} chunks from sequence {} on are not in the index", sequence - expected, expected));
      finding.sequence = expected;
    }
    expected = sequence + 1;
    add_to(summary_, row);
  }
}

void SessionCheck::check_manifest() {
  auto document = scene_.documents.get(kManifests, session_.text());
  if (!document) {
    if (!rows_.empty() && still_there(rows_.begin()->first))
      add("manifest_missing", "there are chunks and no manifest: they cannot be opened without its keys");
    return;
  }
  known_ = true;
  auto manifest = recording::parse_manifest(document->json);
  if (!manifest)
    add("manifest_invalid", manifest.error().what());
  else if (manifest->session != session_)
    add("manifest_invalid", "it is of session " + manifest->session.text());
}

void SessionCheck::check_state() {
  std::string key = session_.text();
  auto document = scene_.documents.get(kSessions, key);
  std::optional<contracts::StorageSummary> closed;
  bool readable = true;
  if (document) {
    try {
      closed = read_closed(*document);
    } catch (const Error&) { readable = false; }
  }
  bool open = scene_.documents.get(kOpen, key).has_value();
  bool wrong = !readable || (closed && !open && closed_text(*closed) != closed_text(summary_));
  if (wrong && !scene_.live) add("summary_wrong", "the summary of the closed session is not that of its chunks").repaired = scene_.repair;
  if (!scene_.repair || (document && !wrong)) return;
  // A recording whose end is here is closed; another is looked through by session-storage at its next start.
  bool ended = document || summary_.complete;
  if (ended) {
    scene_.documents.put(kSessions, key, closed_text(summary_));
  } else {
    scene_.documents.put(kSessions, key, kOpenState);
    scene_.documents.put(kOpen, key, "{}");
  }
}

// The chunk is right by its row, so the hash behind it is known: the pack is written anew with it.
void SessionCheck::mend_seals() {
  FileOps& files = system_files();
  for (auto& [pack, rows] : broken_seals_) {
    std::string path = scene_.packs.path(session_, pack);
    Bytes bytes;
    if (scene_.repair) bytes = files.read_file(path, SIZE_MAX);
    for (const contracts::ChunkRow& row : rows) {
      add("seal_damaged", row, "the chunk is good, the hash behind it in the pack is not").repaired = scene_.repair;
      if (!scene_.repair) continue;
      std::size_t at = row.offset + row.stored_size;
      bytes.resize(std::max(bytes.size(), at + store::kPackSealSize));
      std::copy(row.blake3.begin(), row.blake3.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
    }
    if (scene_.repair) files.replace_file(path, bytes);
  }
}

void SessionCheck::cut_tail(std::uint32_t pack, std::uint64_t end) {
  FileOps& files = system_files();
  std::string path = scene_.packs.path(session_, pack);
  File file = files.open(path, OpenMode::append);
  files.truncate(file, end, path);
  files.sync_data(file, path);
}

}  // namespace lucid::storage
