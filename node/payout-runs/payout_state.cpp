#include "node/payout-runs/payout_state.hpp"

namespace lucid::payout_runs {

const char* name(State state) {
  switch (state) {
    case State::pending: return "pending";
    case State::processing: return "processing";
    case State::completed: return "completed";
    case State::failed: return "failed";
    case State::cancelled: return "cancelled";
  }
  return "?";
}

std::optional<State> state(std::string_view text) {
  for (State s : kStates)
    if (text == name(s)) return s;
  return std::nullopt;
}

const char* name(Trigger trigger) {
  switch (trigger) {
    case Trigger::claim: return "claim";
    case Trigger::confirm: return "confirm";
    case Trigger::reject: return "reject";
    case Trigger::cancel: return "cancel";
    case Trigger::retry: return "retry";
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
      {State::pending, Trigger::claim, State::processing},     {State::pending, Trigger::cancel, State::cancelled},
      {State::processing, Trigger::confirm, State::completed}, {State::processing, Trigger::reject, State::failed},
      {State::failed, Trigger::retry, State::pending},
  };
  for (const Row& row : kTable)
    if (row.from == state && row.trigger == trigger) return row.to;
  return std::nullopt;
}

}  // namespace lucid::payout_runs
