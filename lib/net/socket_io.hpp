// Blocking reads and writes with a deadline on a non-blocking socket, on the calling thread: poll(2) around recv and send. Used by the
// client and by workers that pull a request body. SIGPIPE never arises.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>

#include <sys/uio.h>

namespace lucid::net {

using Deadline = std::chrono::steady_clock::time_point;

enum class Io { ok, closed, timeout };
struct IoResult {
  Io state = Io::ok;
  std::size_t bytes = 0;  // > 0 when ok
  int error = 0;          // errno when closed by an error; 0 at the end of the stream
};

// Waits until `events` (POLLIN, POLLOUT) or the deadline; the events that came, 0 at the deadline.
short wait_for(int fd, short events, Deadline deadline);
IoResult receive(int fd, std::span<std::uint8_t> out, Deadline deadline);
// One send of what the socket takes now; ok with 0 bytes when it takes nothing.
IoResult send_now(int fd, std::span<const iovec> pieces);

}  // namespace lucid::net
