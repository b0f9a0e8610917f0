// Tells which programs start and end on a display (opt-in): processes whose environment names the display, and their
// descendants. Looks through /proc once a second, because the kernel announces processes only to the super-user; a
// process that lives shorter than that may be missed. Only new process ids are examined. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>

#include "lib/desktop/events.hpp"

namespace lucid::desktop {

class Processes {
 public:
  // What runs already is known from the start and not reported as started.
  Processes(std::string display, std::int64_t now, std::function<void(DesktopEvent)> emit);
  void tick(std::int64_t now);
  std::int64_t next_deadline() const { return next_scan_; }

 private:
  struct Known {
    bool ours = false, seen = false;
    std::string executable;
  };
  void scan(std::int64_t now, bool report);
  bool belongs(std::uint32_t pid, std::uint32_t parent) const;

  std::string display_;
  std::function<void(DesktopEvent)> emit_;
  std::unordered_map<std::uint32_t, Known> known_;
  std::int64_t next_scan_ = 0;
};

}  // namespace lucid::desktop
