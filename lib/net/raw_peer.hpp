// Test helper: the other end of a connection, byte by byte, and a server with short deadlines. For tests of lib/net only.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "lib/base/file_ops.hpp"
#include "lib/net/server.hpp"
#include "lib/net/socket_io.hpp"

namespace lucid::net {

class RawPeer {
 public:
  explicit RawPeer(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      throw system_error("connect", "loopback", errno);
  }
  void send(std::string_view text) {
    while (!text.empty()) {
      ssize_t n = ::send(socket_.fd(), text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  void finish_sending() { ::shutdown(socket_.fd(), SHUT_WR); }
  void close() { socket_.close(); }
  // Until `end` has been seen `times` times, the connection ends, or 5 s have passed.
  std::string read_until(std::string_view end, int times = 1) {
    std::string got;
    while (true) {
      int seen = 0;
      for (std::size_t at = got.find(end); at != std::string::npos; at = got.find(end, at + end.size())) ++seen;
      if (seen >= times || !read_some(got)) return got;
    }
  }
  std::string read_all() {
    std::string got;
    while (read_some(got)) {}
    return got;
  }
  bool ended() const { return ended_; }
  int fd() const { return socket_.fd(); }

 private:
  bool read_some(std::string& into) {
    std::uint8_t bytes[4096];
    IoResult got = receive(socket_.fd(), bytes, std::chrono::steady_clock::now() + std::chrono::seconds(5));
    ended_ = got.state == Io::closed;
    into.append(reinterpret_cast<const char*>(bytes), got.bytes);
    return got.state == Io::ok;
  }
  File socket_;
  bool ended_ = false;
};

// A server that says exactly what it is told to, connection by connection.
class ScriptedServer {
 public:
  using Script = std::function<void(int fd)>;
  explicit ScriptedServer(std::vector<Script> scripts) : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_.fd(), reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_.fd(), 16) != 0)
      throw system_error("listen", "loopback", errno);
    ::getsockname(listener_.fd(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, scripts = std::move(scripts)] {
      for (const Script& script : scripts) {
        File peer(::accept(listener_.fd(), nullptr, nullptr));
        script(peer.fd());
      }
    });
  }
  ~ScriptedServer() { thread_.join(); }
  std::uint16_t port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  File listener_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

// Reads one request head, then says `answer`.
inline void answer_once(int fd, std::string_view answer, std::string* request = nullptr) {
  std::string got;
  std::uint8_t byte[1];
  while (!got.ends_with("\r\n\r\n")) {
    IoResult r = receive(fd, byte, std::chrono::steady_clock::now() + std::chrono::seconds(5));
    if (r.state != Io::ok) return;
    got.push_back(static_cast<char>(byte[0]));
  }
  if (request != nullptr) *request = got;
  ::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
}

inline int status_of(const std::string& answer) {
  return answer.size() > 12 && answer.starts_with("HTTP/1.1 ") ? std::stoi(answer.substr(9, 3)) : 0;
}

inline std::string body_of(const std::string& answer) {
  std::size_t end = answer.find("\r\n\r\n");
  return end == std::string::npos ? std::string() : answer.substr(end + 4);
}

inline ServerConfig short_deadlines() {
  ServerConfig config;
  config.worker_threads = 4;
  config.header_timeout = std::chrono::milliseconds(200);
  config.body_timeout = std::chrono::milliseconds(200);
  config.write_timeout = std::chrono::milliseconds(300);
  config.idle_timeout = std::chrono::milliseconds(300);
  return config;
}

}  // namespace lucid::net
