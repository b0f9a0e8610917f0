#include "rdp/gateway/relay.hpp"

#include <cerrno>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace lucid::gateway {
namespace {

constexpr std::size_t kPipeBytes = 256 << 10;  // also the most that one splice is asked for
constexpr std::uint64_t kTurn = 1 << 20;       // bytes before others get their turn
constexpr unsigned kFlags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

// Answers bytes moved, 0 at the end, -1 for "not now", -2 for a socket that is broken.
ssize_t move(int from, int to, std::size_t limit) {
  for (;;) {
    ssize_t n = ::splice(from, nullptr, to, nullptr, limit, kFlags);
    if (n >= 0) return n;
    if (errno == EAGAIN) return -1;
    if (errno != EINTR) return -2;
  }
}

void drop_rest(Flow& flow) {
  flow.pipe = {};
  flow.waiting = 0;
  flow.finished = true;
}

}  // namespace

Pipe PipePool::take() {
  if (!spare_.empty()) {
    Pipe pipe = std::move(spare_.back());
    spare_.pop_back();
    return pipe;
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw system_error("make a pipe", "for a relay", errno);
  // Smaller is fine where the system grants no more.
  ::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(kPipeBytes));
  return {File(ends[0]), File(ends[1])};
}

void PipePool::give(Pipe pipe) {
  if (spare_.size() < kSpare) spare_.push_back(std::move(pipe));
}

Pumped pump(Flow& flow, Side& source, Side& destination, PipePool& pipes, std::uint64_t& moved) {
  std::uint64_t turn = 0;
  for (bool progress = true; progress && !flow.finished;) {
    if (turn >= kTurn) return Pumped::goes_on;
    progress = false;
    if (!flow.source_ended && source.readable) {
      if (!flow.pipe) flow.pipe = pipes.take();
      ssize_t n = move(source.socket.fd(), flow.pipe.write_end.fd(), kPipeBytes);
      if (n > 0) {
        flow.waiting += static_cast<std::size_t>(n);
        progress = true;
      } else if (n == -1) {
        // With bytes in the pipe it may be the pipe that is full: asked again once that is empty.
        if (flow.waiting == 0) source.readable = false;
      } else {
        flow.source_ended = true;
      }
    }
    if (flow.waiting > 0 && destination.writable) {
      ssize_t n = move(flow.pipe.read_end.fd(), destination.socket.fd(), flow.waiting);
      if (n > 0) {
        flow.waiting -= static_cast<std::size_t>(n);
        flow.bytes += static_cast<std::uint64_t>(n);
        moved += static_cast<std::uint64_t>(n);
        turn += static_cast<std::uint64_t>(n);
        progress = true;
      } else if (n == -1) {
        destination.writable = false;
      } else {
        drop_rest(flow);
      }
    }
    if (flow.waiting == 0 && flow.pipe && (!source.readable || flow.source_ended)) pipes.give(std::exchange(flow.pipe, {}));
    if (flow.waiting == 0 && flow.source_ended && !flow.finished) {
      ::shutdown(destination.socket.fd(), SHUT_WR);
      flow.finished = true;
    }
  }
  return Pumped::rests;
}

}  // namespace lucid::gateway
