// Programs we start: always fork and exec with an argv array, never a shell. A detached one survives us (own session, no death signal, stdio
// on a log file); run() waits for a short-lived helper like useradd. Throws Error{unavailable} when a program cannot be started. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace lucid::server_manager {

// A process that cannot be taken for a later one with the same number: pid and start time (clock ticks since boot, /proc/PID/stat).
struct ProcessId {
  pid_t pid = 0;
  std::uint64_t start = 0;
  explicit operator bool() const { return pid > 0; }
  auto operator<=>(const ProcessId&) const = default;
};

struct Detached {
  std::vector<std::string> argv;              // argv[0] is an absolute path
  std::vector<std::string> environment = {};  // all of it
  std::string log;                            // stdout and stderr are appended; created 0600
  std::string directory = "/";
  std::string_view input = {};  // what it reads on stdin
};
ProcessId start_detached(const Detached& program);

struct Ran {
  int exit_code = -1;  // 128 + signal when a signal ended it
  bool timed_out = false;
  std::string output;  // stdout and stderr, at most 16 KiB
  bool ok() const { return exit_code == 0 && !timed_out; }
};
// `input` is given on stdin and never shown anywhere: the way for passwords.
Ran run(const std::vector<std::string>& argv, std::string_view input, std::chrono::milliseconds timeout);

}  // namespace lucid::server_manager
