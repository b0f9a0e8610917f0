#include "node/management/states.hpp"

namespace lucid::node_management {

const char* name(Trigger trigger) {
  switch (trigger) {
    case Trigger::activate: return "activate";
    case Trigger::lease_over: return "lease_over";
    case Trigger::back: return "back";
    case Trigger::back_draining: return "back_draining";
    case Trigger::drain: return "drain";
    case Trigger::resume: return "resume";
    case Trigger::maintenance: return "maintenance";
    case Trigger::ban: return "ban";
    case Trigger::retire: return "retire";
  }
  return "?";
}

std::optional<State> next(State state, Trigger trigger) {
  struct Row {
    State from;
    Trigger trigger;
    State to;
  };
  static constexpr Row kNodeTable[] = {
      {State::pending, Trigger::activate, State::active},
      {State::active, Trigger::drain, State::draining},
      {State::draining, Trigger::resume, State::active},
      {State::active, Trigger::lease_over, State::offline},
      {State::draining, Trigger::lease_over, State::offline},
      {State::offline, Trigger::back, State::active},
      {State::offline, Trigger::back_draining, State::draining},
      {State::active, Trigger::maintenance, State::maintenance},
      {State::draining, Trigger::maintenance, State::maintenance},
      {State::offline, Trigger::maintenance, State::maintenance},
      {State::maintenance, Trigger::resume, State::active},
      {State::active, Trigger::ban, State::banned},
      {State::draining, Trigger::ban, State::banned},
      {State::offline, Trigger::ban, State::banned},
      {State::maintenance, Trigger::ban, State::banned},
      {State::active, Trigger::retire, State::retired},
      {State::draining, Trigger::retire, State::retired},
      {State::offline, Trigger::retire, State::retired},
      {State::maintenance, Trigger::retire, State::retired},
      {State::banned, Trigger::retire, State::retired},
  };
  for (const Row& row : kNodeTable)
    if (row.from == state && row.trigger == trigger) return row.to;
  return std::nullopt;
}

}  // namespace lucid::node_management
