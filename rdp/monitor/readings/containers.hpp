// Reads control groups, version 1 and 2: Docker's and podman's containers (their scopes and directories), the RDP servers' groups
// (lucid-rdp/…) and the one this process runs in. Keeps counters for rates. One thread. Source: cgroup-v1/*.rst, cgroup-v2.rst.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/base/clock.hpp"
#include "rdp/monitor/readings/readings.hpp"

namespace lucid::monitor {

class ContainerReader {
 public:
  // `cgroups`: where cgroupfs is mounted; `proc`: whose self is asked for its group; `docker`: where Docker keeps its containers, for their names.
  ContainerReader(std::string cgroups, std::string proc, const Clock& clock, std::string docker = "/var/lib/docker/containers");
  ~ContainerReader();
  std::vector<Container> look();  // at most 256

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lucid::monitor
