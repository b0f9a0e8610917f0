// What /proc says about processes: who they belong to, whose child they are, whether they are still the same. Reads only; any thread;
// answers empty where a process is gone. Zombies count as gone. The place of /proc is a parameter for tests. Source: proc(5).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rdp/server-manager/child.hpp"

namespace lucid::server_manager {

struct Process {
  ProcessId id;
  pid_t parent = 0;
  uid_t uid = 0;
  std::string name;  // comm: at most 15 bytes
  std::uint64_t rss_bytes = 0, cpu_ms = 0;
};

class ProcessTable {
 public:
  explicit ProcessTable(std::string proc = "/proc") : proc_(std::move(proc)) {}
  std::optional<Process> one(pid_t pid) const;
  std::vector<Process> all() const;
  bool alive(const ProcessId& id) const;
  std::vector<std::string> argv(pid_t pid) const;
  std::optional<std::string> environment(pid_t pid, std::string_view name) const;
  std::string executable(pid_t pid) const;  // /proc/PID/exe, empty when it cannot be read

  // Of a list as all() gives it: `root` and everything below it.
  static std::vector<Process> family(const std::vector<Process>& all, const ProcessId& root);

 private:
  std::string proc_;
};

}  // namespace lucid::server_manager
