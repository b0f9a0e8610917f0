// A terminal taken over for a full-screen view: alternate screen, no echo, keys at once, signals as events. Everything is put back by leave()
// and the destructor, so however the view ends the shell's screen is as it was. One at a time; main thread, before other threads start
// (they inherit the blocked signals).
#pragma once

#include <chrono>
#include <csignal>
#include <string>
#include <vector>

#include <termios.h>

#include "lib/base/file_ops.hpp"

namespace lucid::cli {

class Terminal {
 public:
  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;

  struct Size {
    int columns, rows;
  };
  static Size size();
  // Shows these lines from the top left corner, nothing else. False when the terminal is gone.
  bool show(const std::vector<std::string>& lines);
  struct Event {
    enum class Kind { nothing, key, resized, woken, end } kind = Kind::nothing;
    char key = 0;
  };
  // Waits for a key, a signal or `wake_fd`; Ctrl-Z is served here.
  Event wait(std::chrono::milliseconds time, int wake_fd);

 private:
  void enter();
  void leave() noexcept;

  sigset_t signals_, before_;
  File signal_fd_;
  bool keys_ = false;  // standard input is a terminal
  bool entered_ = false;
  termios saved_{};
};

}  // namespace lucid::cli
