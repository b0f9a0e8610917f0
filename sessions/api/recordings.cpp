#include "sessions/api/recordings.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "lib/recording/records.hpp"

namespace lucid::api {
namespace {

constexpr std::size_t kMaxIndexes = 32;
constexpr std::size_t kRowPage = 10'000, kEventRowPage = 500;

template <class T>
T value_or_throw(Expected<T> result) {
  if (!result) throw result.error();
  return std::move(*result);
}

}  // namespace

json::object to_json(const RecordingIndex& index) {
  json::array keyframes;
  for (const auto& k : index.keyframes)
    keyframes.push_back(json::object{{"sequence", k.sequence},
                                     {"first_ms", k.first_ms},
                                     {"last_ms", k.last_ms},
                                     {"flags", k.flags},
                                     {"full", (k.flags & recording::kHasFullKeyframe) != 0},
                                     {"diff", (k.flags & recording::kHasDiffKeyframe) != 0}});
  return {{"chunks", index.chunks},           {"stored_bytes", index.stored_bytes},
          {"plain_bytes", index.plain_bytes}, {"next_sequence", index.next_sequence},
          {"first_ms", index.first_ms},       {"last_ms", index.last_ms},
          {"complete", index.complete},       {"keyframes", std::move(keyframes)}};
}

const std::vector<std::string>& event_kinds() {
  static const std::vector<std::string> kinds = [] {
    std::vector<std::string> names;
    auto add = [&]<class... T>(std::type_identity<std::variant<T...>>) {
      (
          [&](const recording::Payload& payload) {
            if (recording::is_event(payload)) names.emplace_back(recording::kind_name(payload));
          }(T{}),
          ...);
    };
    add(std::type_identity<recording::Payload>{});
    return names;
  }();
  return kinds;
}

Recordings::Recordings(std::shared_ptr<contracts::StorageClient> storage, crypto::BoxKey playback)
    : storage_(std::move(storage)), keys_(std::move(playback), [this](const Id& id) { return manifest(id); }) {}

std::optional<contracts::ChunkRow> Recordings::row(const Id& session, std::uint64_t sequence) {
  auto rows = storage_->chunks(session, sequence, 1);
  if (rows.empty() || rows.front().sequence != sequence) return std::nullopt;
  return rows.front();
}

Bytes Recordings::stored(const Id& session, std::uint64_t sequence) { return storage_->chunk(session, sequence); }

Recordings::Content Recordings::content(const Id& session, std::uint64_t sequence) {
  Bytes chunk = stored(session, sequence);
  recording::ChunkHeader header = value_or_throw(recording::parse_chunk_header(chunk));
  if (header.session != session || header.sequence != sequence)
    throw Error(ErrorKind::corrupt, "chunk_swapped",
                fmt::format("storage keeps chunk {} of session {} in the place of chunk {} of session {}", header.sequence,
                            header.session.text(), sequence, session.text()));
  crypto::Secret32 key = keys_.chunk_key(header);
  return {header, value_or_throw(recording::decrypt_chunk(chunk, key))};
}

Bytes Recordings::records(const Id& session, std::uint64_t sequence) {
  Content c = content(session, sequence);
  return value_or_throw(recording::expand(c.bytes, c.header.codec, c.header.plain_size));
}

RecordingIndex Recordings::index(const Id& session) {
  RecordingIndex index;
  {
    std::lock_guard lock(index_mutex_);
    auto it = std::find_if(indexes_.begin(), indexes_.end(), [&](const Cached& c) { return c.session == session; });
    if (it != indexes_.end()) index = it->index;
  }
  // Chunks are only ever added, so what was read before still stands.
  for (bool more = true; more;) {
    std::vector<contracts::ChunkRow> page = storage_->chunks(session, index.next_sequence, kRowPage);
    more = page.size() == kRowPage;
    for (const contracts::ChunkRow& row : page) {
      if ((row.flags & (recording::kHasFullKeyframe | recording::kHasDiffKeyframe)) != 0)
        index.keyframes.push_back({row.sequence, row.first_ms, row.last_ms, row.flags});
      if (index.chunks == 0) index.first_ms = row.first_ms;
      index.last_ms = row.last_ms;
      ++index.chunks;
      index.stored_bytes += row.stored_size;
      index.plain_bytes += row.plain_size;
      index.next_sequence = row.sequence + 1;
      index.complete = (row.flags & recording::kEnd) != 0;
    }
  }
  std::lock_guard lock(index_mutex_);
  indexes_.remove_if([&](const Cached& c) { return c.session == session; });
  indexes_.push_front({session, index});
  if (indexes_.size() > kMaxIndexes) indexes_.pop_back();
  return index;
}

std::string Recordings::manifest_text(const Id& session) {
  auto text = storage_->manifest(session);
  if (!text)
    throw Error(ErrorKind::not_found, "manifest_not_found",
                fmt::format("session {} has no manifest: nothing was recorded yet", session.text()));
  return std::move(*text);
}

recording::Manifest Recordings::manifest(const Id& session) {
  recording::Manifest manifest = value_or_throw(recording::parse_manifest(manifest_text(session)));
  if (manifest.session != session)
    throw Error(ErrorKind::corrupt, "manifest_swapped",
                fmt::format("the manifest kept for session {} is that of {}", session.text(), manifest.session.text()));
  return manifest;
}

void Recordings::forget(const Id& session) {
  keys_.forget(session);
  std::lock_guard lock(index_mutex_);
  indexes_.remove_if([&](const Cached& c) { return c.session == session; });
}

EventWalk::EventWalk(Recordings& recordings, const Id& session, EventQuery query)
    : recordings_(recordings), session_(session), query_(std::move(query)) {}

bool EventWalk::load_chunk() {
  for (;;) {
    if (row_ == page_.size()) {
      if (last_page_) return false;
      page_ = recordings_.rows(session_, next_sequence_, kEventRowPage);
      row_ = 0;
      last_page_ = page_.size() < kEventRowPage;
      if (!page_.empty()) next_sequence_ = page_.back().sequence + 1;
      continue;
    }
    const contracts::ChunkRow& row = page_[row_++];
    // Chunks stand in order of time, so nothing beyond this one can match.
    if (row.first_ms > query_.to_ms) return last_page_ = true, row_ = page_.size(), false;
    if ((row.flags & recording::kHasEvents) == 0 || row.last_ms < query_.from_ms) continue;
    Bytes stream = recordings_.records(session_, row.sequence);
    recording::RecordReader reader(stream);
    events_.clear();
    event_ = 0;
    for (;;) {
      auto record = value_or_throw(reader.next());
      if (!record) break;
      if (record->ms < query_.from_ms || record->ms > query_.to_ms || !recording::is_event(record->payload)) continue;
      if (!query_.kinds.empty() &&
          std::find(query_.kinds.begin(), query_.kinds.end(), recording::kind_name(record->payload)) == query_.kinds.end())
        continue;
      events_.push_back(recording::to_json_text(*record));
    }
    if (!events_.empty()) return true;
  }
}

std::optional<std::string> EventWalk::next() {
  if (event_ == events_.size() && !load_chunk()) return std::nullopt;
  if (given_ == query_.limit) return cut_short_ = true, std::nullopt;
  ++given_;
  return std::move(events_[event_++]);
}

}  // namespace lucid::api
