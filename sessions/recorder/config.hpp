// The recorder's settings: where it keeps things and how much it may hold. Declared for `lucid config` by declare().
#pragma once

#include <string>

#include "lib/runtime/settings.hpp"
#include "sessions/recorder/sender.hpp"
#include "sessions/recorder/spool.hpp"

namespace lucid::recorder {

struct RecorderConfig {
  std::string directory;  // DATA/recorder
  SpoolConfig spool;      // its directory is set from the above
  SenderConfig sender;
  std::chrono::milliseconds heartbeat{1'000};
  std::int64_t reopen_ms = 5'000;          // how long a display is waited for after a restart
  std::int64_t backlog_alarm_ms = 60'000;  // a segment waiting longer makes the service unhealthy
};

void declare(runtime::Settings& settings);
RecorderConfig config_from(const runtime::Settings& settings, const std::string& data_dir);

}  // namespace lucid::recorder
