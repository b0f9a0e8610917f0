// What is measured, as values: of the host, its containers, our services and the RDP sessions; with the JSON the API answers and the flat
// readings the history and the alerts take. Collectors (host.hpp, containers.hpp, processes.hpp, services.hpp) fill them. Rates and shares are
// over the time since the collector's previous look; a first look has none (NaN), which JSON shows as null and readings leave out.
// Pure values; any thread.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/json.hpp"
#include "rdp/monitor/reading.hpp"

namespace lucid::monitor {

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

struct Disk {
  std::string mount, device;  // "/", "/dev/mmcblk0p2"
  std::uint64_t total_bytes = 0, free_bytes = 0;
  double used_ratio = kUnknown, inodes_used_ratio = kUnknown;
  double read_bytes_per_second = kUnknown, write_bytes_per_second = kUnknown, latency_seconds = kUnknown, busy_ratio = kUnknown;
};
struct Interface {
  std::string name;
  double receive_bytes_per_second = kUnknown, transmit_bytes_per_second = kUnknown, errors_per_second = kUnknown;
};
struct Temperature {
  std::string zone;
  double celsius = kUnknown;
};
struct Pressure {
  double some_ratio = kUnknown, full_ratio = kUnknown;
};
struct Host {
  double cpu_used_ratio = kUnknown, cpu_iowait_ratio = kUnknown, cpu_steal_ratio = kUnknown;
  std::vector<double> core_used_ratio;
  double load_1m = kUnknown, load_5m = kUnknown, load_15m = kUnknown;
  std::uint64_t memory_total_bytes = 0, memory_available_bytes = 0, swap_total_bytes = 0, swap_free_bytes = 0;
  std::optional<Pressure> pressure_cpu, pressure_memory, pressure_io;  // absent: this kernel has no PSI
  std::vector<Disk> disks;
  std::vector<Interface> interfaces;
  std::vector<Temperature> temperatures;
  std::optional<bool> throttled, undervoltage;  // Raspberry Pi only
  double clock_jump_seconds = 0;
  std::uint64_t processes = 0;
  std::vector<std::string> problems;  // what could not be read: "/proc/pressure/io: Permission denied"
};
struct Container {
  std::string name;  // Docker's name or short id, "lucid-rdp/<server>", or the path of the group
  double cpu_ratio = kUnknown, cpu_limit_cores = kUnknown, cpu_throttled_ratio = kUnknown;
  std::uint64_t memory_bytes = 0;
  std::optional<std::uint64_t> memory_limit_bytes, pids_limit;
  std::uint64_t pids = 0;
};
struct Service {
  std::string name;
  bool up = false, healthy = false;
  std::string problem;  // why it is down or which dependency fails, with its reason
  std::string version;
  double scrape_seconds = kUnknown, uptime_seconds = kUnknown, cpu_ratio = kUnknown, requests_per_second = kUnknown,
         errors_per_second = kUnknown;
  std::uint64_t memory_bytes = 0, open_files = 0;
};
struct Session {
  std::string id, display, state, alarm;  // state and alarm: the recorder's of it; empty when nothing records it
  double cpu_ratio = kUnknown, read_bytes_per_second = kUnknown, write_bytes_per_second = kUnknown, receive_bytes_per_second = kUnknown,
         transmit_bytes_per_second = kUnknown, frames_per_second = kUnknown;
  std::uint64_t memory_bytes = 0, memory_growth_bytes = 0, processes = 0, backlog = 0;
};

// The JSON of GET /api/v1/monitor/host, and of one element of containers, services and sessions: the members above by their names, grouped as
// docs/api/openapi.yaml shows; NaN is null.
json::value to_json(const Host& host);
json::value to_json(const Container& container);
json::value to_json(const Service& service);
json::value to_json(const Session& session);

void append_readings(const Host& host, std::vector<Reading>& out);
void append_readings(const Container& container, std::vector<Reading>& out);
void append_readings(const Service& service, std::vector<Reading>& out);
void append_readings(const Session& session, std::vector<Reading>& out);

}  // namespace lucid::monitor
