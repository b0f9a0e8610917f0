// Opens the signed notes that belong to a recording (its checkpoints and its manifest note) and says what is wrong with
// them in the words of a verification report. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "lib/evidence/checkpoint.hpp"

namespace lucid::recording {

// Errors: malformed; corrupt with code "wrong_key" (no signature by `key`), "bad_signature" (one that does not hold) or
// "checkpoint_mismatch" (a valid note of another origin).
Expected<evidence::Checkpoint> open_session_note(std::string_view note, const std::string& origin, const crypto::VerifyKey& key);

}  // namespace lucid::recording
