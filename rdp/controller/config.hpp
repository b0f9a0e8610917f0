// Settings of session-controller, declared in module.cpp and read once at start.
#pragma once

#include <cstdint>
#include <string>

namespace lucid::controller {

struct Config {
  std::string public_host = "127.0.0.1";  // the gateway's, as clients reach it
  std::uint16_t public_port = 3389;
  std::size_t max_sessions = 50, max_sessions_per_user = 10;  // live at the same time
  std::int64_t token_ms = 60'000;                             // from the offer of a routing token to its first use
  std::int64_t connect_timeout_ms = 300'000;                  // ready, and nobody ever came
  std::int64_t disconnect_grace_ms = 60'000;                  // the client left: time to come back before the session ends
  std::int64_t server_patience_ms = 30'000;                   // a server manager that is away is waited for
  std::int64_t display_timeout_ms = 30'000;                   // X display of an ephemeral account, once xrdp runs
  std::int64_t recording_timeout_ms = 10'000;                 // first frame, once the display is there

  // Not settings: pace of the threads, shortened by tests.
  std::int64_t poll_ms = 300;                                // recorder and gateway are looked at
  std::int64_t first_retry_ms = 100, last_retry_ms = 2'000;  // of a step that failed
  std::int64_t display_wait_ms = 2'000;                      // one long poll
  std::int64_t named_display_ms = 300;                       // between looks for the display of a named account
  std::int64_t event_wait_ms = 1'000;                        // one long poll; a stop of the process waits for it
  std::int64_t recording_end_ms = 5'000;                     // the recording's own end is waited for before X is stopped
  std::int64_t kill_patience_ms = 2'000;                     // with a gateway that is away, before X is stopped all the same
  std::int64_t quiet_ms = 5'000;                             // stop and terminate answer by then
  std::int64_t opening_ms = 15'000;                          // admitted, but neither opened nor closed: forgotten
  std::int64_t vanished_ms = 2'000;  // a client not listed for that long is gone; a gateway that hands over lists it again sooner
  int workers = 8;
};

}  // namespace lucid::controller
