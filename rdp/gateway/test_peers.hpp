// Both ends of a relay for tests: blocking clients, an upstream that answers like an xrdp, and a gateway between them. Every wait has an end.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rdp/gateway/gateway.hpp"
#include "rdp/gateway/test_packets.hpp"

namespace lucid::gateway::test {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

inline sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return out;
}

class Peer {
 public:
  Peer() = default;
  explicit Peer(File socket) : socket_(std::move(socket)) {
    timeval limit{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  static Peer connect(std::uint16_t port) {
    Peer out(File(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    sockaddr_in to = loopback(port);
    if (::connect(out.fd(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) out.socket_.close();
    return out;
  }
  int fd() const { return socket_.fd(); }
  explicit operator bool() const { return static_cast<bool>(socket_); }
  bool send(std::string_view text) const {
    while (!text.empty()) {
      ssize_t n = ::send(fd(), text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  // Sends as much as is taken at once without waiting.
  std::size_t stuff(std::string_view text) const {
    ssize_t n = ::send(fd(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? 0 : static_cast<std::size_t>(n);
  }
  std::string receive(std::size_t n) const {
    std::string out(n, '\0');
    ssize_t got = ::recv(fd(), out.data(), n, MSG_WAITALL);
    out.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return out;
  }
  std::string packet() const {
    std::string head = receive(4);
    if (head.size() < 4) return head;
    return head + receive((static_cast<std::uint8_t>(head[2]) << 8 | static_cast<std::uint8_t>(head[3])) - 4u);
  }
  bool readable(std::chrono::milliseconds within) const {
    pollfd event{fd(), POLLIN, 0};
    return ::poll(&event, 1, static_cast<int>(within.count())) == 1;
  }
  // Closed or reset by the other side, nothing more to read.
  bool ended(std::chrono::milliseconds within = 5s) const {
    char c;
    return readable(within) && ::recv(fd(), &c, 1, MSG_DONTWAIT) <= 0;
  }
  void finish_sending() const { ::shutdown(fd(), SHUT_WR); }
  void close() { socket_.close(); }

 private:
  File socket_;
};

// Answers every Connection Request with `answer` and keeps the connection for the test.
class Upstream {
 public:
  explicit Upstream(std::string answer = confirm(1)) : answer_(std::move(answer)) {
    door_ = File(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at = loopback(0);
    socklen_t size = sizeof at;
    ::bind(door_.fd(), reinterpret_cast<sockaddr*>(&at), sizeof at);
    ::listen(door_.fd(), 128);
    ::getsockname(door_.fd(), reinterpret_cast<sockaddr*>(&at), &size);
    port = ntohs(at.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~Upstream() {
    ::shutdown(door_.fd(), SHUT_RDWR);
    thread_.join();
  }
  Peer next() {
    std::unique_lock lock(mutex_);
    if (!came_.wait_for(lock, 10s, [this] { return !peers_.empty(); })) return {};
    Peer out = std::move(peers_.front());
    peers_.pop_front();
    return out;
  }
  std::string request;  // of the newest; read after next()
  std::uint16_t port = 0;

 private:
  void run() {
    for (;;) {
      File socket(::accept4(door_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!socket) return;
      Peer peer(std::move(socket));
      std::string packet = peer.packet();
      if (!answer_.empty()) peer.send(answer_);
      std::lock_guard lock(mutex_);
      request = packet;
      peers_.push_back(std::move(peer));
      came_.notify_all();
    }
  }
  std::string answer_;
  File door_;
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<Peer> peers_;
  std::thread thread_;
};

// What a controller was asked and told.
class FakeController {
 public:
  explicit FakeController(std::uint16_t upstream) : upstream_(upstream) {}
  Controller edge() {
    return {.admit = [this](const auto& request) { return admit(request); }, .report = [this](const auto& report) { take(report); }};
  }
  contracts::Admission admit(const contracts::AdmissionRequest& request) {
    std::function<void(const contracts::AdmissionRequest&)> judge;
    {
      std::lock_guard lock(mutex_);
      asked.push_back(request);
      judge = judge_;
    }
    if (judge) judge(request);
    std::lock_guard lock(mutex_);
    contracts::Admission out{.session = session, .upstream_host = "127.0.0.1", .upstream_port = upstream_};
    out.replaces = std::exchange(replaces, std::nullopt);
    return out;
  }
  void take(const contracts::ConnectionReport& report) {
    std::lock_guard lock(mutex_);
    if (away_) throw Error(ErrorKind::unavailable, "away");
    reports_.push_back(report);
    came_.notify_all();
  }
  // The report of that event number `nth`, once it came.
  contracts::ConnectionReport reported(const std::string& event, std::size_t nth = 0) {
    std::unique_lock lock(mutex_);
    contracts::ConnectionReport found;
    auto there = [&] {
      std::size_t seen = 0;
      for (const auto& r : reports_)
        if (r.event == event && seen++ == nth) return found = r, true;
      return false;
    };
    EXPECT_TRUE(came_.wait_for(lock, 10s, there)) << event;
    return found;
  }
  void judge(std::function<void(const contracts::AdmissionRequest&)> judge) {
    std::lock_guard lock(mutex_);
    judge_ = std::move(judge);
  }
  void away(bool away) {
    std::lock_guard lock(mutex_);
    away_ = away;
  }
  std::vector<contracts::AdmissionRequest> asked;
  Id session = *Id::parse("01900000-0000-7000-8000-000000000001");
  std::optional<Id> replaces;

 private:
  std::uint16_t upstream_;
  std::mutex mutex_;
  std::condition_variable came_;
  std::function<void(const contracts::AdmissionRequest&)> judge_;
  std::vector<contracts::ConnectionReport> reports_;
  bool away_ = false;
};

inline Config quick_config() {
  Config c;
  c.port = 0;
  c.threads = 2;
  c.handshake_timeout_ms = 300;
  c.admission_timeout_ms = 2'000;
  c.upstream_timeout_ms = 1'000;
  c.linger_ms = 300;
  c.guard.exempt_loopback = true;
  return c;
}

class GatewayTest : public testing::Test {
 protected:
  std::unique_ptr<Gateway> make(Config config = quick_config()) {
    return std::make_unique<Gateway>(config, controller.edge(), directory.path() + "/gateway",
                                     Machine{clock, random, system_files(), metrics});
  }
  // A client and its upstream with a relay between them.
  struct Pair {
    Peer client, server;
  };
  Pair relay(Gateway& gateway, const std::string& request = token_request("lucid1.abc", 1)) {
    Pair out{Peer::connect(gateway.port()), {}};
    EXPECT_TRUE(out.client.send(request));
    out.server = upstream.next();
    EXPECT_EQ(out.client.packet(), confirm(1));
    return out;
  }
  double counted(const std::string& series) {
    std::string text = metrics.expose();
    std::size_t at = text.find("\n" + series + " ");
    return at == std::string::npos ? 0 : std::stod(text.substr(at + series.size() + 2));
  }

  TempDir directory;
  SystemClock clock;
  SystemRandom random;
  runtime::Metrics metrics;
  Upstream upstream;
  FakeController controller{upstream.port};
};

inline std::string noise(std::size_t size, std::uint64_t seed) {
  std::string out(size, '\0');
  SeededRandom(seed).fill({reinterpret_cast<std::uint8_t*>(out.data()), out.size()});
  return out;
}

}  // namespace lucid::gateway::test
