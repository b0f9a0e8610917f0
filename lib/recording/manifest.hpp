// The manifest: what a recording is, who can open it and how it ended. JSON, versioned (docs/formats/manifest.md).
// Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.hpp"
#include "lib/base/id.hpp"
#include "lib/base/json.hpp"
#include "lib/crypto/signature.hpp"
#include "lib/recording/key_epoch.hpp"

namespace lucid::recording {

struct Manifest {
  Id session;
  std::string node;                  // origin of checkpoints: lucid/<node>/session/<id>
  std::int64_t started_wall_ms = 0;  // wall clock at session millisecond 0
  std::string codec = "tiles";
  std::string name;              // as the user called the session
  json::object options;          // recording options as they were asked for
  std::vector<KeyEpoch> epochs;  // ascending by first_sequence
  std::string checkpoint_key;    // crypto::VerifyKey::text of the key that signs checkpoints
  std::string final_checkpoint;  // signed note, empty while the recording runs
};

inline constexpr std::size_t kMaxManifestBytes = 4 << 20;

// The same manifest always gives the same bytes.
std::string to_json_text(const Manifest& manifest);
// Unknown members are ignored. Errors: malformed, too_large.
Expected<Manifest> parse_manifest(std::string_view text);
// "lucid/<node>/session/<id>": the origin of the session's checkpoints.
std::string origin_of(const Manifest& manifest);
// The epoch that `sequence` belongs to by its first_sequence, or nullptr.
const KeyEpoch* epoch_of(const Manifest& manifest, std::uint64_t sequence);
// The epoch a chunk names in its header (ChunkHeader::key_epoch), or nullptr.
const KeyEpoch* find_epoch(const Manifest& manifest, std::uint32_t epoch);

// A manifest note: a signed note that binds the manifest's exact bytes. It is a checkpoint of origin
// "<origin>/manifest" over a one-leaf tree whose leaf is the manifest text, with the extension line "sha256 <hex>".
// Whoever writes a manifest (processor at start, new epoch and end; key rotation) signs it anew.
// Throws Error{malformed} when `text` is no manifest.
std::string sign_manifest(std::string_view text, const crypto::SigningKey& key);
// Errors: malformed; corrupt with code "wrong_key", "bad_signature" or "manifest_altered".
Expected<void> verify_manifest(std::string_view text, std::string_view note, const crypto::VerifyKey& key);

}  // namespace lucid::recording
