// A real X server and real programs for tests: Xvfb on a display number it chooses itself, and child processes that are
// started on it and ended with it, each by its own process id. One test owns an object; any thread may, one at a time.
// Throws Error when a program cannot be started.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "lib/base/file_ops.hpp"

namespace lucid::test_support {

// One started program; ended (SIGTERM, then SIGKILL) and reaped with the object.
class Child {
 public:
  Child() = default;
  explicit Child(pid_t started) : pid_(started) {}
  // `environment`: "NAME=value" lines that replace or join ours. Output goes to `output_path`, else to /dev/null.
  Child(const std::vector<std::string>& argv, const std::vector<std::string>& environment, const std::string& output_path = "");
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child() { stop(); }

  pid_t pid() const { return pid_; }
  bool running();
  // Waits for the end; the exit status (128 + signal when killed), or nullopt when it still runs after `limit`.
  std::optional<int> wait(std::chrono::milliseconds limit = std::chrono::seconds(20));
  void send_signal(int signal);
  void stop();

 private:
  pid_t pid_ = -1;
  std::optional<int> status_;
};

struct XvfbOptions {
  int width = 640, height = 480, depth = 24;
  bool with_cookie = false;        // the server then refuses everyone without it
  std::vector<std::string> extra;  // more arguments, e.g. {"-extension", "DAMAGE"}
};

class Xvfb {
 public:
  // False where Xvfb is not installed: a test then says "not run" and skips (and fails when CI=true).
  static bool installed();

  explicit Xvfb(const XvfbOptions& options = {});
  const std::string& display() const { return display_; }  // ":7"
  // A file with the cookie (with_cookie), else the path of an empty one.
  const std::string& xauthority() const { return xauthority_; }
  Child& server() { return server_; }
  void kill();  // SIGKILL, as a crash

  // Starts a program on this display.
  Child start(const std::vector<std::string>& argv, const std::string& output_path = "") const;
  // Runs one to its end (20 s at most); throws Error unless it exits 0. Answers what it wrote.
  std::string run(const std::vector<std::string>& argv) const;
  // Starts openbox and waits until it manages the display.
  Child start_window_manager() const;

 private:
  std::vector<std::string> environment() const;
  TempDir directory_;
  Child server_;
  std::string display_, xauthority_;
};

// Polls `condition` every 10 ms until it holds; false after `limit`.
template <class Condition>
bool eventually(Condition&& condition, std::chrono::milliseconds limit = std::chrono::seconds(10));

}  // namespace lucid::test_support

#include <thread>

template <class Condition>
bool lucid::test_support::eventually(Condition&& condition, std::chrono::milliseconds limit) {
  auto until = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}
