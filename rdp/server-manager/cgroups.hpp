// A control group per server where cgroups can be written: its processes are found there whatever they did to their parents, and the limits of
// the request hold. Version 1 (one hierarchy per controller) and 2. Where nothing is writable everything answers empty and problem() says why.
// The place of cgroupfs is a parameter for tests. Thread-safe. Source: cgroups(7), kernel admin-guide/cgroup-v1, cgroup-v2.rst.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace lucid::server_manager {

class Cgroups {
 public:
  // `mounts` is the text of /proc/self/mounts.
  Cgroups(const std::string& mounts, std::string root = "");
  struct Limits {
    double cpu = 2.0;
    int memory_mb = 2048;
  };
  // Creates the group if need be and sets its limits. False where no group could be made.
  bool apply(const std::string& name, const Limits& limits);
  void add(const std::string& name, pid_t pid);
  std::vector<pid_t> members(const std::string& name) const;
  bool remove(const std::string& name);    // false while processes are in it
  std::vector<std::string> names() const;  // of every group of ours
  const std::optional<std::string>& problem() const { return problem_; }

 private:
  struct Hierarchy {
    std::string directory;  // ends in /lucid-rdp
    bool cpu = false, memory = false, unified = false;
  };
  std::vector<Hierarchy> hierarchies_;
  std::optional<std::string> problem_;
};

}  // namespace lucid::server_manager
