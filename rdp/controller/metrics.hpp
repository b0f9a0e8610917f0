// Metrics of session-controller: every step of the connect path, sessions by state, frozen and unrecorded ones, ends by cause, admissions
// by outcome. Any thread; made once.
#pragma once

#include <array>
#include <string>

#include "lib/runtime/metrics.hpp"
#include "rdp/controller/state_machine.hpp"

namespace lucid::controller {

struct ControllerMetrics {
  explicit ControllerMetrics(runtime::Metrics& metrics);
  void ended(const std::string& cause);  // the word before ':'; words this service does not know count as "other"
  void admission(const std::string& outcome);

  runtime::Histogram &to_server, &to_display, &to_first_frame, &to_ready;  // seconds since create
  runtime::Histogram &admission_seconds, &open_seconds;                    // answered; admitted → through
  runtime::Histogram& freeze_seconds;                                      // noticed → relay stands still
  std::array<runtime::Gauge*, 10> by_state{};
  runtime::Gauge &frozen, &unrecorded, &driven;
  runtime::Gauge &servers_away, &recorder_away, &gateway_away;
  runtime::Counter &step_failures, &freezes;

 private:
  runtime::Metrics& metrics_;
};

}  // namespace lucid::controller
