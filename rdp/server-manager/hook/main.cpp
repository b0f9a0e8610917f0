// lucid-session-start: the window manager sesman starts in every X session (DefaultWindowManager). Runs as the account; its one argument-free
// job: tell the manager which display this is, wait until the recorder has it (or a refusal), then become the desktop. While the manager is away
// it asks again, so the desktop never starts unrecorded and a manager restart ends no session. Where the manager's socket is stands in the file
// `hook.socket` beside this program. Exit codes: 2 not usable here, 3 refused, 127 the desktop cannot be started.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "rdp/server-manager/hook_protocol.hpp"

namespace {

namespace hook = lucid::server_manager::hook;

// The first line of the file "hook.socket" in the directory of our own executable.
std::string socket_path() {
  char self[1024];
  ssize_t n = ::readlink("/proc/self/exe", self, sizeof self);
  if (n <= 0) return {};
  std::string path(self, static_cast<std::size_t>(n));
  path = path.substr(0, path.rfind('/')) + "/hook.socket";
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return {};
  char line[sizeof(sockaddr_un::sun_path)] = {};
  std::size_t got = std::fread(line, 1, sizeof line - 1, file);
  std::fclose(file);
  std::string text(line, got);
  return text.substr(0, text.find('\n'));
}

// One question; nullopt when the manager is away or went away before it answered.
std::optional<hook::Answer> ask(const std::string& path, const hook::Hello& hello) {
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::nullopt;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  std::string text = hook::encode(hello), answer;
  bool sent = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
              ::send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  char buffer[1024];
  while (sent && !hook::complete(answer) && answer.size() < hook::kMaxMessage) {
    ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    answer.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fd);
  return hook::decode_answer(answer);
}

[[noreturn]] void become(const std::vector<std::string>& command) {
  // What the desktop prints belongs to its user, not into the log of sesman, whose descriptor this still is.
  if (const char* home = std::getenv("HOME")) {
    std::string path = std::string(home) + "/.xsession-errors";
    int log = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (log < 0) log = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (log >= 0) {
      ::dup2(log, 1);
      ::dup2(log, 2);
    }
  }
  ::close_range(3, ~0U, 0);
  std::vector<char*> argv;
  for (const std::string& a : command) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  ::execv(argv[0], argv.data());
  std::fprintf(stderr, "lucid-session-start: start %s: %s\n", argv[0], std::strerror(errno));
  std::exit(127);
}

}  // namespace

int main() {
  const char* display = std::getenv("DISPLAY");
  const char* home = std::getenv("HOME");
  const char* authority = std::getenv("XAUTHORITY");
  std::string path = socket_path();
  if (display == nullptr || home == nullptr || path.empty()) {
    std::fprintf(stderr, "lucid-session-start: DISPLAY, HOME and the file hook.socket beside this program are needed\n");
    return 2;
  }
  hook::Hello hello{display, authority != nullptr && *authority == '/' ? authority : std::string(home) + "/.Xauthority"};
  for (long pause_ms = 50;; pause_ms = pause_ms < 1000 ? pause_ms * 2 : 1000) {
    if (auto answer = ask(path, hello)) {
      if (answer->go) become(answer->lines);
      std::fprintf(stderr, "lucid-session-start: refused: %s\n", answer->lines.empty() ? "" : answer->lines[0].c_str());
      return 3;
    }
    timespec pause{pause_ms / 1000, (pause_ms % 1000) * 1'000'000};
    ::nanosleep(&pause, nullptr);
  }
}
