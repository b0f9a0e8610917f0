// One recording in the pipeline's memory and its two documents: "recordings" (plan, state, history; changes rarely) and
// "progress" (counters; changes with every chunk). Guarded by `mutex`.
#pragma once

#include <mutex>

#include "sessions/pipeline/pipeline.hpp"

namespace lucid::pipeline {

inline constexpr const char* kRecordings = "recordings";
inline constexpr const char* kProgress = "progress";
inline constexpr std::size_t kMaxHistory = 200;

struct Pipeline::Recording {
  std::mutex mutex;
  contracts::RecordingPlan plan;
  State state = State::created;
  std::string cause;
  std::int64_t since_wall_ms = 0;
  json::array history;  // {at, from, to, trigger, cause}
  std::string holder;
  std::uint64_t fencing_token = 0;       // current
  std::uint64_t oldest_valid_token = 0;  // tokens below belong to a holder that was replaced
  bool finalised = false;
  bool removed = false;

  std::uint64_t next_sequence = 0, committed_bytes = 0, gaps = 0;
  std::int64_t last_commit_wall_ms = 0, duration_ms = 0;
  bool ended = false;

  StageStats stats;  // live values from here on
  std::uint64_t backlog = 0;
  std::int64_t last_beat_wall_ms = 0;
  std::string alarm;    // what the recorder says of itself, e.g. "disk_full"
  std::string failure;  // why the last chunk failed; cleared by the next commit
};

}  // namespace lucid::pipeline
