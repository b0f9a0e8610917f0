// The recording part of a session as users ask for it and every service passes it on. JSON form: docs/api. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/base/json.hpp"

namespace lucid::contracts {

enum class Keystrokes { full, metadata, off };
enum class Digests { off, keyframes, all };

struct DisplayTarget {
  std::string display;     // ":10"
  std::string xauthority;  // path, or empty: no authorisation
};

struct RecordingOptions {
  int frame_rate = 15;  // 1–60
  Keystrokes keystrokes = Keystrokes::full;
  bool clipboard = true;
  bool windows = true;
  bool processes = false;
  std::int64_t max_rate = 200'000;           // bytes a second, 10 000–100 000 000
  bool jpeg = false;                         // JPEG for hot tiles
  Digests digests = Digests::keyframes;      // frame digests stored in the recording
  std::vector<std::string> password_titles;  // window titles (substring, case ignored) whose keys are masked; <= 50 of <= 200
};

// Readers record refused fields in `in`; the caller calls in.finish().
DisplayTarget read_display_target(FieldReader& in);
RecordingOptions read_recording_options(FieldReader& in);
json::value to_json(const DisplayTarget& target);
json::value to_json(const RecordingOptions& options);

}  // namespace lucid::contracts
