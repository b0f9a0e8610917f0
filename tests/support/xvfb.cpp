#include "tests/support/xvfb.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/bytes.hpp"
#include "lib/base/random.hpp"

extern char** environ;

namespace lucid::test_support {
namespace {

using namespace std::chrono_literals;

std::vector<std::string> merged_environment(const std::vector<std::string>& changes) {
  std::vector<std::string> all = changes;
  for (char** entry = environ; *entry; ++entry) {
    std::string_view text = *entry;
    std::string_view name = text.substr(0, text.find('=') + 1);
    bool replaced = false;
    for (const std::string& change : changes) replaced = replaced || change.starts_with(name);
    if (!replaced) all.emplace_back(text);
  }
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> list;
  for (std::string& word : words) list.push_back(word.data());
  list.push_back(nullptr);
  return list;
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  std::stringstream path(std::getenv("PATH") ? std::getenv("PATH") : "/usr/bin:/bin");
  for (std::string directory; std::getline(path, directory, ':');) {
    std::string candidate = directory + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

// Starts `argv`; `keep_fd` stays open in the child.
pid_t spawn(std::vector<std::string> argv, const std::vector<std::string>& changes, const std::string& output_path, int keep_fd) {
  std::string program = find_program(argv.at(0));
  if (program.empty()) throw Error(ErrorKind::not_found, "start " + argv[0] + ": no such program");
  std::vector<std::string> environment = merged_environment(changes);
  std::vector<char*> arguments = pointers(argv), variables = pointers(environment);
  pid_t pid = ::fork();
  if (pid < 0) throw system_error("start program", argv[0], errno);
  if (pid > 0) return pid;
  ::setpgid(0, 0);
  int null = ::open("/dev/null", O_RDWR);
  int out = output_path.empty() ? null : ::open(output_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ::dup2(null, 0);
  ::dup2(out, 1);
  ::dup2(null, 2);
  for (int fd = 3; fd < 256; ++fd)
    if (fd != keep_fd) ::close(fd);
  ::execve(program.c_str(), arguments.data(), variables.data());
  ::_exit(127);
}

}  // namespace

Child::Child(const std::vector<std::string>& argv, const std::vector<std::string>& environment, const std::string& output_path)
    : pid_(spawn(argv, environment, output_path, -1)) {}
Child::Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)), status_(other.status_) {}
Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    stop();
    pid_ = std::exchange(other.pid_, -1);
    status_ = other.status_;
  }
  return *this;
}

bool Child::running() { return pid_ > 0 && !wait(0ms); }

std::optional<int> Child::wait(std::chrono::milliseconds limit) {
  if (status_ || pid_ <= 0) return status_;
  eventually(
      [this] {
        int raw = 0;
        if (::waitpid(pid_, &raw, WNOHANG) != pid_) return false;
        status_ = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
        return true;
      },
      limit);
  return status_;
}

void Child::send_signal(int signal) {
  if (pid_ > 0 && !status_) ::kill(pid_, signal);
}

void Child::stop() {
  if (pid_ <= 0) return;
  send_signal(SIGTERM);
  if (!wait(2s)) {
    send_signal(SIGKILL);
    wait(5s);
  }
  pid_ = -1;
}

bool Xvfb::installed() { return !find_program("Xvfb").empty(); }

Xvfb::Xvfb(const XvfbOptions& options) : xauthority_(directory_.path() + "/Xauthority") {
  // -displayfd makes the server choose a free number itself and tell it once it listens.
  int fds[2];
  if (::pipe(fds) != 0) throw system_error("start Xvfb", "pipe", errno);
  File read_end(fds[0]), write_end(fds[1]);
  std::string screen = std::to_string(options.width) + "x" + std::to_string(options.height) + "x" + std::to_string(options.depth);
  std::vector<std::string> argv = {"Xvfb", "-displayfd", std::to_string(fds[1]), "-screen", "0", screen, "-nolisten", "tcp", "-noreset"};
  SystemRandom random;
  std::string cookie = to_hex(random.array<16>());
  std::string server_file = directory_.path() + "/server-auth";
  auto write_auth = [&](const std::string& path, const std::string& number) {
    Bytes entry;
    auto field = [&](std::string_view text) {
      entry.push_back(static_cast<std::uint8_t>(text.size() >> 8));
      entry.push_back(static_cast<std::uint8_t>(text.size()));
      entry.insert(entry.end(), text.begin(), text.end());
    };
    entry.assign({0xff, 0xff});  // FamilyWild
    field("");
    field(number);
    field("MIT-MAGIC-COOKIE-1");
    Bytes raw = *from_hex(cookie);
    field(as_text(raw));
    system_files().replace_file(path, entry);
  };
  if (options.with_cookie) {
    write_auth(server_file, "0");  // a server takes every entry, whatever its number
    argv.insert(argv.end(), {"-auth", server_file});
  }
  argv.insert(argv.end(), options.extra.begin(), options.extra.end());
  server_ = Child(spawn(argv, {}, "", fds[1]));
  write_end.close();
  std::string number;
  pollfd waiting{read_end.fd(), POLLIN, 0};
  while (number.empty() || number.back() != '\n') {
    if (::poll(&waiting, 1, 20'000) <= 0) throw Error(ErrorKind::timeout, "start Xvfb: no display number within 20 s");
    char buffer[16];
    ssize_t n = ::read(read_end.fd(), buffer, sizeof buffer);
    if (n <= 0) throw Error(ErrorKind::unavailable, "start Xvfb: it ended at once");
    number.append(buffer, static_cast<std::size_t>(n));
  }
  number.pop_back();
  display_ = ":" + number;
  if (options.with_cookie)
    write_auth(xauthority_, number);
  else
    system_files().replace_file(xauthority_, {});
}

void Xvfb::kill() {
  server_.send_signal(SIGKILL);
  server_.wait();
}

std::vector<std::string> Xvfb::environment() const { return {"DISPLAY=" + display_, "XAUTHORITY=" + xauthority_}; }

Child Xvfb::start(const std::vector<std::string>& argv, const std::string& output_path) const {
  return Child(argv, environment(), output_path);
}

std::string Xvfb::run(const std::vector<std::string>& argv) const {
  TempDir scratch;
  std::string path = scratch.path() + "/out";
  Child child = start(argv, path);
  auto status = child.wait();
  if (status != 0)
    throw Error(ErrorKind::unavailable,
                "run " + argv[0] + " on " + display_ + ": " + (status ? "exit " + std::to_string(*status) : "still running"));
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Child Xvfb::start_window_manager() const {
  Child manager = start({"openbox", "--sm-disable"});
  bool up = eventually([&] { return run({"xprop", "-root", "_NET_SUPPORTING_WM_CHECK"}).find("window id") != std::string::npos; });
  if (!up) throw Error(ErrorKind::timeout, "start openbox: it does not manage " + display_);
  return manager;
}

}  // namespace lucid::test_support
