// One pass over /proc that finds what each RDP session's processes use: CPU, resident memory, I/O. A session's processes are its roots (xrdp
// process and the leader of its X session, as the server manager names them) and all that descends from them; a process whose parent
// ended stays with the session it was seen in. 200 processes cost at most 10 ms (readings_bench). Processes that vanish while they are read are
// left out; what they used after the last look comes with the parent that waits for them, once. One thread. Source: proc(5).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/clock.hpp"

namespace lucid::monitor {

struct SessionRoots {
  std::string session;
  std::vector<std::uint32_t> pids;
};
struct SessionUse {
  std::string session;
  double cpu_ratio = 0, read_bytes_per_second = 0, write_bytes_per_second = 0;  // NaN at a session's first look
  std::uint64_t memory_bytes = 0, processes = 0;
};

class ProcessReader {
 public:
  ProcessReader(std::string proc, const Clock& clock);
  ~ProcessReader();
  struct Look {
    std::vector<SessionUse> sessions;  // in the order of `roots`
    std::uint64_t processes = 0;       // there are in all
  };
  Look look(const std::vector<SessionRoots>& roots);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lucid::monitor
