#include "rdp/server-manager/port_pool.hpp"

#include <algorithm>

#include <netinet/in.h>
#include <sys/socket.h>

#include <fmt/format.h>

#include "lib/base/error.hpp"
#include "lib/base/file_ops.hpp"

namespace lucid::server_manager {
namespace {

constexpr std::int64_t kRestMs = 60'000;

}  // namespace

PortPool::PortPool(std::uint16_t first, std::uint16_t last, const Clock& clock, Free is_free)
    : first_(first), last_(last), clock_(clock), is_free_(std::move(is_free)), next_(first) {}

std::uint16_t PortPool::take() {
  std::lock_guard lock(mutex_);
  std::int64_t now = clock_.wall_ms();
  std::erase_if(resting_, [&](const auto& rest) { return now - rest.second >= kRestMs || now < rest.second - kRestMs; });
  for (int tried = 0; tried <= last_ - first_; ++tried) {
    std::uint16_t port = next_;
    next_ = next_ == last_ ? first_ : static_cast<std::uint16_t>(next_ + 1);
    if (taken_.contains(port) || resting_.contains(port) || !is_free_(port)) continue;
    taken_.insert(port);
    return port;
  }
  throw Error(ErrorKind::conflict, "ports_exhausted",
              fmt::format("choose a port for xrdp: none of {}–{} is free on 127.0.0.1 ({} are in use by servers, {} rest for a minute)",
                          first_, last_, taken_.size(), resting_.size()));
}

void PortPool::reserve(std::uint16_t port) {
  std::lock_guard lock(mutex_);
  taken_.insert(port);
}

void PortPool::give_back(std::uint16_t port) {
  std::lock_guard lock(mutex_);
  if (taken_.erase(port) != 0) resting_[port] = clock_.wall_ms();
}

PortPool::Use PortPool::use() const {
  std::lock_guard lock(mutex_);
  std::int64_t now = clock_.wall_ms();
  auto rests = [&](const auto& rest) { return now - rest.second < kRestMs && now >= rest.second - kRestMs; };
  return {taken_.size(), static_cast<std::size_t>(std::ranges::count_if(resting_, rests)), static_cast<std::size_t>(last_ - first_) + 1};
}

std::map<std::uint16_t, std::int64_t> PortPool::returned() const {
  std::lock_guard lock(mutex_);
  return resting_;
}

void PortPool::restore(const std::map<std::uint16_t, std::int64_t>& returned) {
  std::lock_guard lock(mutex_);
  resting_ = returned;
}

bool can_listen(std::uint16_t port) {
  File socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return false;
  int on = 1;  // as xrdp does: connections of before that linger in TIME_WAIT do not matter
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::bind(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 && ::listen(socket.fd(), 1) == 0;
}

}  // namespace lucid::server_manager
