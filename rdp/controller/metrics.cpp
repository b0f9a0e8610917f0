#include "rdp/controller/metrics.hpp"

#include <algorithm>
#include <string_view>

#include "rdp/controller/record.hpp"

namespace lucid::controller {
namespace {

const std::vector<double> kPath{0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 10, 20, 40};
constexpr const char* kPathName = "lucid_controller_connect_path_seconds";
constexpr const char* kAway = "lucid_controller_peer_away";
constexpr const char* kAwayHelp = "1 while a service the controller needs cannot be reached";
constexpr const char* kEnded = "lucid_controller_ended_total";
constexpr const char* kEndedHelp = "Sessions that ended, by cause";
constexpr const char* kPathHelp = "Seconds from the request of a session to the named step";
// Labels come from here alone, so that no outside text ever becomes one.
constexpr std::array<std::string_view, 20> kCauses{"client",          "idle_timeout",       "max_duration",      "connect_timeout",
                                                   "stopped",         "terminated",         "display_lost",      "display_unavailable",
                                                   "server_lost",     "server_failed",      "server_stopped",    "recording_failed",
                                                   "recording_ended", "server_unavailable", "account_unknown",   "limit_reached",
                                                   "package_missing", "not_root",           "sesman_port_taken", "storage_full"};

}  // namespace

ControllerMetrics::ControllerMetrics(runtime::Metrics& m)
    : to_server(m.histogram(kPathName, kPathHelp, {{"step", "server"}}, kPath)),
      to_display(m.histogram(kPathName, kPathHelp, {{"step", "display"}}, kPath)),
      to_first_frame(m.histogram(kPathName, kPathHelp, {{"step", "first_frame"}}, kPath)),
      to_ready(m.histogram(kPathName, kPathHelp, {{"step", "ready"}}, kPath)),
      admission_seconds(m.histogram("lucid_controller_admission_seconds", "Seconds an admission took to answer")),
      open_seconds(m.histogram("lucid_controller_open_seconds", "Seconds from an admission to a client that is through")),
      freeze_seconds(
          m.histogram("lucid_controller_freeze_seconds", "Seconds from noticing that nobody records to a relay that stands still")),
      frozen(m.gauge("lucid_controller_frozen_sessions", "Live sessions whose relay stands still because nobody records them")),
      unrecorded(m.gauge("lucid_controller_unrecorded_sessions", "Live fail-open sessions that go on although nobody records them")),
      driven(m.gauge("lucid_controller_driven_sessions", "Sessions with a step under way or waiting for its next try")),
      servers_away(m.gauge(kAway, kAwayHelp, {{"peer", "rdp-server-manager"}})),
      recorder_away(m.gauge(kAway, kAwayHelp, {{"peer", "session-recorder"}})),
      gateway_away(m.gauge(kAway, kAwayHelp, {{"peer", "xrdp-integration"}})),
      step_failures(m.counter("lucid_controller_step_failures_total", "Steps of sessions that failed and were tried again")),
      freezes(m.counter("lucid_controller_freezes_total", "Times a session was frozen because nobody recorded it")),
      metrics_(m) {
  for (std::size_t i = 0; i < by_state.size(); ++i)
    by_state[i] = &m.gauge("lucid_controller_sessions", "Live sessions by state", {{"state", contracts::name(static_cast<State>(i))}});
  // There before the first, so that its rise from 0 is seen.
  for (std::string_view cause : kCauses) m.counter(kEnded, kEndedHelp, {{"cause", std::string(cause)}});
  m.counter(kEnded, kEndedHelp, {{"cause", "other"}});
}

void ControllerMetrics::ended(const std::string& cause) {
  std::string word = short_cause(cause);
  if (std::find(kCauses.begin(), kCauses.end(), word) == kCauses.end()) word = "other";
  metrics_.counter(kEnded, kEndedHelp, {{"cause", word}}).add();
}

void ControllerMetrics::admission(const std::string& outcome) {
  metrics_.counter("lucid_controller_admissions_total", "Admissions answered, by outcome", {{"outcome", outcome}}).add();
}

}  // namespace lucid::controller
