#include "rdp/server-manager/rdp_probe.hpp"

#include <array>
#include <cerrno>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "lib/base/file_ops.hpp"

namespace lucid::server_manager {

Expected<crypto::TlsPeer> probe_rdp(std::uint16_t port, std::chrono::milliseconds timeout) {
  auto failed = [&](const std::string& why) {
    return std::unexpected(Error(ErrorKind::unavailable, "no_answer", "ask 127.0.0.1:" + std::to_string(port) + ": " + why));
  };
  File socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  timeval limit{.tv_sec = timeout.count() / 1000, .tv_usec = (timeout.count() % 1000) * 1000};
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (!socket || ::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return failed(system_error("connect", "it", errno).what());
  // TPKT(19) · X.224 Connection Request(14) · RDP_NEG_REQ, requestedProtocols = PROTOCOL_SSL
  constexpr std::array<std::uint8_t, 19> kRequest{3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 1, 0, 0, 0};
  if (::send(socket.fd(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(kRequest.size()))
    return failed("the connection request could not be sent");
  std::array<std::uint8_t, 19> answer{};
  if (::recv(socket.fd(), answer.data(), answer.size(), MSG_WAITALL) != static_cast<ssize_t>(answer.size()))
    return failed("no connection confirm came");
  // Connection Confirm with RDP_NEG_RSP choosing PROTOCOL_SSL.
  if (answer[0] != 3 || answer[5] != 0xd0 || answer[11] != 2 || answer[15] != 1) return failed("it did not choose TLS");
  return crypto::tls_probe(socket.fd(), timeout);
}

}  // namespace lucid::server_manager
