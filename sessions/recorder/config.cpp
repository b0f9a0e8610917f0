#include "sessions/recorder/config.hpp"

namespace lucid::recorder {

void declare(runtime::Settings& settings) {
  using runtime::integer_between;
  settings.declare({"session-recorder.memory_limit_mb", "RECORDER_MEMORY_LIMIT_MB", "64",
                    "Memory for sealed batches that a full disk does not take; beyond it capture is suspended.",
                    integer_between(1, 65536)});
  settings.declare({"session-recorder.spool_file_mb", "RECORDER_SPOOL_FILE_MB", "64", "Size at which a new spool file is begun.",
                    integer_between(1, 4096)});
  settings.declare({"session-recorder.send_threads", "RECORDER_SEND_THREADS", "2",
                    "Threads that bring segments to the chunk-processor, for all sessions together.", integer_between(1, 64)});
  settings.declare({"session-recorder.backlog_alarm_seconds", "RECORDER_BACKLOG_ALARM_SECONDS", "60",
                    "Age of the oldest uncommitted segment at which /health reports a problem.", integer_between(1, 86400)});
}

RecorderConfig config_from(const runtime::Settings& settings, const std::string& data_dir) {
  RecorderConfig config;
  config.directory = data_dir + "/recorder";
  config.spool.memory_limit = static_cast<std::size_t>(settings.integer("session-recorder.memory_limit_mb")) << 20;
  config.spool.rotate_bytes = static_cast<std::uint64_t>(settings.integer("session-recorder.spool_file_mb")) << 20;
  config.sender.threads = static_cast<int>(settings.integer("session-recorder.send_threads"));
  config.backlog_alarm_ms = settings.integer("session-recorder.backlog_alarm_seconds") * 1000;
  return config;
}

}  // namespace lucid::recorder
