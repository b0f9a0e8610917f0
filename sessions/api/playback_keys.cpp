#include "sessions/api/playback_keys.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace lucid::api {

PlaybackKeys::Entries::iterator PlaybackKeys::find(const Id& session, std::uint32_t epoch) {
  return std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.session == session && e.epoch.epoch == epoch; });
}

PlaybackKeys::Entries::iterator PlaybackKeys::open(const Id& session, const recording::KeyEpoch& epoch) {
  auto ratchet = recording::recover_ratchet(epoch, playback_);
  if (!ratchet)
    throw Error(ErrorKind::forbidden, "not_a_recipient",
                fmt::format("session {}, key epoch {}, is not sealed to this server's playback key: only its recipients can open it",
                            session.text(), epoch.epoch));
  entries_.push_front({session, epoch, std::move(*ratchet)});
  if (entries_.size() > kMaxEpochs) entries_.pop_back();
  return entries_.begin();
}

crypto::Secret32 PlaybackKeys::chunk_key(const recording::ChunkHeader& header) {
  std::unique_lock lock(mutex_);
  auto it = find(header.session, header.key_epoch);
  if (it == entries_.end()) {
    lock.unlock();
    recording::Manifest manifest = manifest_(header.session);
    const recording::KeyEpoch* epoch = recording::find_epoch(manifest, header.key_epoch);
    if (epoch == nullptr)
      throw Error(ErrorKind::corrupt, "unknown_epoch",
                  fmt::format("chunk {} of session {} names key epoch {}, which its manifest does not have", header.sequence,
                              header.session.text(), header.key_epoch));
    lock.lock();
    it = find(header.session, header.key_epoch);
    if (it == entries_.end()) it = open(header.session, *epoch);
  }
  if (header.sequence < it->epoch.first_sequence)
    throw Error(ErrorKind::corrupt, "unknown_epoch",
                fmt::format("chunk {} of session {} stands before its key epoch {} began", header.sequence, header.session.text(),
                            header.key_epoch));
  std::uint64_t position = header.sequence - it->epoch.first_sequence;
  if (position < it->ratchet.position()) {
    recording::KeyEpoch epoch = it->epoch;
    entries_.erase(it);
    it = open(header.session, epoch);
  }
  entries_.splice(entries_.begin(), entries_, it);
  return it->ratchet.chunk_key(position);
}

void PlaybackKeys::forget(const Id& session) {
  std::lock_guard lock(mutex_);
  entries_.remove_if([&](const Entry& e) { return e.session == session; });
}

}  // namespace lucid::api
