// Reads the host: /proc and /sys (or where they are mounted for a container: /host/proc, /host/sys) and statvfs of mounts. Keeps the last
// counters to make rates of. Whatever cannot be read is left unknown and named in Host::problems, once a look. One thread.
// Source: proc(5), Documentation/accounting/psi.rst, Documentation/admin-guide/iostats.rst, Raspberry Pi get_throttled.
#pragma once

#include <memory>
#include <string>

#include "lib/base/clock.hpp"
#include "rdp/monitor/readings/readings.hpp"

namespace lucid::monitor {

struct HostPlaces {
  std::string proc = "/proc", sys = "/sys";
  std::string root = "";  // before every mount point, where the host's root is mounted ("/host/root"); empty: our own
};

class HostReader {
 public:
  HostReader(HostPlaces places, const Clock& clock);
  ~HostReader();
  Host look();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lucid::monitor
