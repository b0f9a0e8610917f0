#include "sessions/pipeline/state_machine.hpp"

namespace lucid::pipeline {

const char* name(Trigger trigger) {
  switch (trigger) {
    case Trigger::start: return "start";
    case Trigger::first_frame: return "first_frame";
    case Trigger::pause: return "pause";
    case Trigger::paused: return "paused";
    case Trigger::resume: return "resume";
    case Trigger::stop: return "stop";
    case Trigger::ended: return "ended";
    case Trigger::fail: return "fail";
    case Trigger::recover: return "recover";
    case Trigger::cleanup: return "cleanup";
    case Trigger::destroyed: return "destroyed";
  }
  return "?";
}

std::optional<State> next(State state, Trigger trigger) {
  struct Row {
    State from;
    Trigger trigger;
    State to;
  };
  static constexpr Row kTable[] = {
      {State::created, Trigger::start, State::starting},
      {State::created, Trigger::cleanup, State::cleanup},  // never recorded, deleted
      {State::starting, Trigger::first_frame, State::active},
      {State::starting, Trigger::stop, State::stopping},
      {State::starting, Trigger::ended, State::stopped},  // the display died before start was answered
      {State::active, Trigger::pause, State::pausing},
      {State::active, Trigger::stop, State::stopping},
      {State::active, Trigger::ended, State::stopped},  // the display died
      {State::pausing, Trigger::paused, State::paused},
      {State::pausing, Trigger::stop, State::stopping},
      {State::pausing, Trigger::ended, State::stopped},
      {State::paused, Trigger::resume, State::active},
      {State::paused, Trigger::stop, State::stopping},
      {State::paused, Trigger::ended, State::stopped},
      {State::stopping, Trigger::ended, State::stopped},
      {State::stopped, Trigger::cleanup, State::cleanup},
      {State::error, Trigger::recover, State::created},
      {State::error, Trigger::cleanup, State::cleanup},
      {State::cleanup, Trigger::destroyed, State::destroyed},
  };
  if (trigger == Trigger::fail) return is_live(state) || state == State::created ? std::optional(State::error) : std::nullopt;
  for (const Row& row : kTable)
    if (row.from == state && row.trigger == trigger) return row.to;
  return std::nullopt;
}

bool is_live(State state) {
  return state == State::starting || state == State::active || state == State::pausing || state == State::paused ||
         state == State::stopping;
}

}  // namespace lucid::pipeline
