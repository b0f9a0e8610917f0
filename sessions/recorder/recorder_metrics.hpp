// The service's metrics, by name. Any thread; lives as long as the Metrics it was made from.
#pragma once

#include "lib/runtime/metrics.hpp"

namespace lucid::recorder {

struct RecorderMetrics {
  explicit RecorderMetrics(runtime::Metrics& m)
      : frames(m.counter("lucid_recorder_frames_total", "Frames recorded")),
        events(m.counter("lucid_recorder_events_total", "Input, window, process and clipboard events recorded")),
        masked_keys(m.counter("lucid_recorder_masked_keys_total", "Key events recorded without what was typed")),
        picture_bytes(m.counter("lucid_recorder_picture_bytes_total", "Bytes of picture records before compression")),
        missed_damage_pixels(m.counter("lucid_recorder_missed_damage_pixels_total",
                                       "Changed pixels the X server had not reported, found by full comparison")),
        segments(m.counter("lucid_recorder_segments_total", "Segments closed")),
        committed(m.counter("lucid_recorder_committed_segments_total", "Segments the processor has committed")),
        gaps(m.counter("lucid_recorder_gaps_total", "Gap records written")),
        grab_seconds(m.histogram("lucid_recorder_grab_seconds", "Fetching changed pixels from the X server, per frame")),
        encode_seconds(m.histogram("lucid_recorder_encode_seconds", "Comparing and encoding, per frame")),
        recordings(m.gauge("lucid_recorder_recordings", "Recordings this recorder holds")),
        backlog(m.gauge("lucid_recorder_backlog_segments", "Closed segments not committed yet")),
        oldest_segment_age_seconds(
            m.gauge("lucid_recorder_oldest_segment_age_seconds", "Age of the oldest closed segment that is not committed; 0 without one")),
        spool_bytes(m.gauge("lucid_recorder_spool_bytes", "Bytes of spool files on disk")),
        memory_bytes(m.gauge("lucid_recorder_memory_bytes", "Bytes of batches that could not be written to disk")) {}

  runtime::Counter &frames, &events, &masked_keys, &picture_bytes, &missed_damage_pixels, &segments, &committed, &gaps;
  runtime::Histogram &grab_seconds, &encode_seconds;
  runtime::Gauge &recordings, &backlog, &oldest_segment_age_seconds, &spool_bytes, &memory_bytes;
};

}  // namespace lucid::recorder
