#include "rdp/monitor/alerts/command.hpp"

#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "lib/base/file_ops.hpp"
#include "lib/runtime/log.hpp"

namespace lucid::monitor {
namespace {

using SteadyClock = std::chrono::steady_clock;

// How the program is started: without our signal mask and handlers, in a process group of its own.
struct Start {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  explicit Start(int input) {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_adddup2(&actions, input, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    posix_spawn_file_actions_addchdir_np(&actions, "/");
  }
  ~Start() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  Start(const Start&) = delete;
};

// Memory rather than a pipe: a program that does not read its input stops nobody.
File input_with(std::string_view text) {
  File memory(::memfd_create("alert", MFD_CLOEXEC));
  if (!memory) throw system_error("create", "memory file", errno);
  while (!text.empty()) {
    ssize_t n = ::write(memory.fd(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw system_error("write", "memory file", errno);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  ::lseek(memory.fd(), 0, SEEK_SET);
  return memory;
}

std::vector<std::string> environment_of(const Alert& alert) {
  return {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", fmt::format("LUCID_ALERT_STATE={}", name(alert.state)), "LUCID_ALERT_RULE=" + alert.rule,
          fmt::format("LUCID_ALERT_SEVERITY={}", name(alert.severity)), "LUCID_ALERT_SUBJECT=" + alert.subject};
}

}  // namespace

struct CommandNotifier::State {
  std::string program;
  std::chrono::milliseconds deadline;
  runtime::Log log{"resource-monitor"};
  File stop_signal;  // readable once stopping

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<AlertEvent> waiting;
  Counts counts;
  bool stopping = false, said_full = false;
  std::thread thread;

  void work() {
    for (;;) {
      AlertEvent event;
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return stopping || !waiting.empty(); });
        if (stopping) return;
        event = std::move(waiting.front());
        waiting.pop_front();
        if (waiting.empty()) said_full = false;
      }
      std::string problem;
      try {
        problem = run(event);
      } catch (const std::exception& e) { problem = e.what(); }
      if (!problem.empty()) log.warn("the alert command failed", {{"program", program}, {"rule", event.alert.rule}, {"problem", problem}});
      std::lock_guard lock(mutex);
      ++(problem.empty() ? counts.done : counts.failed);
    }
  }

  // Why it failed, or nothing.
  std::string run(const AlertEvent& event) {
    File input = input_with(json::serialize(to_json(event)));
    Start start(input.fd());
    std::array<char*, 2> arguments{program.data(), nullptr};
    std::vector<std::string> environment = environment_of(event.alert);
    std::vector<char*> variables;
    for (std::string& v : environment) variables.push_back(v.data());
    variables.push_back(nullptr);
    pid_t pid = 0;
    if (int e = ::posix_spawn(&pid, program.c_str(), &start.actions, &start.attributes, arguments.data(), variables.data()); e != 0)
      return system_error("start", program, e).what();
    bool ended = wait_for(pid);
    if (!ended) ::kill(-pid, SIGKILL);  // not reaped yet, so the group is still ours
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (!ended) return fmt::format("killed: not done within {} ms or before the monitor ended", deadline.count());
    if (WIFSIGNALED(status)) return fmt::format("ended by signal {}", WTERMSIG(status));
    return WEXITSTATUS(status) == 0 ? "" : fmt::format("exit status {}", WEXITSTATUS(status));
  }

  // False at the deadline, or when we are to stop.
  bool wait_for(pid_t pid) const {
    File process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    auto until = SteadyClock::now() + deadline;
    for (;;) {
      auto left = std::chrono::ceil<std::chrono::milliseconds>(until - SteadyClock::now()).count();
      std::array<pollfd, 2> wait{{{process.fd(), POLLIN, 0}, {stop_signal.fd(), POLLIN, 0}}};
      int n = ::poll(wait.data(), wait.size(), left > 0 ? static_cast<int>(left) : 0);
      if (n < 0 && errno == EINTR) continue;
      return n > 0 && wait[0].revents != 0;
    }
  }
};

CommandNotifier::CommandNotifier(std::string program, std::chrono::milliseconds deadline) : state_(std::make_unique<State>()) {
  if (!program.starts_with('/') || program.find('\0') != std::string::npos)
    throw Error(ErrorKind::invalid, fmt::format("the alert command {} must be an absolute path", program));
  state_->program = std::move(program);
  state_->deadline = deadline;
  state_->stop_signal = File(::eventfd(0, EFD_CLOEXEC));
  if (!state_->stop_signal) throw system_error("create", "event", errno);
  state_->thread = std::thread([s = state_.get()] { s->work(); });
}

CommandNotifier::~CommandNotifier() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    if (!state_->waiting.empty())
      state_->log.warn("alerts were not told to the alert command before the end", {{"count", std::to_string(state_->waiting.size())}});
  }
  state_->changed.notify_one();
  std::uint64_t one = 1;
  [[maybe_unused]] auto written = ::write(state_->stop_signal.fd(), &one, sizeof one);
  state_->thread.join();
}

void CommandNotifier::notify(const AlertEvent& event) {
  std::lock_guard lock(state_->mutex);
  if (state_->waiting.size() >= kMaxWaiting) {
    ++state_->counts.left_out;
    if (!std::exchange(state_->said_full, true))
      state_->log.warn("too many alerts wait for the alert command; the newest are left out", {{"waiting", std::to_string(kMaxWaiting)}});
    return;
  }
  state_->waiting.push_back(event);
  state_->changed.notify_one();
}

CommandNotifier::Counts CommandNotifier::counts() const {
  std::lock_guard lock(state_->mutex);
  return state_->counts;
}

}  // namespace lucid::monitor
