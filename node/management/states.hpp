// The life of a node as a table: which trigger leads from which state to which. Pure; any thread.
//   pending → active ⇄ draining;  active | draining → offline (lease over) → back where it was
//   active | draining | offline → maintenance → active;  active | draining | offline | maintenance → banned;  all of these five → retired
#pragma once

#include <array>
#include <optional>

#include "lib/contracts/nodes.hpp"

namespace lucid::node_management {

using State = contracts::NodeState;
inline constexpr std::array kAllStates{State::pending,     State::active, State::draining, State::offline,
                                       State::maintenance, State::banned, State::retired};

enum class Trigger {
  activate,       // it signed its challenge
  lease_over,     // no heartbeat for a whole lease
  back,           // a heartbeat after that
  back_draining,  // the same of a node that was draining
  drain,          // asked for, as what follows
  resume,
  maintenance,
  ban,
  retire,
};
inline constexpr std::array kAllTriggers{Trigger::activate, Trigger::lease_over,  Trigger::back, Trigger::back_draining, Trigger::drain,
                                         Trigger::resume,   Trigger::maintenance, Trigger::ban,  Trigger::retire};
const char* name(Trigger trigger);

// The state after `trigger`, or nullopt: illegal.
std::optional<State> next(State state, Trigger trigger);
// It must beat within its lease, or it goes offline.
inline bool holds_lease(State s) { return s == State::active || s == State::draining; }
// Its heartbeats are accepted.
inline bool may_beat(State s) { return holds_lease(s) || s == State::offline || s == State::maintenance; }

}  // namespace lucid::node_management
