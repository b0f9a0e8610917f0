#include "rdp/monitor/readings/service_figures.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "lib/base/bytes.hpp"
#include "rdp/monitor/readings/exposition.hpp"

namespace lucid::monitor {
namespace {

enum class Series {
  build,
  backlog,
  gaps,
  oldest,
  spool,
  requests,
  stalled,
  checkpoint,
  corrupt,
  storage_errors,
  nodes,
  certificate,
  cpu,
  files,
  memory,
  start
};
struct Wanted {
  std::string_view name;
  Series series;
};
// Sorted by name.
constexpr auto kWanted = std::to_array<Wanted>({{"lucid_build_info", Series::build},
                                                {"lucid_http_requests_total", Series::requests},
                                                {"lucid_nodes_registered", Series::nodes},
                                                {"lucid_pipeline_stalled_recordings", Series::stalled},
                                                {"lucid_processor_checkpoint_age_seconds", Series::checkpoint},
                                                {"lucid_recorder_backlog_segments", Series::backlog},
                                                {"lucid_recorder_gaps_total", Series::gaps},
                                                {"lucid_recorder_oldest_segment_age_seconds", Series::oldest},
                                                {"lucid_recorder_spool_bytes", Series::spool},
                                                {"lucid_storage_corrupt_chunks_total", Series::corrupt},
                                                {"lucid_storage_errors_total", Series::storage_errors},
                                                {"lucid_tls_certificate_expiry_timestamp_seconds", Series::certificate},
                                                {"process_cpu_seconds_total", Series::cpu},
                                                {"process_open_fds", Series::files},
                                                {"process_resident_memory_bytes", Series::memory},
                                                {"process_start_time_seconds", Series::start}});
static_assert(std::ranges::is_sorted(kWanted, {}, &Wanted::name));

constexpr std::size_t kMaxCertificates = 64;

std::string_view label_of(const Sample& sample, const char* label) {
  auto found = sample.labels.find(label);
  return found == sample.labels.end() ? std::string_view{} : std::string_view(found->second);
}

void take(ServiceFigures& f, Series series, const Sample& sample) {
  auto add = [&](std::optional<double>& sum) {
    if (std::isfinite(sample.value)) sum = sum.value_or(0) + sample.value;
  };
  switch (series) {
    case Series::build: f.version = to_utf8(label_of(sample, "version"), 64); break;
    case Series::requests:
      if (!std::isfinite(sample.value)) break;
      f.requests += sample.value;
      if (label_of(sample, "status").starts_with('5')) f.errors += sample.value;
      break;
    case Series::nodes:
      if (label_of(sample, "state") == "offline") add(f.nodes_offline);
      break;
    case Series::certificate:
      if (std::isfinite(sample.value) && f.certificates.size() < kMaxCertificates)
        f.certificates.emplace_back(to_utf8(label_of(sample, "certificate"), 128), sample.value);
      break;
    case Series::backlog: add(f.backlog_segments); break;
    case Series::gaps: add(f.gaps); break;
    case Series::oldest: add(f.oldest_segment_s); break;
    case Series::spool: add(f.spool_bytes); break;
    case Series::stalled: add(f.stalled); break;
    case Series::checkpoint: add(f.checkpoint_age_s); break;
    case Series::corrupt:
    case Series::storage_errors: add(f.storage_errors); break;
    case Series::cpu: add(f.cpu_seconds); break;
    case Series::files: add(f.open_files); break;
    case Series::memory: add(f.resident_bytes); break;
    case Series::start: add(f.started_s); break;
  }
}

}  // namespace

Expected<ServiceFigures> read_figures(std::string_view exposition) {
  ServiceFigures figures;
  Sample sample;
  for (ExpositionCursor cursor(exposition); cursor.next();) {
    auto wanted = std::ranges::lower_bound(kWanted, cursor.name(), {}, &Wanted::name);
    if (wanted == kWanted.end() || wanted->name != cursor.name()) continue;
    if (!cursor.parse(sample)) return std::unexpected(exposition_error(cursor));
    take(figures, wanted->series, sample);
  }
  return figures;
}

}  // namespace lucid::monitor
