// The names and ports of all services, without their code: what a process needs to know of services it does not run.
// Pure; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "lib/runtime/service.hpp"

namespace lucid::app {

struct ServiceName {
  const char* name;
  std::uint16_t port;
};
inline constexpr std::array<ServiceName, 10> kServices{{{"session-storage", 8086},
                                                        {"chunk-processor", 8085},
                                                        {"session-pipeline", 8083},
                                                        {"session-recorder", 8084},
                                                        {"rdp-server-manager", 8081},
                                                        {"session-controller", 8082},
                                                        {"xrdp-integration", 8089},
                                                        {"resource-monitor", 8090},
                                                        {"node-management", 8095},
                                                        {"session-api", 8087}}};

// A table with one real row; the others only say where they are reached.
std::vector<runtime::Module> alone(runtime::Module module);

// main() of an executable that runs one service: --data DIR, --config FILE, --setting=value, --help, --version.
int run_service(int argc, const char* const* argv, runtime::Module module);

}  // namespace lucid::app
