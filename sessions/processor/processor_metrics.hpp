// The service's metrics, by name. Any thread; lives as long as the Metrics it was made from. Stages are a closed list: no outside text becomes
// a label.
#pragma once

#include <string>

#include "lib/runtime/metrics.hpp"

namespace lucid::processor {

struct ProcessorMetrics {
  explicit ProcessorMetrics(runtime::Metrics& m)
      : chunks(m.counter("lucid_processor_chunks_total",
                         "Chunks committed: stored, in the tree, under a signed checkpoint, told to the pipeline")),
        plain_bytes(m.counter("lucid_processor_plain_bytes_total", "Bytes of records in the chunks committed")),
        stored_bytes(m.counter("lucid_processor_stored_bytes_total", "Bytes of the chunks committed, compressed and sealed")),
        opened_errors(errors(m, "opened")),
        encrypted_errors(errors(m, "encrypted")),
        stored_errors(errors(m, "stored")),
        committed_errors(errors(m, "committed")),
        compressed(seconds(m, "compressed")),
        encrypted(seconds(m, "encrypted")),
        hashed(seconds(m, "hashed")),
        stored(seconds(m, "stored")),
        committed(seconds(m, "committed")),
        segment_seconds(m.histogram("lucid_processor_segment_seconds", "From a segment's bytes to its confirmed commit")),
        sessions(m.gauge("lucid_processor_sessions", "Sessions whose chunks are being sealed: begun and not finished")),
        checkpoint_age_seconds(m.gauge("lucid_processor_checkpoint_age_seconds",
                                       "Age of the oldest stored chunk no signed checkpoint covers; 0 when all are covered")) {}

  runtime::Counter &chunks, &plain_bytes, &stored_bytes;
  runtime::Counter &opened_errors, &encrypted_errors, &stored_errors, &committed_errors;
  runtime::Histogram &compressed, &encrypted, &hashed, &stored, &committed, &segment_seconds;
  runtime::Gauge &sessions, &checkpoint_age_seconds;

 private:
  static runtime::Counter& errors(runtime::Metrics& m, const std::string& stage) {
    return m.counter("lucid_processor_errors_total", "Segments that failed, by the stage they failed at; they are sent again",
                     {{"stage", stage}});
  }
  static runtime::Histogram& seconds(runtime::Metrics& m, const std::string& stage) {
    return m.histogram("lucid_processor_stage_seconds", "Time a segment spent in a stage", {{"stage", stage}});
  }
};

}  // namespace lucid::processor
