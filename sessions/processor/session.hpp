// One session in the processor: its manifest, its Merkle tree and, while it records, the ratchet of the current key
// epoch. Documents "sessions" (manifest text) and "leaves" (leaf data, leaf hash and the checkpoint signed with it) hold
// what survives; keys never do. Guarded by `mutex`.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>

#include "lib/base/clock.hpp"
#include "lib/crypto/signature.hpp"
#include "lib/evidence/tree.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/recording/key_epoch.hpp"
#include "lib/recording/manifest.hpp"
#include "lib/store/documents.hpp"

namespace lucid::processor {

struct Session {
  std::mutex mutex;
  recording::Manifest manifest;
  evidence::Tree tree;
  std::string checkpoint;                     // signed note over the whole tree; empty while the tree is empty
  bool ended = false;                         // the last leaf carries the end flag
  std::optional<recording::Ratchet> ratchet;  // of manifest.epochs.back(), once started by this process
  std::int64_t last_used_ms = 0;
  // Read without `mutex`, which a commit holds for as long as storage takes.
  std::atomic<bool> recording = false;                // the ratchet is there
  std::atomic<std::int64_t> uncovered_since_ms = -1;  // steady clock: a chunk is stored that no checkpoint covers yet; -1: none
};

// Reads a session's documents; nullptr when there are none. Error{corrupt} when they contradict each other.
std::shared_ptr<Session> load_session(store::Documents& documents, const Id& id);
void save_manifest(store::Documents& documents, const recording::Manifest& manifest);
// Appends `leaf` to tree and documents and signs the checkpoint over it; durable when it returns.
void append_leaf(store::Documents& documents, Session& session, const recording::Leaf& leaf, const crypto::SigningKey& key);
// The leaf data of `sequence` as it was hashed; nullopt when there is none.
std::optional<Bytes> leaf_data(store::Documents& documents, const Id& id, std::uint64_t sequence);
void remove_session(store::Documents& documents, const Id& id);

}  // namespace lucid::processor
