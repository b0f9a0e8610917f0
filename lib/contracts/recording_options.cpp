#include "lib/contracts/recording_options.hpp"

namespace lucid::contracts {
namespace {

const std::vector<std::string_view> kKeystrokes{"full", "metadata", "off"};
const std::vector<std::string_view> kDigests{"off", "keyframes", "all"};

// ":10", "host:10.0"; what xcb_parse_display takes, kept to characters that mean nothing else anywhere.
bool is_display_name(std::string_view text) {
  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == text.size()) return false;
  for (char c : text.substr(0, colon))
    if (!(std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '_')) return false;
  for (char c : text.substr(colon + 1))
    if (!(std::isdigit(static_cast<unsigned char>(c)) || c == '.')) return false;
  return true;
}

}  // namespace

DisplayTarget read_display_target(FieldReader& in) {
  DisplayTarget target;
  target.display = in.text("display", {.min = 2, .max = 100});
  if (target.display.size() >= 2 && !is_display_name(target.display)) in.refuse("display", "must be an X display such as \":10\"");
  target.xauthority = in.text_or("xauthority", "", {.min = 1, .max = 4096});
  if (!target.xauthority.empty() && !target.xauthority.starts_with('/')) in.refuse("xauthority", "must be an absolute path");
  return target;
}

RecordingOptions read_recording_options(FieldReader& in) {
  RecordingOptions o;
  o.frame_rate = static_cast<int>(in.integer_or("frame_rate", 15, 1, 60));
  o.keystrokes = static_cast<Keystrokes>(in.word_or("keystrokes", 0, kKeystrokes));
  o.clipboard = in.boolean_or("clipboard", true);
  o.windows = in.boolean_or("windows", true);
  o.processes = in.boolean_or("processes", false);
  o.max_rate = in.integer_or("max_rate", 200'000, 10'000, 100'000'000);
  o.jpeg = in.boolean_or("jpeg", false);
  o.digests = static_cast<Digests>(in.word_or("digests", 1, kDigests));
  o.password_titles = in.texts_or_empty("password_titles", 50, {.min = 1, .max = 200});
  return o;
}

json::value to_json(const DisplayTarget& target) {
  json::object o{{"display", target.display}};
  if (!target.xauthority.empty()) o["xauthority"] = target.xauthority;
  return o;
}

json::value to_json(const RecordingOptions& o) {
  return json::object{{"frame_rate", o.frame_rate},
                      {"keystrokes", kKeystrokes[static_cast<std::size_t>(o.keystrokes)]},
                      {"clipboard", o.clipboard},
                      {"windows", o.windows},
                      {"processes", o.processes},
                      {"max_rate", o.max_rate},
                      {"jpeg", o.jpeg},
                      {"digests", kDigests[static_cast<std::size_t>(o.digests)]},
                      {"password_titles", json::array(o.password_titles.begin(), o.password_titles.end())}};
}

}  // namespace lucid::contracts
