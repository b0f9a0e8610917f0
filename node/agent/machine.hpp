// What this machine has and what of it is free, from /proc. The parsers take any text. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/file_ops.hpp"

namespace lucid::node_agent {

struct CpuTimes {
  std::uint64_t idle = 0, total = 0;  // clock ticks since boot, of all processors; idle: nothing, or only what runs at a low priority
};
std::optional<CpuTimes> parse_cpu_times(std::string_view stat);  // /proc/stat
struct Memory {
  std::int64_t total_mb = 0, available_mb = 0;
};
std::optional<Memory> parse_memory(std::string_view meminfo);  // /proc/meminfo

class Machine {
 public:
  // `proc`: "/proc". Error{unavailable} when it cannot be read.
  explicit Machine(FileOps& files, std::string proc = "/proc");
  int cpu_millicores() const { return cpu_millicores_; }  // of the processors this process may use
  std::int64_t memory_mb() const { return memory_mb_; }
  struct Free {
    int cpu_millicores = 0;  // over the time since the call before, at first since boot
    std::int64_t memory_mb = 0;
  };
  Free free();

 private:
  std::string read(const char* name);
  FileOps& files_;
  std::string proc_;
  int cpu_millicores_ = 0;
  std::int64_t memory_mb_ = 0;
  CpuTimes before_;
  int free_millicores_ = 0;
};

}  // namespace lucid::node_agent
