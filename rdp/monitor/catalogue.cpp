#include <algorithm>
#include <array>

#include "rdp/monitor/reading.hpp"

namespace lucid::monitor {
namespace {

// Sorted by name.
constexpr auto kMetrics = std::to_array<Metric>({
    {"certificate_expires_seconds", Subject::certificate, "Time until a TLS certificate is no longer valid; negative when it is over"},
    {"container_cpu_ratio", Subject::container, "CPU time per second, in cores"},
    {"container_cpu_throttled_ratio", Subject::container, "Share of scheduling periods in which the CPU limit held it back"},
    {"container_cpu_used_ratio", Subject::container, "CPU used of its limit; without one, of the host's cores"},
    {"container_memory_bytes", Subject::container, "Memory charged to it, without inactive file cache"},
    {"container_memory_used_ratio", Subject::container, "Memory used of its limit; without one, of the host's memory"},
    {"container_pids", Subject::container, "Processes and threads in it"},
    {"host_clock_jump_seconds", Subject::none, "Largest step of the wall clock against the steady one within the last minute"},
    {"host_cpu_core_used_ratio", Subject::core, "Share of its time a core was not idle"},
    {"host_cpu_iowait_ratio", Subject::none, "Share of CPU time spent idle while I/O was pending"},
    {"host_cpu_steal_ratio", Subject::none, "Share of CPU time taken by the hypervisor"},
    {"host_cpu_used_ratio", Subject::none, "Share of CPU time that was neither idle nor iowait, over all cores"},
    {"host_disk_busy_ratio", Subject::device, "Share of time the device had I/O under way"},
    {"host_disk_free_bytes", Subject::mount, "Free for ordinary users"},
    {"host_disk_inodes_used_ratio", Subject::mount, "Inodes in use"},
    {"host_disk_latency_seconds", Subject::device, "Mean time of the I/O that ended in the interval"},
    {"host_disk_read_bytes_per_second", Subject::device, "Bytes read"},
    {"host_disk_used_ratio", Subject::mount, "Space in use, as df counts it"},
    {"host_disk_write_bytes_per_second", Subject::device, "Bytes written"},
    {"host_load_15m", Subject::none, "Load average of 15 minutes"},
    {"host_load_1m", Subject::none, "Load average of 1 minute"},
    {"host_load_5m", Subject::none, "Load average of 5 minutes"},
    {"host_memory_available_bytes", Subject::none, "MemAvailable"},
    {"host_memory_total_bytes", Subject::none, "MemTotal"},
    {"host_memory_used_bytes", Subject::none, "MemTotal less MemAvailable"},
    {"host_memory_used_ratio", Subject::none, "host_memory_used_bytes of host_memory_total_bytes"},
    {"host_network_errors_per_second", Subject::interface, "Errors and drops, both ways"},
    {"host_network_receive_bytes_per_second", Subject::interface, "Bytes received"},
    {"host_network_transmit_bytes_per_second", Subject::interface, "Bytes sent"},
    {"host_pressure_cpu_some_ratio", Subject::none, "Share of time some task waited for a CPU (PSI)"},
    {"host_pressure_io_full_ratio", Subject::none, "Share of time every non-idle task waited for I/O (PSI)"},
    {"host_pressure_io_some_ratio", Subject::none, "Share of time some task waited for I/O (PSI)"},
    {"host_pressure_memory_full_ratio", Subject::none, "Share of time every non-idle task waited for memory (PSI)"},
    {"host_pressure_memory_some_ratio", Subject::none, "Share of time some task waited for memory (PSI)"},
    {"host_processes", Subject::none, "Processes there are"},
    {"host_swap_used_bytes", Subject::none, "Swap in use"},
    {"host_swap_used_ratio", Subject::none, "Swap in use of all; 0 without swap"},
    {"host_temperature_celsius", Subject::zone, "Temperature of a thermal zone"},
    {"host_throttled", Subject::none, "1 while the firmware slows the CPU down or caps it (Raspberry Pi)"},
    {"host_undervoltage", Subject::none, "1 while the supply voltage is too low (Raspberry Pi)"},
    {"nodes_offline", Subject::none, "Nodes whose lease is over"},
    {"recording_backlog_segments", Subject::none, "Closed segments the recorder holds uncommitted"},
    {"recording_checkpoint_age_seconds", Subject::none,
     "Age of the oldest committed chunk no signed checkpoint covers; 0 when all are covered"},
    {"recording_gaps_recent", Subject::none, "Gaps recorded within the last 5 minutes"},
    {"recording_segment_lag_seconds", Subject::none, "Age of the oldest closed segment that is not committed; 0 without one"},
    {"recording_spool_bytes", Subject::none, "Bytes of spool files on disk"},
    {"recording_spool_growth_bytes", Subject::none, "How much the spool has grown since its smallest size within the last 5 minutes"},
    {"recording_stalled", Subject::none, "Active recordings whose recorder has been silent for a lease"},
    {"service_cpu_ratio", Subject::service, "CPU time per second of its process, in cores"},
    {"service_errors_per_second", Subject::service, "Requests answered with a status of 500 or more"},
    {"service_healthy", Subject::service, "1 while its /health says healthy"},
    {"service_memory_bytes", Subject::service, "Resident memory of its process"},
    {"service_open_files", Subject::service, "Open file descriptors of its process"},
    {"service_requests_per_second", Subject::service, "Requests finished"},
    {"service_scrape_seconds", Subject::service, "How long its /metrics took to answer"},
    {"service_up", Subject::service, "1 while its /metrics answers"},
    {"session_cpu_ratio", Subject::session, "CPU time per second of its processes, in cores"},
    {"session_frames_per_second", Subject::session, "Frames recorded"},
    {"session_memory_bytes", Subject::session, "Resident memory of its processes, summed"},
    {"session_memory_growth_bytes", Subject::session, "How much its memory has grown since its smallest size within the last 10 minutes"},
    {"session_processes", Subject::session, "Processes of it"},
    {"session_read_bytes_per_second", Subject::session, "Bytes its processes had fetched from disks"},
    {"session_receive_bytes_per_second", Subject::session, "Bytes from its RDP client"},
    {"session_transmit_bytes_per_second", Subject::session, "Bytes to its RDP client"},
    {"session_write_bytes_per_second", Subject::session, "Bytes its processes had sent to disks"},
    {"storage_errors_recent", Subject::none, "Failed writes and reads and corrupt chunks of session-storage within the last 5 minutes"},
});
static_assert(std::ranges::is_sorted(kMetrics, {}, &Metric::name));

}  // namespace

std::span<const Metric> catalogue() { return kMetrics; }

const Metric* find_metric(std::string_view name) {
  auto found = std::ranges::lower_bound(kMetrics, name, {}, &Metric::name);
  return found != kMetrics.end() && found->name == name ? &*found : nullptr;
}

const char* name(Subject subject) {
  switch (subject) {
    case Subject::none: return "none";
    case Subject::core: return "core";
    case Subject::mount: return "mount";
    case Subject::device: return "device";
    case Subject::interface: return "interface";
    case Subject::zone: return "zone";
    case Subject::container: return "container";
    case Subject::service: return "service";
    case Subject::session: return "session";
    case Subject::certificate: return "certificate";
  }
  return "none";
}

}  // namespace lucid::monitor
