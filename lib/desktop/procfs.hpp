// What /proc tells about processes and terminals: the system side of password masking, window executables and process
// events. Behind an interface, so that masking is tested without processes. Reads only; any thread; answers empty
// where the process is gone or not ours to see. Source: proc(5), termios(3).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lucid::desktop {

struct ProcessFacts {
  std::uint32_t pid = 0, parent = 0, group = 0;
  std::uint32_t tty = 0;               // controlling terminal as a device number, 0: none
  std::uint32_t foreground_group = 0;  // of that terminal
  std::string name;                    // comm: at most 15 bytes
  std::uint32_t threads = 0;           // 0: not known
};
struct TtyMode {
  bool echo = true, canonical = true;
};

class SystemProbe {
 public:
  virtual ~SystemProbe() = default;
  // `pid` and everything that descends from it, at most 512 processes.
  virtual std::vector<ProcessFacts> family(std::uint32_t pid) = 0;
  // Processes whose name is one of `names`.
  virtual std::vector<std::uint32_t> named(const std::vector<std::string_view>& names) = 0;
  // Mode of the terminal `process` is on; nullopt when it cannot be inspected.
  virtual std::optional<TtyMode> tty_mode(const ProcessFacts& process) = 0;
};

class ProcFs final : public SystemProbe {
 public:
  std::vector<ProcessFacts> family(std::uint32_t pid) override;
  std::vector<std::uint32_t> named(const std::vector<std::string_view>& names) override;
  std::optional<TtyMode> tty_mode(const ProcessFacts& process) override;

  static std::vector<std::uint32_t> all_pids();
  static std::optional<ProcessFacts> facts(std::uint32_t pid);
  // /proc/PID/exe, else comm; empty when neither can be read.
  static std::string executable(std::uint32_t pid);
  static std::vector<std::string> argv(std::uint32_t pid);
  // The value of an environment variable the process was started with.
  static std::optional<std::string> environment(std::uint32_t pid, std::string_view name);
};

// The text of /proc/PID/stat: "1234 (name) S 1 ..."; the name may itself hold spaces and parentheses.
std::optional<ProcessFacts> parse_stat(std::string_view text);

}  // namespace lucid::desktop
