// Decides whether what is typed right now may be a password. Two signs: the window that gets the keys is a known
// password dialog, or a terminal below it does not show what is typed. Errs to the side of masking: a terminal window
// with several tabs is masked when any of them hides its input, and a program that asks for passwords (sudo, ssh, gpg)
// is masked for as long as it holds a terminal with echo off. What it cannot know (web forms, a remote prompt inside a
// terminal that is not ssh's) is listed in docs/capture.md. One thread, the Display's; facts come through SystemProbe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/desktop/procfs.hpp"

namespace lucid::desktop {

// `pattern` with * and ? against all of `text`; ASCII letter case is ignored.
bool matches(std::string_view pattern, std::string_view text);

// What is known of a window that may receive keys.
struct WindowFacts {
  std::uint32_t pid = 0;
  std::string title, wm_class, executable;
  bool operator==(const WindowFacts&) const = default;
};

class PasswordGuard {
 public:
  PasswordGuard(SystemProbe& system, std::vector<std::string> title_rules, std::vector<std::string> executable_rules);

  // The windows keys may be going to: the one with the focus and those that may hold a keyboard grab.
  void set_receivers(std::vector<WindowFacts> windows);
  // True: text typed at this moment must be masked. Costs some /proc reads; the process tree is read at most every
  // 280 ms, terminal modes each time.
  bool hides_input(std::int64_t now);
  // The last check saw a terminal: the answer depends on the moment, so a key judged late is not judged at all.
  bool watches_terminal() const { return !terminals_.empty(); }
  // The executable or WM_CLASS of a program that keeps passwords: its clipboard content is masked.
  static bool is_password_manager(const WindowFacts& window);
  bool is_prompt(const WindowFacts& window) const;

 private:
  struct Terminal {
    ProcessFacts anyone;            // one process on it
    bool password_program = false;  // such a program is in the foreground
  };
  void read_terminals(std::int64_t now);
  void collect(std::uint32_t pid);

  SystemProbe& system_;
  std::vector<std::string> title_rules_, executable_rules_;
  std::vector<std::uint32_t> pids_;
  bool prompt_ = false;
  std::vector<Terminal> terminals_;
  bool multiplexer_ = false;  // a tmux or screen client runs below the window
  std::vector<std::uint32_t> multiplexer_servers_;
  std::optional<std::int64_t> terminals_read_, servers_read_;
};

}  // namespace lucid::desktop
