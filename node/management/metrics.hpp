// Series of node-management. Any thread; made once.
#pragma once

#include <array>

#include "lib/runtime/metrics.hpp"

namespace lucid::node_management {

struct NodeMetrics {
  explicit NodeMetrics(runtime::Metrics& m)
      : beats(m.counter("lucid_nodes_heartbeats_total", "Heartbeats by outcome", {{"outcome", "accepted"}})),
        beats_forged(m.counter("lucid_nodes_heartbeats_total", "Heartbeats by outcome", {{"outcome", "forged"}})),
        beats_replayed(m.counter("lucid_nodes_heartbeats_total", "Heartbeats by outcome", {{"outcome", "replayed"}})),
        registrations(m.counter("lucid_nodes_registrations_total", "Registrations by step", {{"step", "registered"}})),
        activations(m.counter("lucid_nodes_registrations_total", "Registrations by step", {{"step", "activated"}})),
        leases_over(m.counter("lucid_nodes_leases_over_total", "Nodes that went offline because their lease was over")),
        placed(m.counter("lucid_nodes_placements_total", "Placements by outcome", {{"outcome", "placed"}})),
        not_placed(m.counter("lucid_nodes_placements_total", "Placements by outcome", {{"outcome", "no_node"}})),
        place_seconds(m.histogram("lucid_nodes_placement_seconds", "Seconds a placement took")),
        placements(m.gauge("lucid_nodes_placed_sessions", "Sessions placed on nodes")),
        open_epoch(m.gauge("lucid_nodes_open_epoch", "The epoch that is being measured")),
        epochs_closed(m.counter("lucid_nodes_epochs_closed_total", "Epochs closed")),
        close_seconds(
            m.histogram("lucid_nodes_epoch_close_seconds", "Seconds the close of an epoch took", {}, {0.01, 0.1, 0.5, 1, 5, 10, 30, 60})),
        receipts(m.counter("lucid_nodes_receipts_total", "Receipts made")),
        measure_failures(
            m.counter("lucid_nodes_hosting_failures_total", "Measurements of hosting that failed and are made up for by the next")) {
    static constexpr std::array kStateLabels{"pending", "active", "draining", "offline", "maintenance", "banned", "retired"};
    for (std::size_t i = 0; i < kStateLabels.size(); ++i)
      by_state[i] = &m.gauge("lucid_nodes_registered", "Nodes by state", {{"state", kStateLabels[i]}});
  }
  runtime::Counter &beats, &beats_forged, &beats_replayed, &registrations, &activations, &leases_over, &placed, &not_placed;
  runtime::Histogram& place_seconds;
  runtime::Gauge &placements, &open_epoch;
  runtime::Counter& epochs_closed;
  runtime::Histogram& close_seconds;
  runtime::Counter &receipts, &measure_failures;
  std::array<runtime::Gauge*, 7> by_state{};
};

}  // namespace lucid::node_management
