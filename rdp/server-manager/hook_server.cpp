#include "rdp/server-manager/hook_server.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace lucid::server_manager {
namespace {

constexpr std::size_t kMaxConnections = 512, kMaxPerUser = 8;
constexpr std::chrono::seconds kHelloTime{5};

void send_answer(int fd, const hook::Answer& answer) {
  std::string text = hook::encode(answer);  // small: fits the socket's buffer
  [[maybe_unused]] ssize_t n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace

HookServer::HookServer(const std::string& path, OnHello on_hello)
    : on_hello_(std::move(on_hello)),
      listening_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw Error(ErrorKind::invalid, "listen on " + path + ": the path is too long for a socket");
  std::memcpy(address.sun_path, path.data(), path.size());
  ::unlink(path.c_str());
  if (!listening_ || !wake_ || ::bind(listening_.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::chmod(path.c_str(), 0666) != 0 || ::listen(listening_.fd(), 128) != 0)
    throw system_error("listen", path, errno);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

HookServer::~HookServer() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  std::uint64_t one = 1;
  [[maybe_unused]] ssize_t n = ::write(wake_.fd(), &one, sizeof one);
  thread_.join();
}

void HookServer::answer(pid_t pid, const hook::Answer& answer) {
  {
    std::lock_guard lock(mutex_);
    answers_[pid] = answer;
  }
  std::uint64_t one = 1;
  [[maybe_unused]] ssize_t n = ::write(wake_.fd(), &one, sizeof one);
}

void HookServer::run() {
  for (;;) {
    std::vector<pollfd> wait{{wake_.fd(), POLLIN, 0}};
    auto now = std::chrono::steady_clock::now();
    int wait_ms = -1;
    std::map<pid_t, hook::Answer> answers;
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
      answers.swap(answers_);
    }
    for (auto it = connections_.begin(); it != connections_.end();) {
      Connection& c = it->second;
      auto answer = c.waiting ? answers.find(c.peer.pid) : answers.end();
      if (answer != answers.end()) send_answer(c.fd.fd(), answer->second);
      if (answer != answers.end() || (!c.waiting && c.until <= now)) {
        it = connections_.erase(it);
        continue;
      }
      if (!c.waiting) {
        int left = static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(c.until - now).count());
        wait_ms = wait_ms < 0 ? left : std::min(wait_ms, left);
      }
      wait.push_back({c.fd.fd(), POLLIN, 0});
      ++it;
    }
    if (connections_.size() < kMaxConnections) wait.push_back({listening_.fd(), POLLIN, 0});
    if (::poll(wait.data(), wait.size(), wait_ms) <= 0) continue;
    for (const pollfd& ready : wait) {
      if (ready.revents == 0) continue;
      if (ready.fd == wake_.fd()) {
        std::uint64_t count;
        [[maybe_unused]] ssize_t n = ::read(wake_.fd(), &count, sizeof count);
      } else if (ready.fd == listening_.fd()) {
        accept_one();
      } else if (auto it = connections_.find(ready.fd); it != connections_.end() && !serve(it->second)) {
        connections_.erase(it);
      }
    }
  }
}

void HookServer::accept_one() {
  File fd(::accept4(listening_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!fd || ::getsockopt(fd.fd(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return;
  auto same = std::ranges::count_if(connections_, [&](const auto& c) { return c.second.peer.uid == peer.uid; });
  if (static_cast<std::size_t>(same) >= kMaxPerUser) return;
  int number = fd.fd();
  connections_.emplace(number, Connection{.fd = std::move(fd),
                                          .peer = {peer.pid, peer.uid},
                                          .received = {},
                                          .waiting = false,
                                          .until = std::chrono::steady_clock::now() + kHelloTime});
}

bool HookServer::serve(Connection& c) {
  char buffer[1024];
  ssize_t n = ::recv(c.fd.fd(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0 || c.waiting) return false;  // gone, or says more than its one message
  c.received.append(buffer, static_cast<std::size_t>(n));
  if (c.received.size() > hook::kMaxMessage) return false;
  if (!hook::complete(c.received)) return true;
  auto hello = hook::decode_hello(c.received);
  if (!hello) return false;
  if (auto answer = on_hello_(c.peer, *hello)) {
    send_answer(c.fd.fd(), *answer);
    return false;
  }
  c.waiting = true;
  return true;
}

}  // namespace lucid::server_manager
