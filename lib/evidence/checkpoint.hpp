// Checkpoints: C2SP tlog-checkpoint bodies inside C2SP signed notes with Ed25519 signatures (type 0x01), readable by
// Go's golang.org/x/mod/sumdb/note and tlog. Text is bounded (64 KiB, 100 signatures). Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.hpp"
#include "lib/crypto/signature.hpp"

namespace lucid::evidence {

struct Checkpoint {
  std::string origin;  // "lucid/<node>/session/<id>"
  std::uint64_t size = 0;
  Hash32 root{};
  std::vector<std::string> extensions;  // further lines of the body, each non-empty
  bool operator==(const Checkpoint&) const = default;
};

std::string session_origin(std::string_view node, std::string_view session_id);

// The signed note; key name = origin.
std::string sign_checkpoint(const Checkpoint& checkpoint, const crypto::SigningKey& key);
// Parses and checks the signature by `key` under the name `checkpoint.origin`; unknown signatures are ignored.
// Errors: malformed (not a note or checkpoint), corrupt code "bad_signature".
Expected<Checkpoint> open_checkpoint(std::string_view note, const crypto::VerifyKey& key);
// Parses without checking any signature.
Expected<Checkpoint> parse_checkpoint(std::string_view note);
// C2SP verifier key "name+hash+base64" as note.NewVerifier reads it.
std::string note_verifier_key(std::string_view name, const crypto::VerifyKey& key);

}  // namespace lucid::evidence
