// The life of an alert as a table: what a tick's sight of its subject makes of it. Pure; any thread.
//   quiet → pending (the condition holds) → firing (it held long enough) → quiet;  pending → quiet when it stops holding before that
#pragma once

#include <array>

#include "rdp/monitor/alerts/alerts.hpp"

namespace lucid::monitor {

enum class Life { quiet, pending, firing };
inline constexpr std::array kAllLives{Life::quiet, Life::pending, Life::firing};

// What a tick shows of a rule's subject.
enum class Sight {
  beyond,   // a value past the threshold
  between,  // not past it, not yet at `clear`
  clear,    // at `clear` or better
  absent,   // no value this time
  gone,     // no value for so long that the subject is taken for gone
  changed,  // the rule is another one now, disabled or removed
};
inline constexpr std::array kAllSights{Sight::beyond, Sight::between, Sight::clear, Sight::absent, Sight::gone, Sight::changed};

enum class Move {
  stay,
  begin,    // quiet → pending
  drop,     // pending → quiet; nobody was told, so nobody is
  fire,     // quiet or pending → firing
  resolve,  // firing → quiet
};

// `held`: the condition has held for the rule's `for`. Only a value past the threshold begins or fires anything, and what is firing is ended
// by a value at `clear` or by the end of its subject or rule, never by one tick without a value.
Move next(Life life, Sight sight, bool held);

// Of a finite value.
Sight sight(const Rule& rule, double value);

}  // namespace lucid::monitor
