#include "lib/recording/session_note.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace lucid::recording {
namespace {

// Whether a signature line of the note carries the key id of `key` under `name`.
bool names_key(std::string_view note, const std::string& name, const crypto::VerifyKey& key) {
  // "name+hash+base64": eight hex digits after the name.
  auto id = from_hex(evidence::note_verifier_key(name, key).substr(name.size() + 1, 8));
  const std::string prefix = "\n\u2014 " + name + " ";
  for (std::size_t at = note.find(prefix); at != std::string_view::npos; at = note.find(prefix, at + 1)) {
    std::string_view line = note.substr(at + prefix.size());
    auto signature = from_base64(line.substr(0, line.find('\n')));
    if (signature && signature->size() >= 4 && std::equal(id->begin(), id->end(), signature->begin())) return true;
  }
  return false;
}

}  // namespace

Expected<evidence::Checkpoint> open_session_note(std::string_view note, const std::string& origin, const crypto::VerifyKey& key) {
  auto checkpoint = evidence::open_checkpoint(note, key);
  if (checkpoint && checkpoint->origin != origin)
    return std::unexpected(Error(ErrorKind::corrupt, "checkpoint_mismatch",
                                 fmt::format("the note is about {}, not {}", to_utf8(checkpoint->origin, 300), origin)));
  if (checkpoint) return checkpoint;
  if (checkpoint.error().kind() == ErrorKind::malformed) return std::unexpected(Error(ErrorKind::malformed, checkpoint.error().what()));
  if (!names_key(note, origin, key))
    return std::unexpected(Error(ErrorKind::corrupt, "wrong_key", "the note carries no signature by the given key"));
  return std::unexpected(Error(ErrorKind::corrupt, "bad_signature", "the signature does not fit the note"));
}

}  // namespace lucid::recording
