#include "sessions/recorder/session_state.hpp"

#include <algorithm>
#include <array>
#include <fstream>

namespace lucid::recorder {
namespace {

constexpr std::array<std::string_view, 5> kPhases{"recording", "paused", "stopping", "lost", "completed"};
constexpr std::int64_t kMax = std::int64_t{1} << 53;
// Given up when a state file must be written on a full disk: without it no spool file could be removed to make room.
constexpr std::size_t kReserveBytes = 256 << 10;

std::string encode(const SessionState& s) {
  return json::serialize(json::object{{"version", 1},
                                      {"plan", contracts::to_json(s.plan)},
                                      {"phase", kPhases[static_cast<std::size_t>(s.phase)]},
                                      {"fencing_token", s.fencing_token},
                                      {"started_wall_ms", s.started_wall_ms},
                                      {"started_steady_ms", s.started_steady_ms},
                                      {"boot_id", s.boot_id},
                                      {"next_sequence", s.next_sequence},
                                      {"committed_below", s.committed_below},
                                      {"last_ms", s.last_ms}}) +
         "\n";
}

SessionState decode(ByteView bytes) {
  auto value = parse_json(as_text(bytes));
  if (!value) throw value.error();
  FieldReader in(*value);
  SessionState s;
  in.integer("version", 1, 1);
  if (const json::value* plan = in.raw("plan"))
    s.plan = contracts::read_recording_plan(*plan);
  else
    in.refuse("plan", "is missing");
  s.phase = static_cast<Phase>(in.word_or("phase", 0, {kPhases.begin(), kPhases.end()}));
  s.fencing_token = static_cast<std::uint64_t>(in.integer("fencing_token", 0, kMax));
  s.started_wall_ms = in.integer("started_wall_ms", 0, kMax);
  s.started_steady_ms = in.integer("started_steady_ms", -kMax, kMax);
  s.boot_id = in.text_or("boot_id", "", {.max = 64});
  s.next_sequence = static_cast<std::uint64_t>(in.integer("next_sequence", 0, kMax));
  s.committed_below = static_cast<std::uint64_t>(in.integer("committed_below", 0, kMax));
  s.last_ms = in.integer("last_ms", 0, kMax);
  in.finish();
  return s;
}

}  // namespace

SessionStates::SessionStates(std::string directory, FileOps& files, runtime::Log log)
    : directory_(std::move(directory)), files_(files), log_(std::move(log)) {
  files_.make_directories(directory_);
  keep_reserve();
}

std::string SessionStates::path(const Id& session) const { return directory_ + "/" + session.text() + ".json"; }

void SessionStates::keep_reserve() {
  std::string reserve = directory_ + "/reserve";
  if (files_.exists(reserve)) return;
  try {
    File file = files_.open(reserve, OpenMode::create_new);
    files_.write(file, Bytes(kReserveBytes, 0xa5), reserve);
    files_.sync_data(file, reserve);
  } catch (const Error& e) { log_.warn("no reserve for state files on this disk", {{"reason", e.what()}}); }
}

std::vector<SessionState> SessionStates::load() {
  std::vector<SessionState> states;
  for (const std::string& name : files_.list(directory_)) {
    std::string full = directory_ + "/" + name;
    if (name.find(".json.tmp-") != std::string::npos) {
      files_.remove(full);  // a replacement a crash cut short
      continue;
    }
    if (!name.ends_with(".json")) continue;
    try {
      states.push_back(decode(files_.read_file(full, 1 << 20)));
    } catch (const Error& e) {
      log_.error("state of a recording not readable; it is not taken up again", {{"path", full}, {"reason", e.what()}});
      if (e.kind() == ErrorKind::malformed || e.kind() == ErrorKind::invalid) files_.rename(full, full + ".unreadable");
    }
  }
  return states;
}

void SessionStates::save(const SessionState& state) {
  std::string text = encode(state);
  try {
    files_.replace_file(path(state.plan.session), as_bytes(text));
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::storage_full) throw;
    files_.remove(directory_ + "/reserve");
    files_.replace_file(path(state.plan.session), as_bytes(text));
  }
}

void SessionStates::remove(const Id& session) {
  files_.remove(path(session));
  files_.sync_directory(directory_);
}

std::string boot_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id.substr(0, 64);
}

std::int64_t started_steady_now(const SessionState& state, const Clock& clock) {
  if (!state.boot_id.empty() && state.boot_id == boot_id()) return state.started_steady_ms;
  std::int64_t elapsed = std::max(clock.wall_ms() - state.started_wall_ms, state.last_ms);
  return clock.steady_ms() - elapsed;
}

}  // namespace lucid::recorder
