// What tests/performance/gateway.py is made of: the gateway as a service of its own, an upstream that answers X.224 like an xrdp, and clients.
//
//   rdp_gateway_bench serve DATA RDP_PORT ADMIN_PORT CONTROLLER_URL
//   rdp_gateway_bench upstream PORT
//   rdp_gateway_bench throughput PORT CONNECTIONS SECONDS     bytes from upstream to client in 16 KiB writes, as TLS records come
//   rdp_gateway_bench latency PORT SECONDS                    64 bytes to the upstream and back, one at a time
//   rdp_gateway_bench idle PORT CONNECTIONS                   holds them until its input ends
//
// After the handshake the client's first byte says what the upstream does: 'T' sends for ever, 'E' sends everything back.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rdp/gateway/module.hpp"
#include "rdp/gateway/test_packets.hpp"

using namespace lucid;
using namespace lucid::gateway;
using Steady = std::chrono::steady_clock;

namespace {

constexpr std::size_t kRecord = 16 << 10;

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

sockaddr_in at_port(const char* port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
  out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return out;
}

void no_delay(int fd) {
  int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int serve(char** a) {
  runtime::Module controller{.name = "session-controller", .default_port = 8082, .starts_after = {}, .declare = {}, .start = {}};
  return runtime::run_process({.modules = {controller, module()},
                               .targets = {"xrdp-integration"},
                               .flags = {{"data_dir", a[0]},
                                         {"xrdp-integration.rdp_port", a[1]},
                                         {"xrdp-integration.port", a[2]},
                                         {"session-controller.url", a[3]},
                                         {"xrdp-integration.exempt_loopback", "true"},
                                         {"log_level", "warn"}}});
}

struct Served {
  char mode = 0;  // 0: the request has not been answered
  std::string waiting;
};

void serve_one(int fd, Served& s, std::uint32_t events) {
  static std::string block(kRecord, 'd');
  static char buffer[64 << 10];
  if ((events & EPOLLIN) != 0) {
    ssize_t n = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
      s.mode = 'x';
      return;
    }
    if (n > 0 && s.mode == 0) {
      s.waiting = test::confirm(1);
      s.mode = 'I';
    } else if (n > 0 && s.mode == 'I') {
      s.mode = buffer[0];
      if (s.mode == 'E') s.waiting.append(buffer + 1, static_cast<std::size_t>(n) - 1);
    } else if (n > 0 && s.mode == 'E') {
      s.waiting.append(buffer, static_cast<std::size_t>(n));
    }
  }
  if (!s.waiting.empty()) {
    ssize_t n = ::send(fd, s.waiting.data(), s.waiting.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) s.waiting.erase(0, static_cast<std::size_t>(n));
  }
  for (int i = 0; s.mode == 'T' && i < 16; ++i)
    if (::send(fd, block.data(), block.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < static_cast<ssize_t>(block.size())) break;
}

int upstream(const char* port) {
  int door = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
  ::setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in at = at_port(port);
  if (::bind(door, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(door, 1024) != 0) fail("upstream");
  int poll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{.events = EPOLLIN, .data = {.fd = door}};
  ::epoll_ctl(poll, EPOLL_CTL_ADD, door, &event);
  std::map<int, Served> all;
  for (;;) {
    epoll_event events[64];
    int n = ::epoll_wait(poll, events, 64, -1);
    for (int i = 0; i < n; ++i) {
      int fd = events[i].data.fd;
      if (fd == door) {
        int socket = ::accept4(door, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket < 0) continue;
        no_delay(socket);
        event = {.events = EPOLLIN, .data = {.fd = socket}};
        ::epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event);
        all[socket] = {};
        continue;
      }
      Served& s = all[fd];
      char before = s.mode;
      serve_one(fd, s, events[i].events);
      if (s.mode == 'x') {
        ::close(fd);
        all.erase(fd);
      } else if (s.mode == 'T' && before != 'T') {
        event = {.events = EPOLLIN | EPOLLOUT, .data = {.fd = fd}};
        ::epoll_ctl(poll, EPOLL_CTL_MOD, fd, &event);
      }
    }
  }
}

int dial(const char* port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to = at_port(port);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fail("connect");
  no_delay(fd);
  std::string request = test::token_request("lucid1.benchmark", 1);
  char confirm[19];
  if (::send(fd, request.data(), request.size(), 0) < 0 || ::recv(fd, confirm, sizeof confirm, MSG_WAITALL) != sizeof confirm)
    fail("handshake");
  return fd;
}

int throughput(const char* port, int connections, double seconds) {
  int poll = ::epoll_create1(EPOLL_CLOEXEC);
  for (int i = 0; i < connections; ++i) {
    int fd = dial(port);
    ::send(fd, "T", 1, 0);
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    ::epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
  }
  std::uint64_t bytes = 0;
  auto begin = Steady::now();
  auto passed = [&] { return std::chrono::duration<double>(Steady::now() - begin).count(); };
  while (passed() < seconds) {
    epoll_event events[16];
    int n = ::epoll_wait(poll, events, 16, 1000);
    for (int i = 0; i < n; ++i) {
      ssize_t got = ::recv(events[i].data.fd, nullptr, 1 << 20, MSG_TRUNC | MSG_DONTWAIT);  // thrown away by the kernel
      if (got == 0) fail("throughput: closed");
      if (got > 0) bytes += static_cast<std::uint64_t>(got);
    }
  }
  std::printf("{\"bytes\": %llu, \"seconds\": %.3f}\n", static_cast<unsigned long long>(bytes), passed());
  return 0;
}

int latency(const char* port, double seconds) {
  int fd = dial(port);
  ::send(fd, "E", 1, 0);
  char message[64] = "ping";
  std::vector<double> us;
  auto begin = Steady::now();
  for (auto now = begin; std::chrono::duration<double>(now - begin).count() < seconds;) {
    if (::send(fd, message, sizeof message, 0) < 0 || ::recv(fd, message, sizeof message, MSG_WAITALL) != sizeof message) fail("latency");
    auto after = Steady::now();
    us.push_back(std::chrono::duration<double, std::micro>(after - now).count());
    now = after;
  }
  std::sort(us.begin(), us.end());
  std::printf("{\"round_trips\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", us.size(), us[us.size() / 2], us[us.size() * 99 / 100]);
  return 0;
}

int idle(const char* port, int connections) {
  for (int i = 0; i < connections; ++i) dial(port);
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {}
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string what = argc > 1 ? argv[1] : "";
  if (what == "serve" && argc == 6) return serve(argv + 2);
  if (what == "upstream" && argc == 3) return upstream(argv[2]);
  if (what == "throughput" && argc == 5) return throughput(argv[2], std::atoi(argv[3]), std::atof(argv[4]));
  if (what == "latency" && argc == 4) return latency(argv[2], std::atof(argv[3]));
  if (what == "idle" && argc == 4) return idle(argv[2], std::atoi(argv[3]));
  std::fputs("usage: see the head of rdp/gateway/gateway_bench.cpp; run it by tests/performance/gateway.py\n", stderr);
  return 2;
}
