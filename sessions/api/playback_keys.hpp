// Finds the key of a chunk: the manifest's epoch named in its header, opened with the deployment's playback key. Keeps the
// ratchet of recently read epochs where the last reader left it, so reading on is one step per chunk; going back
// starts again at the epoch's beginning. Holds at most kMaxEpochs keys, the least recently used go first. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <string>

#include "lib/crypto/sealed_box.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/recording/manifest.hpp"

namespace lucid::api {

class PlaybackKeys {
 public:
  static constexpr std::size_t kMaxEpochs = 256;
  // `manifest`: the newest manifest of a session; throws where there is none.
  using ReadManifest = std::function<recording::Manifest(const Id&)>;
  PlaybackKeys(crypto::BoxKey playback, ReadManifest manifest) : playback_(std::move(playback)), manifest_(std::move(manifest)) {}

  // Error{corrupt, "unknown_epoch"} when the manifest has no such epoch, Error{forbidden, "not_a_recipient"} when it is not
  // sealed to the playback key.
  crypto::Secret32 chunk_key(const recording::ChunkHeader& header);
  void forget(const Id& session);

 private:
  struct Entry {
    Id session;
    recording::KeyEpoch epoch;
    recording::Ratchet ratchet;
  };
  using Entries = std::list<Entry>;
  Entries::iterator find(const Id& session, std::uint32_t epoch);
  Entries::iterator open(const Id& session, const recording::KeyEpoch& epoch);

  crypto::BoxKey playback_;
  ReadManifest manifest_;
  std::mutex mutex_;
  Entries entries_;  // most recently used first
};

}  // namespace lucid::api
