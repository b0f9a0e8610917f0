#include "app/cli/top_terminal.hpp"

#include <array>
#include <cerrno>

#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace lucid::cli {
namespace {

bool write_all(std::string_view text) {
  while (!text.empty()) {
    ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

Terminal::Terminal() : keys_(::isatty(STDIN_FILENO) == 1) {
  sigemptyset(&signals_);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGPIPE}) sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  signal_fd_ = File(::signalfd(-1, &signals_, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signal_fd_) {
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    throw system_error("watch signals", "the terminal", error);
  }
  enter();
}

Terminal::~Terminal() {
  leave();
  // Those that came meanwhile were asked of the view, which has ended.
  std::array<signalfd_siginfo, 8> seen;
  while (::read(signal_fd_.fd(), seen.data(), sizeof seen) > 0) {}
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void Terminal::enter() {
  if (keys_ && ::tcgetattr(STDIN_FILENO, &saved_) == 0) {
    termios raw = saved_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  } else {
    keys_ = false;
  }
  entered_ = true;
  write_all("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J");  // alternate screen, no cursor, no wrapping
}

void Terminal::leave() noexcept {
  if (!entered_) return;
  entered_ = false;
  write_all("\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l");
  if (keys_) ::tcsetattr(STDIN_FILENO, TCSANOW, &saved_);
}

Terminal::Size Terminal::size() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {80, 24};
  return {size.ws_col, size.ws_row};
}

bool Terminal::show(const std::vector<std::string>& lines) {
  std::string frame = "\x1b[H";
  for (std::size_t i = 0; i < lines.size(); ++i) frame += (i > 0 ? "\r\n" : "") + lines[i] + "\x1b[K";
  return write_all(frame + "\x1b[J");
}

Terminal::Event Terminal::wait(std::chrono::milliseconds time, int wake_fd) {
  std::array<pollfd, 3> wanted{{{signal_fd_.fd(), POLLIN, 0}, {wake_fd, POLLIN, 0}, {keys_ ? STDIN_FILENO : -1, POLLIN, 0}}};
  if (::poll(wanted.data(), wanted.size(), static_cast<int>(time.count())) <= 0) return {};
  if (wanted[0].revents != 0) {
    signalfd_siginfo info{};
    if (::read(signal_fd_.fd(), &info, sizeof info) != sizeof info) return {};
    if (info.ssi_signo == SIGWINCH) return {Event::Kind::resized, 0};
    if (info.ssi_signo != SIGTSTP) return {Event::Kind::end, 0};
    leave();
    ::kill(::getpid(), SIGSTOP);
    enter();
    return {Event::Kind::resized, 0};
  }
  if (wanted[2].revents != 0) {
    char key = 0;
    return ::read(STDIN_FILENO, &key, 1) == 1 ? Event{Event::Kind::key, key} : Event{Event::Kind::end, 0};
  }
  return {wanted[1].revents != 0 ? Event::Kind::woken : Event::Kind::nothing, 0};
}

}  // namespace lucid::cli
