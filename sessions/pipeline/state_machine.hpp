// The life of a recording as a table: which trigger leads from which state to which. Pure; any thread.
//   created → starting → active ⇄ (pausing →) paused → stopping → stopped → cleanup → destroyed
//   any live state → error; error → created (recover) or cleanup
#pragma once

#include <optional>

#include "lib/contracts/pipeline.hpp"

namespace lucid::pipeline {

using State = contracts::PipelineState;

enum class Trigger {
  start,        // asked for
  first_frame,  // the recorder has its first frame in the spool
  pause,        // asked for
  paused,       // the recorder has paused
  resume,       // asked for; the recorder has resumed
  stop,         // asked for
  ended,        // the chunk with the end record is committed, or nothing more can come
  fail,
  recover,
  cleanup,
  destroyed,
};
const char* name(Trigger trigger);

// The state after `trigger`, or nullopt: illegal.
std::optional<State> next(State state, Trigger trigger);
// Something may still be recorded or committed.
bool is_live(State state);

}  // namespace lucid::pipeline
