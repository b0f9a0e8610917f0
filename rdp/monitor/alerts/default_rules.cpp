// Documented in docs/operations/alerts.md, which a test holds against this table.
#include "rdp/monitor/alerts/alerts.hpp"

namespace lucid::monitor {
namespace {

struct Preset {
  const char* name;
  const char* metric;
  bool above;
  double threshold, clear;
  int for_seconds;
  Severity severity;
  const char* summary;
};

constexpr bool kAbove = true, kBelow = false;
constexpr auto kWarning = Severity::warning, kCritical = Severity::critical;
constexpr double kMebibyte = 1 << 20, kDay = 86'400;

constexpr Preset kPresets[] = {
    {"host_cpu_high", "host_cpu_used_ratio", kAbove, 0.8, 0.7, 120, kWarning,
     "The host's CPUs are {value} busy: `lucid top` shows which sessions and services use them."},
    {"host_memory_high", "host_memory_used_ratio", kAbove, 0.8, 0.75, 60, kWarning,
     "{value} of the host's memory is in use: look for a session or container that grows before the kernel ends one."},
    {"host_swap_high", "host_swap_used_ratio", kAbove, 0.8, 0.6, 300, kWarning,
     "{value} of swap is in use: more memory is wanted than there is; end sessions or lower how many may run."},
    {"disk_filling", "host_disk_used_ratio", kAbove, 0.9, 0.88, 0, kWarning,
     "The disk at {subject} is {value} full: free space or shorten the retention of recordings."},
    {"disk_full", "host_disk_used_ratio", kAbove, 0.95, 0.93, 0, kCritical,
     "The disk at {subject} is {value} full: recordings stop when it is full; free space now."},
    {"disk_inodes_high", "host_disk_inodes_used_ratio", kAbove, 0.9, 0.88, 0, kWarning,
     "{value} of the inodes at {subject} are in use: look for a directory with very many small files."},
    {"temperature_high", "host_temperature_celsius", kAbove, 75, 70, 60, kWarning,
     "Thermal zone {subject} is at {value}: check fan, airflow and load before the CPU is slowed down."},
    {"temperature_critical", "host_temperature_celsius", kAbove, 82, 77, 10, kCritical,
     "Thermal zone {subject} is at {value}: the CPU is slowed down or shut off near this; cool the host or move sessions away."},
    {"host_throttled", "host_throttled", kAbove, 0, 0, 10, kWarning,
     "The firmware slows the CPU down: check temperature and power supply."},
    {"host_undervoltage", "host_undervoltage", kAbove, 0, 0, 0, kWarning,
     "The supply voltage is too low, which can corrupt storage: check power supply and cable."},
    {"pressure_memory", "host_pressure_memory_some_ratio", kAbove, 0.1, 0.05, 60, kWarning,
     "Tasks wait for memory {value} of the time: look at memory and swap of host and containers."},
    {"pressure_memory_full", "host_pressure_memory_full_ratio", kAbove, 0.05, 0.02, 10, kCritical,
     "Everything stands still for lack of memory {value} of the time: end the largest session or container."},
    {"pressure_io_full", "host_pressure_io_full_ratio", kAbove, 0.2, 0.1, 60, kWarning,
     "Everything waits for disks {value} of the time: look at disk latency and at who reads and writes."},
    {"pressure_cpu", "host_pressure_cpu_some_ratio", kAbove, 0.6, 0.5, 300, kWarning,
     "Tasks wait for a CPU {value} of the time: fewer sessions per host or more cores."},
    {"clock_jump", "host_clock_jump_seconds", kAbove, 1, 0.5, 0, kWarning,
     "The wall clock was moved by {value}: check time synchronisation; times of records around it are not comparable."},
    {"service_down", "service_up", kBelow, 1, 1, 10, kCritical,
     "Service {subject} does not answer: see its log and whether its process or container runs."},
    {"service_unhealthy", "service_healthy", kBelow, 1, 1, 20, kWarning,
     "Service {subject} is not healthy: its /health names the dependency that fails."},
    {"recording_segment_lag", "recording_segment_lag_seconds", kAbove, 2, 1, 5, kCritical,
     "A closed segment of a recording is {value} old and not committed: look at chunk-processor, session-storage and their disk."},
    {"recording_gap", "recording_gaps_recent", kAbove, 0, 0, 0, kWarning,
     "{value} gaps were recorded within 5 minutes: the recorder lost sight of a display; see its log for which."},
    {"recording_stalled", "recording_stalled", kAbove, 0, 0, 0, kCritical,
     "{value} active recordings have a silent recorder: check whether session-recorder runs and reaches session-pipeline."},
    {"recording_backlog", "recording_backlog_segments", kAbove, 20, 10, 10, kWarning,
     "The recorder holds {value} segments uncommitted: look at chunk-processor and session-storage."},
    {"recording_spool_growing", "recording_spool_growth_bytes", kAbove, 256 * kMebibyte, 128 * kMebibyte, 0, kWarning,
     "The spool has grown by {value} within 5 minutes: segments are made faster than stored; look at chunk-processor and storage."},
    {"recording_checkpoint_late", "recording_checkpoint_age_seconds", kAbove, 30, 10, 0, kWarning,
     "A stored chunk has waited {value} for a signed checkpoint: look at chunk-processor and its signing key."},
    {"storage_errors", "storage_errors_recent", kAbove, 0, 0, 0, kCritical,
     "{value} writes or reads of session-storage failed within 5 minutes: check its disk and its log."},
    {"node_offline", "nodes_offline", kAbove, 0, 0, 0, kWarning,
     "{value} nodes sent no heartbeat for a whole lease: GET /api/v1/nodes names them; check their host and network."},
    {"certificate_expiring", "certificate_expires_seconds", kBelow, 14 * kDay, 14 * kDay, 0, kWarning,
     "The certificate {subject} is valid for {value} more: renew it."},
    {"certificate_expired_soon", "certificate_expires_seconds", kBelow, 2 * kDay, 2 * kDay, 0, kCritical,
     "The certificate {subject} is valid for {value} more: clients are refused after that; renew it now."},
    {"session_memory_growth", "session_memory_growth_bytes", kAbove, 1'024 * kMebibyte, 256 * kMebibyte, 0, kWarning,
     "Session {subject} has grown by {value} within 10 minutes: look for a leaking program in it."},
};

}  // namespace

std::vector<Rule> default_rules() {
  std::vector<Rule> out;
  for (const Preset& p : kPresets) {
    Rule r;
    r.name = p.name;
    r.metric = p.metric;
    r.above = p.above;
    r.threshold = p.threshold;
    r.clear = p.clear;
    r.for_ms = p.for_seconds * 1'000;
    r.severity = p.severity;
    r.summary = p.summary;
    r.built_in = true;
    out.push_back(std::move(r));
  }
  return out;
}

}  // namespace lucid::monitor
