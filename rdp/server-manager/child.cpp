#include "rdp/server-manager/child.hpp"

#include <array>
#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file_ops.hpp"
#include "rdp/server-manager/processes.hpp"

namespace lucid::server_manager {
namespace {

constexpr std::size_t kMaxOutput = 16 << 10;

struct Attributes {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  explicit Attributes(short flags) {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    // Our threads block signals and ignore some; a program expects neither.
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, static_cast<short>(flags | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
  }
  ~Attributes() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  Attributes(const Attributes&) = delete;
};

pid_t spawn(Attributes& with, const std::vector<std::string>& argv, const std::vector<std::string>& environment) {
  std::vector<char*> arguments, variables;
  for (const std::string& a : argv) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);
  for (const std::string& v : environment) variables.push_back(const_cast<char*>(v.c_str()));
  variables.push_back(nullptr);
  posix_spawn_file_actions_addclosefrom_np(&with.actions, 3);
  pid_t pid = 0;
  if (int e = ::posix_spawn(&pid, argv.front().c_str(), &with.actions, &with.attributes, arguments.data(), variables.data()); e != 0)
    throw Error(ErrorKind::unavailable, "cannot_start", system_error("start", argv.front(), e).what());
  return pid;
}

// What a child reads on stdin: memory of its own, so nothing blocks and nothing reaches a disk.
File input_of(std::string_view text) {
  File memory(::memfd_create("input", MFD_CLOEXEC));
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

const std::vector<std::string>& plain_environment() {
  static const std::vector<std::string> environment{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"};
  return environment;
}

}  // namespace

ProcessId start_detached(const Detached& program) {
  Attributes with(POSIX_SPAWN_SETSID);
  File log(::open(program.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!log) throw system_error("open log file", program.log, errno);
  File input = program.input.empty() ? File(::open("/dev/null", O_RDONLY | O_CLOEXEC)) : input_of(program.input);
  posix_spawn_file_actions_adddup2(&with.actions, input.fd(), 0);
  posix_spawn_file_actions_adddup2(&with.actions, log.fd(), 1);
  posix_spawn_file_actions_adddup2(&with.actions, log.fd(), 2);
  posix_spawn_file_actions_addchdir_np(&with.actions, program.directory.c_str());
  pid_t pid = spawn(with, program.argv, program.environment.empty() ? plain_environment() : program.environment);
  // Not reaped by anyone yet, so /proc still has it even when it ended at once.
  auto started = ProcessTable().one(pid);
  return {pid, started ? started->id.start : 0};
}

Ran run(const std::vector<std::string>& argv, std::string_view text, std::chrono::milliseconds timeout) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw system_error("create", "pipe", errno);
  File reading(ends[0]), writing(ends[1]);
  File input = input_of(text);
  Attributes with(0);
  posix_spawn_file_actions_adddup2(&with.actions, input.fd(), 0);
  posix_spawn_file_actions_adddup2(&with.actions, writing.fd(), 1);
  posix_spawn_file_actions_adddup2(&with.actions, writing.fd(), 2);
  pid_t pid = spawn(with, argv, plain_environment());
  writing.close();

  Ran ran;
  auto deadline = std::chrono::steady_clock::now() + timeout;
  File process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  // Ends with the program, not with the pipe: a daemon it may leave behind keeps the pipe open.
  for (bool ended = false; !ended;) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    std::array<pollfd, 2> wait{{{reading.fd(), POLLIN, 0}, {process.fd(), POLLIN, 0}}};
    int n = left > 0 ? ::poll(wait.data(), wait.size(), static_cast<int>(left)) : 0;
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      ran.timed_out = true;
      ::kill(pid, SIGKILL);
      break;
    }
    ended = wait[1].revents != 0;
    if ((wait[0].revents & (POLLIN | POLLHUP)) != 0) {
      std::array<char, 4096> buffer;
      ssize_t got = ::read(reading.fd(), buffer.data(), buffer.size());
      if (got > 0 && ran.output.size() < kMaxOutput) ran.output.append(buffer.data(), static_cast<std::size_t>(got));
      if (got > 0) ended = false;  // there may be more
      if (got == 0 && !ended) {    // nobody writes any more: only the end is awaited
        pollfd end{process.fd(), POLLIN, 0};
        ended = ::poll(&end, 1, static_cast<int>(left)) > 0;
        if (!ended) {
          ran.timed_out = true;
          ::kill(pid, SIGKILL);
        }
        break;
      }
    }
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  ran.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ran;
}

}  // namespace lucid::server_manager
