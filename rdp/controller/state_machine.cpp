#include "rdp/controller/state_machine.hpp"

namespace lucid::controller {

const char* name(Trigger trigger) {
  switch (trigger) {
    case Trigger::begin: return "begin";
    case Trigger::server_ready: return "server_ready";
    case Trigger::login_ready: return "login_ready";
    case Trigger::display: return "display";
    case Trigger::released: return "released";
    case Trigger::opened: return "opened";
    case Trigger::closed: return "closed";
    case Trigger::pause: return "pause";
    case Trigger::resume: return "resume";
    case Trigger::end: return "end";
    case Trigger::ended: return "ended";
    case Trigger::failed: return "failed";
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
      {State::requested, Trigger::begin, State::starting_server},
      {State::starting_server, Trigger::server_ready, State::waiting_display},
      {State::starting_server, Trigger::login_ready, State::ready},
      {State::waiting_display, Trigger::display, State::starting_recording},
      {State::starting_recording, Trigger::released, State::ready},
      {State::ready, Trigger::opened, State::connected},
      {State::connected, Trigger::closed, State::ready},
      {State::ready, Trigger::pause, State::paused},
      {State::connected, Trigger::pause, State::paused},
      {State::paused, Trigger::resume, State::ready},
      {State::ending, Trigger::ended, State::ended},
      {State::ending, Trigger::failed, State::failed},
  };
  if (trigger == Trigger::end) return is_over(state) || state == State::ending ? std::nullopt : std::optional(State::ending);
  for (const Row& row : kTable)
    if (row.from == state && row.trigger == trigger) return row.to;
  return std::nullopt;
}

bool is_over(State state) { return state == State::ended || state == State::failed; }
bool takes_clients(State state) { return state == State::ready || state == State::connected; }

}  // namespace lucid::controller
