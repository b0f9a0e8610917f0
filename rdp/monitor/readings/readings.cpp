#include "rdp/monitor/readings/readings.hpp"

#include <array>

#include <unistd.h>

namespace lucid::monitor {
namespace {

json::value number(double value) { return std::isfinite(value) ? json::value(value) : json::value(nullptr); }
json::value bytes_or_null(std::uint64_t value, bool known) { return known ? json::value(value) : json::value(nullptr); }
json::value truth(const std::optional<bool>& value) { return value ? json::value(*value) : json::value(nullptr); }
json::value limit(const std::optional<std::uint64_t>& value) { return value ? json::value(*value) : json::value(nullptr); }

double share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? kUnknown : static_cast<double>(part) / static_cast<double>(whole);
}
std::uint64_t less(std::uint64_t from, std::uint64_t what) { return from > what ? from - what : 0; }

struct Names {
  std::string_view name;
  double value;
};

void put(std::vector<Reading>& out, std::string_view metric, const std::string& subject, double value) {
  if (std::isfinite(value)) out.push_back({metric, subject, value});
}
template <std::size_t N>
void put(std::vector<Reading>& out, const std::string& subject, const std::array<Names, N>& values) {
  for (const Names& v : values) put(out, v.name, subject, v.value);
}

double real(std::uint64_t value) { return static_cast<double>(value); }

json::value pressure(const std::optional<Pressure>& p, bool with_full) {
  if (!p) return nullptr;
  json::object out{{"some_ratio", number(p->some_ratio)}};
  if (with_full) out["full_ratio"] = number(p->full_ratio);
  return out;
}

json::object memory(const Host& h) {
  bool known = h.memory_total_bytes > 0;
  std::uint64_t used = less(h.memory_total_bytes, h.memory_available_bytes);
  return {{"total_bytes", bytes_or_null(h.memory_total_bytes, known)},
          {"available_bytes", bytes_or_null(h.memory_available_bytes, known)},
          {"used_bytes", bytes_or_null(used, known)},
          {"used_ratio", number(share(used, h.memory_total_bytes))},
          {"swap_total_bytes", bytes_or_null(h.swap_total_bytes, known)},
          {"swap_used_bytes", bytes_or_null(less(h.swap_total_bytes, h.swap_free_bytes), known)}};
}

}  // namespace

json::value to_json(const Host& h) {
  json::array cores, disks, network, temperatures, problems;
  for (double ratio : h.core_used_ratio) cores.push_back(number(ratio));
  for (const Disk& d : h.disks)
    disks.push_back(json::object{{"mount", d.mount},
                                 {"device", d.device},
                                 {"total_bytes", d.total_bytes},
                                 {"free_bytes", d.free_bytes},
                                 {"used_ratio", number(d.used_ratio)},
                                 {"inodes_used_ratio", number(d.inodes_used_ratio)},
                                 {"read_bytes_per_second", number(d.read_bytes_per_second)},
                                 {"write_bytes_per_second", number(d.write_bytes_per_second)},
                                 {"latency_seconds", number(d.latency_seconds)},
                                 {"busy_ratio", number(d.busy_ratio)}});
  for (const Interface& i : h.interfaces)
    network.push_back(json::object{{"interface", i.name},
                                   {"receive_bytes_per_second", number(i.receive_bytes_per_second)},
                                   {"transmit_bytes_per_second", number(i.transmit_bytes_per_second)},
                                   {"errors_per_second", number(i.errors_per_second)}});
  for (const Temperature& t : h.temperatures) temperatures.push_back(json::object{{"zone", t.zone}, {"celsius", number(t.celsius)}});
  for (const std::string& problem : h.problems) problems.push_back(json::value(problem));
  return json::object{
      {"cpu",
       {{"used_ratio", number(h.cpu_used_ratio)},
        {"iowait_ratio", number(h.cpu_iowait_ratio)},
        {"steal_ratio", number(h.cpu_steal_ratio)},
        {"cores", std::move(cores)}}},
      {"load", json::array{number(h.load_1m), number(h.load_5m), number(h.load_15m)}},
      {"memory", memory(h)},
      {"pressure",
       {{"cpu", pressure(h.pressure_cpu, false)}, {"memory", pressure(h.pressure_memory, true)}, {"io", pressure(h.pressure_io, true)}}},
      {"disks", std::move(disks)},
      {"network", std::move(network)},
      {"temperatures", std::move(temperatures)},
      {"throttled", truth(h.throttled)},
      {"undervoltage", truth(h.undervoltage)},
      {"clock_jump_seconds", number(h.clock_jump_seconds)},
      {"processes", h.processes},
      {"problems", std::move(problems)}};
}

json::value to_json(const Container& c) {
  return json::object{{"name", c.name},
                      {"cpu_ratio", number(c.cpu_ratio)},
                      {"cpu_limit_cores", number(c.cpu_limit_cores)},
                      {"cpu_throttled_ratio", number(c.cpu_throttled_ratio)},
                      {"memory_bytes", c.memory_bytes},
                      {"memory_limit_bytes", limit(c.memory_limit_bytes)},
                      {"pids", c.pids},
                      {"pids_limit", limit(c.pids_limit)}};
}

json::value to_json(const Service& s) {
  return json::object{{"service", s.name},
                      {"up", s.up},
                      {"healthy", s.healthy},
                      {"problem", s.problem},
                      {"version", s.version},
                      {"scrape_seconds", number(s.scrape_seconds)},
                      {"uptime_seconds", number(s.uptime_seconds)},
                      {"cpu_ratio", number(s.cpu_ratio)},
                      {"memory_bytes", bytes_or_null(s.memory_bytes, s.up)},
                      {"open_files", bytes_or_null(s.open_files, s.up)},
                      {"requests_per_second", number(s.requests_per_second)},
                      {"errors_per_second", number(s.errors_per_second)}};
}

json::value to_json(const Session& s) {
  return json::object{{"session_id", s.id},
                      {"display", s.display},
                      {"state", s.state},
                      {"alarm", s.alarm},
                      {"cpu_ratio", number(s.cpu_ratio)},
                      {"memory_bytes", s.memory_bytes},
                      {"memory_growth_bytes", s.memory_growth_bytes},
                      {"processes", s.processes},
                      {"read_bytes_per_second", number(s.read_bytes_per_second)},
                      {"write_bytes_per_second", number(s.write_bytes_per_second)},
                      {"receive_bytes_per_second", number(s.receive_bytes_per_second)},
                      {"transmit_bytes_per_second", number(s.transmit_bytes_per_second)},
                      {"frames_per_second", number(s.frames_per_second)},
                      {"backlog", s.backlog}};
}

void append_readings(const Host& h, std::vector<Reading>& out) {
  static const std::string none;
  std::uint64_t swap_used = less(h.swap_total_bytes, h.swap_free_bytes);
  if (h.memory_total_bytes > 0)
    put(out, none,
        std::to_array<Names>({{"host_memory_total_bytes", real(h.memory_total_bytes)},
                              {"host_memory_available_bytes", real(h.memory_available_bytes)},
                              {"host_memory_used_bytes", real(less(h.memory_total_bytes, h.memory_available_bytes))},
                              {"host_memory_used_ratio", share(less(h.memory_total_bytes, h.memory_available_bytes), h.memory_total_bytes)},
                              {"host_swap_used_bytes", real(swap_used)},
                              {"host_swap_used_ratio", h.swap_total_bytes == 0 ? 0 : share(swap_used, h.swap_total_bytes)}}));
  put(out, none,
      std::to_array<Names>({{"host_cpu_used_ratio", h.cpu_used_ratio},
                            {"host_cpu_iowait_ratio", h.cpu_iowait_ratio},
                            {"host_cpu_steal_ratio", h.cpu_steal_ratio},
                            {"host_load_1m", h.load_1m},
                            {"host_load_5m", h.load_5m},
                            {"host_load_15m", h.load_15m},
                            {"host_clock_jump_seconds", h.clock_jump_seconds},
                            {"host_processes", h.processes == 0 ? kUnknown : real(h.processes)}}));
  for (std::size_t i = 0; i < h.core_used_ratio.size(); ++i) put(out, "host_cpu_core_used_ratio", std::to_string(i), h.core_used_ratio[i]);
  if (h.pressure_cpu) put(out, "host_pressure_cpu_some_ratio", none, h.pressure_cpu->some_ratio);
  if (h.pressure_memory) put(out, "host_pressure_memory_some_ratio", none, h.pressure_memory->some_ratio);
  if (h.pressure_memory) put(out, "host_pressure_memory_full_ratio", none, h.pressure_memory->full_ratio);
  if (h.pressure_io) put(out, "host_pressure_io_some_ratio", none, h.pressure_io->some_ratio);
  if (h.pressure_io) put(out, "host_pressure_io_full_ratio", none, h.pressure_io->full_ratio);
  for (const Disk& d : h.disks) {
    put(out, d.mount,
        std::to_array<Names>({{"host_disk_free_bytes", d.total_bytes == 0 ? kUnknown : real(d.free_bytes)},
                              {"host_disk_used_ratio", d.used_ratio},
                              {"host_disk_inodes_used_ratio", d.inodes_used_ratio}}));
    put(out, d.device,
        std::to_array<Names>({{"host_disk_read_bytes_per_second", d.read_bytes_per_second},
                              {"host_disk_write_bytes_per_second", d.write_bytes_per_second},
                              {"host_disk_latency_seconds", d.latency_seconds},
                              {"host_disk_busy_ratio", d.busy_ratio}}));
  }
  for (const Interface& i : h.interfaces)
    put(out, i.name,
        std::to_array<Names>({{"host_network_receive_bytes_per_second", i.receive_bytes_per_second},
                              {"host_network_transmit_bytes_per_second", i.transmit_bytes_per_second},
                              {"host_network_errors_per_second", i.errors_per_second}}));
  for (const Temperature& t : h.temperatures) put(out, "host_temperature_celsius", t.zone, t.celsius);
  if (h.throttled) put(out, "host_throttled", none, *h.throttled ? 1 : 0);
  if (h.undervoltage) put(out, "host_undervoltage", none, *h.undervoltage ? 1 : 0);
}

void append_readings(const Container& c, std::vector<Reading>& out) {
  static const double cores = static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN));
  static const double memory = static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  put(out, c.name,
      std::to_array<Names>(
          {{"container_cpu_ratio", c.cpu_ratio},
           {"container_cpu_used_ratio", c.cpu_ratio / (std::isfinite(c.cpu_limit_cores) ? c.cpu_limit_cores : cores)},
           {"container_cpu_throttled_ratio", c.cpu_throttled_ratio},
           {"container_memory_bytes", real(c.memory_bytes)},
           {"container_memory_used_ratio", real(c.memory_bytes) / (c.memory_limit_bytes ? real(*c.memory_limit_bytes) : memory)},
           {"container_pids", real(c.pids)}}));
}

void append_readings(const Service& s, std::vector<Reading>& out) {
  put(out, "service_up", s.name, s.up ? 1 : 0);
  put(out, "service_healthy", s.name, s.healthy ? 1 : 0);
  if (!s.up) return;
  put(out, s.name,
      std::to_array<Names>({{"service_scrape_seconds", s.scrape_seconds},
                            {"service_cpu_ratio", s.cpu_ratio},
                            {"service_memory_bytes", real(s.memory_bytes)},
                            {"service_open_files", real(s.open_files)},
                            {"service_requests_per_second", s.requests_per_second},
                            {"service_errors_per_second", s.errors_per_second}}));
}

void append_readings(const Session& s, std::vector<Reading>& out) {
  // A display that is recorded without an RDP server has no processes we know of.
  if (s.processes > 0 || std::isfinite(s.cpu_ratio))
    put(out, s.id,
        std::to_array<Names>({{"session_memory_bytes", real(s.memory_bytes)},
                              {"session_memory_growth_bytes", real(s.memory_growth_bytes)},
                              {"session_processes", real(s.processes)}}));
  put(out, s.id,
      std::to_array<Names>({{"session_cpu_ratio", s.cpu_ratio},
                            {"session_read_bytes_per_second", s.read_bytes_per_second},
                            {"session_write_bytes_per_second", s.write_bytes_per_second},
                            {"session_receive_bytes_per_second", s.receive_bytes_per_second},
                            {"session_transmit_bytes_per_second", s.transmit_bytes_per_second},
                            {"session_frames_per_second", s.frames_per_second}}));
}

}  // namespace lucid::monitor
