// The service's metrics, by name. Any thread; lives as long as the Metrics it was made from. Counters are there before the first event, so
// that their rise from 0 is seen.
#pragma once

#include "lib/runtime/metrics.hpp"

namespace lucid::server_manager {

struct ManagerMetrics {
  explicit ManagerMetrics(runtime::Metrics& m)
      : all(m),
        created_cold(created(m, "false")),
        created_warm(created(m, "true")),
        start_seconds(m.histogram("lucid_rdp_server_start_seconds", "From a start to an xrdp that answers TLS")),
        display_cold(display(m, "false")),
        display_warm(display(m, "true")),
        xrdp_restarts(m.counter("lucid_rdp_xrdp_restarts_total", "xrdp processes that ended by themselves and were started again")),
        sesman_restarts(m.counter("lucid_rdp_sesman_restarts_total", "xrdp-sesman processes that ended by themselves")),
        orphans_removed(m.counter("lucid_rdp_orphans_removed_total", "Leftovers without a document that were removed at a start")),
        warm(m.gauge("lucid_rdp_warm_servers", "Servers of the warm pool whose display is ready")),
        warm_wanted(m.gauge("lucid_rdp_warm_servers_wanted", "Servers the warm pool shall have")),
        servers_limit(m.gauge("lucid_rdp_servers_limit", "Servers that may exist at once, without those of the warm pool")),
        ports_in_use(m.gauge("lucid_rdp_ports_in_use", "Ports that xrdp processes have")),
        ports_resting(m.gauge("lucid_rdp_ports_resting", "Ports given back within the last minute, which are not given again yet")),
        ports_limit(m.gauge("lucid_rdp_ports_limit", "Ports there are for xrdp processes")),
        cgroups_writable(m.gauge("lucid_rdp_cgroups_writable", "1 when limits can be set")) {
    for (const char* cause : {"display_lost", "logged_out", "refused"}) displays_lost(cause);
  }

  // X sessions that ended while their server ran; causes are words of this service.
  runtime::Counter& displays_lost(const std::string& cause) {
    return all.counter("lucid_rdp_displays_lost_total", "X sessions that ended while their server ran", {{"cause", cause}});
  }
  runtime::Gauge& servers(const std::string& state) {
    return all.gauge("lucid_rdp_servers", "RDP servers by state, without those of the warm pool", {{"state", state}});
  }
  // Only where there is a certificate.
  runtime::Gauge& certificate_expiry() {
    return all.gauge("lucid_tls_certificate_expiry_timestamp_seconds", "When a TLS certificate is no longer valid, since the epoch",
                     {{"certificate", "rdp"}});
  }

  runtime::Metrics& all;
  runtime::Histogram &created_cold, &created_warm, &start_seconds, &display_cold, &display_warm;
  runtime::Counter &xrdp_restarts, &sesman_restarts, &orphans_removed;
  runtime::Gauge &warm, &warm_wanted, &servers_limit, &ports_in_use, &ports_resting, &ports_limit, &cgroups_writable;

 private:
  static runtime::Histogram& created(runtime::Metrics& m, const char* warm) {
    return m.histogram("lucid_rdp_server_create_seconds", "From a request to a configured server", {{"warm", warm}});
  }
  static runtime::Histogram& display(runtime::Metrics& m, const char* pool) {
    return m.histogram("lucid_rdp_display_seconds", "From a request to its X display (cold), or the making of a warm one",
                       {{"pool", pool}});
  }
};

}  // namespace lucid::server_manager
