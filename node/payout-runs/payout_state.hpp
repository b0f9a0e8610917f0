// The life of a payout as a table: which trigger leads from which state to which. Pure; any thread.
//   pending → processing → completed | failed; pending → cancelled; failed → pending by retry
#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace lucid::payout_runs {

enum class State { pending, processing, completed, failed, cancelled };
inline constexpr std::array kStates{State::pending, State::processing, State::completed, State::failed, State::cancelled};
const char* name(State state);
std::optional<State> state(std::string_view name);

enum class Trigger {
  claim,    // a batch has it
  confirm,  // the rail says it is paid, for good
  reject,   // the rail says it will not be paid, for good
  cancel,   // asked for
  retry,    // asked for, and the rail has not paid it
};
inline constexpr std::array kTriggers{Trigger::claim, Trigger::confirm, Trigger::reject, Trigger::cancel, Trigger::retry};
const char* name(Trigger trigger);

// The state after `trigger`, or nullopt: illegal.
std::optional<State> next(State state, Trigger trigger);

}  // namespace lucid::payout_runs
