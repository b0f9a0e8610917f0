#include "lib/net/socket_io.hpp"

#include <algorithm>
#include <cerrno>

#include <poll.h>
#include <sys/socket.h>

namespace lucid::net {

short wait_for(int fd, short events, Deadline deadline) {
  while (true) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd entry{fd, events, 0};
    int n = ::poll(&entry, 1, static_cast<int>(std::clamp<long long>(left, 0, 1 << 30)));
    if (n > 0) return entry.revents;
    if (n == 0 && std::chrono::steady_clock::now() >= deadline) return 0;
    if (n < 0 && errno != EINTR) return POLLERR;
  }
}

IoResult receive(int fd, std::span<std::uint8_t> out, Deadline deadline) {
  while (true) {
    ssize_t n = ::recv(fd, out.data(), out.size(), MSG_DONTWAIT);
    if (n > 0) return {Io::ok, static_cast<std::size_t>(n), 0};
    if (n == 0) return {Io::closed, 0, 0};
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return {Io::closed, 0, errno};
    if (wait_for(fd, POLLIN, deadline) == 0) return {Io::timeout, 0, 0};
  }
}

IoResult send_now(int fd, std::span<const iovec> pieces) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  while (true) {
    ssize_t n = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) return {Io::ok, static_cast<std::size_t>(n), 0};
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {Io::ok, 0, 0};
    return {Io::closed, 0, errno};
  }
}

}  // namespace lucid::net
