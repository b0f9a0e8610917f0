// The disks part of a look at the host: which mounts are of real local file systems, their space and the I/O of the devices below. Only local types
// are asked: statvfs of a network mount whose server is away hangs for ever. Private to HostReader, on its thread. Source: proc(5),
// Documentation/admin-guide/iostats.rst.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "rdp/monitor/readings/readings.hpp"
#include "rdp/monitor/readings/text.hpp"

namespace lucid::monitor {

struct Mount {
  std::string place, device;
};
// Of the text of a mounts file: one a device (that with the shortest path), at most 64.
std::vector<Mount> local_mounts(std::string_view mounts);

class DiskReader {
 public:
  DiskReader(std::string proc, std::string root) : proc_(std::move(proc)), root_(std::move(root)) {}
  // Since the last look `elapsed_ms` have passed (0: there was none). Appends what cannot be read to `problems`.
  std::vector<Disk> look(TextReader& files, std::int64_t elapsed_ms, std::vector<std::string>& problems);

 private:
  struct Counters {
    std::uint64_t ios = 0, read_sectors = 0, written_sectors = 0, io_ms = 0, busy_ms = 0;
  };
  void read_counters(TextReader& files, std::vector<std::string>& problems);
  void add_rates(Disk& disk, std::uint64_t device, std::int64_t elapsed_ms);

  std::string proc_, root_;
  std::map<std::uint64_t, Counters> now_, before_;           // by major << 32 | minor
  std::map<std::string, std::uint64_t, std::less<>> names_;  // the same of "mmcblk0p2"
  std::string mounts_text_;
  std::vector<Mount> mounts_;
};

}  // namespace lucid::monitor
