// One direction of a relay: bytes go from a socket through a kernel pipe to the other socket by splice(2) and are never copied to this
// process. A pipe is held only while bytes are under way, so an idle connection costs none. A destination that takes no more stops the
// reading of its source: at most a pipe's worth (256 KiB) waits here. Owned by a loop; its thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lib/base/file_ops.hpp"

namespace lucid::gateway {

struct Pipe {
  File read_end, write_end;
  explicit operator bool() const { return static_cast<bool>(read_end); }
};

// Spare empty pipes of one loop.
class PipePool {
 public:
  Pipe take();  // throws Error when the system gives none
  void give(Pipe pipe);

 private:
  static constexpr std::size_t kSpare = 32;
  std::vector<Pipe> spare_;
};

// A socket registered edge-triggered: what is known of it until a call says EAGAIN.
struct Side {
  File socket;
  bool readable = false, writable = false;
};

struct Flow {
  Pipe pipe;
  std::size_t waiting = 0;  // bytes in the pipe
  std::uint64_t bytes = 0;  // delivered to the destination
  bool source_ended = false;
  bool finished = false;  // the end has been passed on, or the destination is gone
};

enum class Pumped {
  rests,    // nothing to do until an event
  goes_on,  // gave way to others; more can be done at once
};

// Moves what can be moved. `moved` grows by the bytes delivered.
Pumped pump(Flow& flow, Side& source, Side& destination, PipePool& pipes, std::uint64_t& moved);

}  // namespace lucid::gateway
