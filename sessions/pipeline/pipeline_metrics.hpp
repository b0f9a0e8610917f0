// The service's metrics, by name. Any thread; lives as long as the Metrics it was made from. States and stages are closed lists: no outside
// text becomes a label.
#pragma once

#include <array>

#include "lib/runtime/metrics.hpp"
#include "sessions/pipeline/stage_stats.hpp"
#include "sessions/pipeline/state_machine.hpp"

namespace lucid::pipeline {

struct PipelineMetrics {
  explicit PipelineMetrics(runtime::Metrics& m)
      : live(m.gauge("lucid_pipeline_live_recordings", "Recordings that are starting, active, paused or stopping")),
        stalled(m.gauge("lucid_pipeline_stalled_recordings", "Active recordings whose recorder has been silent for a lease")),
        backlog(m.gauge("lucid_pipeline_backlog_segments", "Segments that recorders hold uncommitted")),
        alarms(m.gauge("lucid_pipeline_alarmed_recordings", "Live recordings whose recorder reports an alarm or whose last chunk failed")),
        follow_ups(m.gauge("lucid_pipeline_waiting_follow_ups", "Recordings that another service has yet to be told about")),
        chunks(m.counter("lucid_pipeline_committed_chunks_total", "Chunks committed, in order")),
        bytes(m.counter("lucid_pipeline_committed_bytes_total", "Stored bytes of the chunks committed")),
        gaps(m.counter("lucid_pipeline_gaps_total", "Committed chunks that carry a gap record")),
        follow_up_retries(
            m.counter("lucid_pipeline_follow_up_retries_total", "Times another service could not be told and is told again")) {
    for (std::size_t i = 0; i < transitions.size(); ++i)
      transitions[i] = &m.counter("lucid_pipeline_transitions_total", "Changes of a recording's state, by the state reached",
                                  {{"to", contracts::name(static_cast<State>(i))}});
    for (std::size_t i = 0; i < retries.size(); ++i)
      retries[i] = &m.counter("lucid_pipeline_retries_total", "Chunks that failed and are sent again, by the stage they failed at",
                              {{"stage", name(static_cast<Stage>(i))}});
  }

  runtime::Gauge &live, &stalled, &backlog, &alarms, &follow_ups;
  runtime::Counter &chunks, &bytes, &gaps, &follow_up_retries;
  std::array<runtime::Counter*, 10> transitions{};
  std::array<runtime::Counter*, kStages> retries{};
};

}  // namespace lucid::pipeline
