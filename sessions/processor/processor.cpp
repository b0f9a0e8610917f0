#include "sessions/processor/processor.hpp"

#include <chrono>

#include <fmt/format.h>

#include "lib/evidence/checkpoint.hpp"

namespace lucid::processor {
namespace {

constexpr std::size_t kKeptSessions = 512;

std::int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A segment that cannot be opened is the sender's mistake, however it came to be damaged: 4xx, under the code that says what.
Error unacceptable(const Error& e) { return Error(e.kind() == ErrorKind::corrupt ? ErrorKind::invalid : e.kind(), e.code(), e.what()); }

json::array hex_list(const evidence::Proof& proof) {
  json::array out;
  for (const Hash32& h : proof) out.push_back(json::value(to_hex(h)));
  return out;
}

}  // namespace

Processor::Processor(const Config& config, store::Documents& documents, const Clock& clock, RandomSource& random, crypto::BoxKey spool_key,
                     crypto::SigningKey checkpoint_key, crypto::BoxPublicKey playback, runtime::Metrics& metrics, Outside outside)
    : config_(config),
      documents_(documents),
      clock_(clock),
      random_(random),
      spool_keys_(std::move(spool_key)),
      checkpoint_key_(std::move(checkpoint_key)),
      playback_(playback),
      outside_(std::move(outside)),
      metrics_(metrics),
      exposure_(metrics, [this] { update_gauges(); }) {}

contracts::ProcessorKeys Processor::keys() const {
  return {spool_keys_.public_key().text(), checkpoint_key_.verify_key().text(), config_.node};
}

std::shared_ptr<Session> Processor::find(const Id& id) {
  {
    std::lock_guard lock(mutex_);
    if (auto it = sessions_.find(id); it != sessions_.end()) {
      it->second->last_used_ms = clock_.steady_ms();
      return it->second;
    }
  }
  auto loaded = load_session(documents_, id);
  if (!loaded) throw Error(ErrorKind::not_found, "session_not_found", "no chunk of session " + id.text() + " has been processed here");
  std::lock_guard lock(mutex_);
  evict();
  loaded->last_used_ms = clock_.steady_ms();
  return sessions_.emplace(id, loaded).first->second;
}

// With mutex_ held: forgets sessions that are not being recorded when there are many; they load again when needed.
void Processor::evict() {
  if (sessions_.size() < kKeptSessions) return;
  auto oldest = sessions_.end();
  for (auto it = sessions_.begin(); it != sessions_.end(); ++it)
    if (it->second.use_count() == 1 && !it->second->recording && it->second->uncovered_since_ms < 0 &&
        (oldest == sessions_.end() || it->second->last_used_ms < oldest->second->last_used_ms))
      oldest = it;
  if (oldest != sessions_.end()) sessions_.erase(oldest);
}

std::shared_ptr<Session> Processor::find_or_begin(const Id& id) {
  try {
    return find(id);
  } catch (const Error& e) {
    if (e.code() != "session_not_found") throw;
  }
  contracts::RecordingPlan plan = outside_.plan(id);
  auto session = std::make_shared<Session>();
  recording::Manifest& m = session->manifest;
  m.session = id;
  m.node = config_.node;
  m.started_wall_ms = plan.started_wall_ms;
  m.name = plan.name;
  m.options = contracts::to_json(plan.options).as_object();
  m.checkpoint_key = checkpoint_key_.verify_key().text();
  save_manifest(documents_, m);
  std::lock_guard lock(mutex_);
  return sessions_.emplace(id, session).first->second;
}

void Processor::write_manifest(const recording::Manifest& manifest) {
  save_manifest(documents_, manifest);
  outside_.put_manifest(manifest.session, recording::to_json_text(manifest));
}

// Keys live in this process only: a processor that takes a session up starts a new epoch, whose sealed keys are durable
// in the manifest before the first chunk uses it.
void Processor::ensure_epoch(Session& s) {
  if (s.ratchet) return;
  contracts::RecordingPlan plan = outside_.plan(s.manifest.session);
  std::vector<crypto::BoxPublicKey> recipients{playback_};
  for (const std::string& text : plan.recipients) {
    auto key = crypto::BoxPublicKey::parse(text);
    if (!key) throw Error(ErrorKind::invalid, "bad_recipient", "the session's recipients hold a key that cannot be read");
    recipients.push_back(*key);
  }
  recording::Manifest next = s.manifest;
  auto epoch = recording::start_epoch(static_cast<std::uint32_t>(next.epochs.size()), s.tree.size(), recipients, random_);
  next.epochs.push_back(epoch.epoch);
  if (next.started_wall_ms == 0) next.started_wall_ms = plan.started_wall_ms;
  write_manifest(next);
  s.manifest = std::move(next);
  s.ratchet.emplace(std::move(epoch.ratchet));
  s.recording = true;
}

contracts::Committed Processor::already_committed(Session& s, const recording::OpenedSegment& segment, std::uint64_t expected) {
  if (segment.sequence >= expected) {  // a crash came between the leaf and the pipeline's knowing
    auto rows = outside_.rows(segment.session, segment.sequence, 1);
    if (rows.empty() || rows[0].sequence != segment.sequence)
      throw Error(ErrorKind::corrupt, "chunk_missing",
                  fmt::format("chunk {} of session {} is in the tree but not in storage", segment.sequence, segment.session.text()));
    contracts::Commit commit;
    commit.sequence = segment.sequence;
    commit.fencing_token = segment.fencing_token;
    commit.stored_size = rows[0].stored_size;
    commit.plain_size = rows[0].plain_size;
    commit.first_ms = rows[0].first_ms;
    commit.last_ms = rows[0].last_ms;
    commit.flags = rows[0].flags;
    outside_.commit(segment.session, commit);
  }
  return {segment.session, segment.sequence, s.tree.size()};
}

recording::OpenedSegment Processor::open(ByteView body, contracts::SegmentPart part) {
  auto header = recording::parse_spool_header(body);
  if (!header) throw header.error();
  crypto::Secret32 spool_key = spool_keys_.open(*header);
  auto opened = recording::open_segment(body, *header, spool_key);
  if (!opened) throw unacceptable(opened.error());
  if (!opened->closed && part == contracts::SegmentPart::closed)
    throw Error(ErrorKind::malformed, "segment_cut", fmt::format("segment {} ends without its last batch", opened->sequence));
  return std::move(*opened);
}

contracts::Committed Processor::ingest(ByteView body, contracts::SegmentPart part) {
  std::int64_t began = now_us();
  recording::OpenedSegment segment;
  try {
    segment = open(body, part);
  } catch (const Error&) {
    metrics_.opened_errors.add();
    throw;
  }

  // The lease is checked before anything is kept of a session this processor does not know.
  std::uint64_t expected = outside_.begin(segment.session, segment.sequence, segment.fencing_token);
  auto session = find_or_begin(segment.session);
  std::lock_guard lock(session->mutex);
  Session& s = *session;
  std::uint64_t next = s.tree.size();
  if (segment.sequence < next) return already_committed(s, segment, expected);
  if (segment.sequence > next)
    throw Error(ErrorKind::conflict, "out_of_order", fmt::format("segment {} came, {} is next", segment.sequence, next))
        .with_fields({{"/expected", std::to_string(next)}});

  const char* stage = "encrypted";
  runtime::Counter* errors = &metrics_.encrypted_errors;
  try {
    ensure_epoch(s);
    const recording::KeyEpoch& epoch = s.manifest.epochs.back();
    crypto::Secret32 key = s.ratchet->chunk_key(segment.sequence - epoch.first_sequence);
    thread_local recording::ChunkSealer sealer;
    recording::SealedChunk chunk = sealer.seal({.session = segment.session,
                                                .sequence = segment.sequence,
                                                .key_epoch = epoch.epoch,
                                                .first_ms = segment.first_ms,
                                                .last_ms = segment.last_ms,
                                                .flags = segment.flags},
                                               segment.records, key, random_);
    stage = "stored";
    errors = &metrics_.stored_errors;
    std::int64_t store_began = now_us();
    auto put = outside_.put_chunk(segment.session, segment.sequence, chunk.stored);
    std::int64_t store_us = now_us() - store_began;
    const contracts::ChunkRow& row = put.row;
    if (put.created ? row.blake3 != chunk.blake3 : row.first_ms != segment.first_ms)
      throw Error(ErrorKind::conflict, "sequence_taken",
                  fmt::format("storage holds another chunk {} of session {}", segment.sequence, segment.session.text()));

    stage = "committed";
    errors = &metrics_.committed_errors;
    std::int64_t commit_began = now_us();
    // Until its leaf is signed: a segment sent again does not make the chunk any younger.
    if (s.uncovered_since_ms < 0) s.uncovered_since_ms = clock_.steady_ms();
    recording::Leaf leaf{.session = segment.session,
                         .sequence = row.sequence,
                         .blake3 = row.blake3,
                         .stored_size = row.stored_size,
                         .first_ms = row.first_ms,
                         .last_ms = row.last_ms,
                         .flags = row.flags};
    append_leaf(documents_, s, leaf, checkpoint_key_);
    s.uncovered_since_ms = -1;
    s.ratchet->advance_past(segment.sequence - epoch.first_sequence);
    outside_.commit(segment.session, {.sequence = row.sequence,
                                      .fencing_token = segment.fencing_token,
                                      .stored_size = row.stored_size,
                                      .plain_size = row.plain_size,
                                      .first_ms = row.first_ms,
                                      .last_ms = row.last_ms,
                                      .flags = row.flags,
                                      .compress_us = chunk.times.compress_us,
                                      .encrypt_us = chunk.times.encrypt_us,
                                      .hash_us = chunk.times.hash_us,
                                      .store_us = store_us,
                                      .total_us = now_us() - began});
    metrics_.chunks.add();
    metrics_.plain_bytes.add(row.plain_size);
    metrics_.stored_bytes.add(row.stored_size);
    auto observe = [](runtime::Histogram& histogram, std::int64_t us) { histogram.observe(static_cast<double>(us) / 1e6); };
    observe(metrics_.compressed, chunk.times.compress_us);
    observe(metrics_.encrypted, chunk.times.encrypt_us);
    observe(metrics_.hashed, chunk.times.hash_us);
    observe(metrics_.stored, store_us);
    observe(metrics_.committed, now_us() - commit_began);
    observe(metrics_.segment_seconds, now_us() - began);
    return {segment.session, segment.sequence, s.tree.size()};
  } catch (const Error& e) {
    errors->add();
    try {
      outside_.failure(segment.session, segment.sequence, stage, e.what());
    } catch (const Error&) {
      // The pipeline is away too; the recorder keeps the segment and its backlog shows.
    }
    throw;
  }
}

std::string Processor::checkpoint(const Id& id) {
  auto s = find(id);
  std::lock_guard lock(s->mutex);
  if (s->checkpoint.empty()) throw Error(ErrorKind::not_found, "no_checkpoint", "no chunk of session " + id.text() + " is committed yet");
  return s->checkpoint;
}

json::value Processor::proof(const Id& id, std::uint64_t sequence, std::optional<std::uint64_t> size) {
  auto s = find(id);
  std::lock_guard lock(s->mutex);
  std::uint64_t n = size.value_or(s->tree.size());
  if (n > s->tree.size()) throw Error(ErrorKind::invalid, "size_beyond_tree", fmt::format("the tree has {} leaves", s->tree.size()));
  if (sequence >= n)
    throw Error(ErrorKind::not_found, "chunk_not_found", fmt::format("chunk {} is not among the first {} leaves", sequence, n));
  auto data = leaf_data(documents_, id, sequence);
  if (!data) throw Error(ErrorKind::corrupt, "leaf_missing", fmt::format("leaf {} of session {} is missing", sequence, id.text()));
  return json::object{{"index", sequence},
                      {"size", n},
                      {"leaf", to_hex(*data)},
                      {"leaf_hash", to_hex(s->tree.leaf(sequence))},
                      {"root", to_hex(s->tree.root_at(n))},
                      {"proof", hex_list(s->tree.inclusion(sequence, n))},
                      {"checkpoint", s->checkpoint}};
}

json::value Processor::consistency(const Id& id, std::uint64_t from, std::optional<std::uint64_t> to) {
  auto s = find(id);
  std::lock_guard lock(s->mutex);
  std::uint64_t n = to.value_or(s->tree.size());
  if (n > s->tree.size() || from > n)
    throw Error(ErrorKind::invalid, "size_beyond_tree", fmt::format("sizes must be from <= to <= {}", s->tree.size()));
  return json::object{{"from", from},
                      {"to", n},
                      {"root_from", to_hex(s->tree.root_at(from))},
                      {"root_to", to_hex(s->tree.root_at(n))},
                      {"proof", hex_list(s->tree.consistency(from, n))}};
}

contracts::ProcessorClient::Snapshot Processor::snapshot(const Id& id) {
  auto s = find(id);
  std::lock_guard lock(s->mutex);
  std::string manifest = recording::to_json_text(s->manifest);
  return {manifest, recording::sign_manifest(manifest, checkpoint_key_), s->checkpoint, s->tree.size()};
}

contracts::ProcessorClient::Final Processor::finish(const Id& id) {
  auto s = find(id);
  std::lock_guard lock(s->mutex);
  s->ratchet.reset();
  s->recording = false;
  s->uncovered_since_ms = -1;  // this checkpoint is the last one
  recording::Manifest last = s->manifest;
  last.final_checkpoint = s->checkpoint;
  last.started_wall_ms = outside_.plan(id).started_wall_ms;
  write_manifest(last);
  s->manifest = std::move(last);
  return {s->checkpoint, recording::sign_manifest(recording::to_json_text(s->manifest), checkpoint_key_)};
}

void Processor::remove(const Id& id) {
  remove_session(documents_, id);
  std::lock_guard lock(mutex_);
  sessions_.erase(id);
}

void Processor::update_gauges() {
  std::size_t recording = 0;
  std::int64_t now = clock_.steady_ms(), oldest = now;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, session] : sessions_) {
      recording += session->recording ? 1 : 0;
      if (std::int64_t since = session->uncovered_since_ms; since >= 0) oldest = std::min(oldest, since);
    }
  }
  metrics_.sessions.set(static_cast<double>(recording));
  metrics_.checkpoint_age_seconds.set(static_cast<double>(now - oldest) / 1000);
}

}  // namespace lucid::processor
