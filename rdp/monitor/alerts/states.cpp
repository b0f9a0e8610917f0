#include "rdp/monitor/alerts/states.hpp"

namespace lucid::monitor {
namespace {

constexpr Move kMoves[kAllLives.size()][kAllSights.size()] = {
    //             beyond       between      clear          absent      gone           changed
    /* quiet   */ {Move::begin, Move::stay, Move::stay, Move::stay, Move::stay, Move::stay},
    /* pending */ {Move::stay, Move::drop, Move::drop, Move::stay, Move::drop, Move::drop},
    /* firing  */ {Move::stay, Move::stay, Move::resolve, Move::stay, Move::resolve, Move::resolve},
};

}  // namespace

Move next(Life life, Sight sight, bool held) {
  if (sight == Sight::beyond && held && life != Life::firing) return Move::fire;
  return kMoves[static_cast<std::size_t>(life)][static_cast<std::size_t>(sight)];
}

Sight sight(const Rule& rule, double value) {
  if (rule.above ? value > rule.threshold : value < rule.threshold) return Sight::beyond;
  return (rule.above ? value <= rule.clear : value >= rule.clear) ? Sight::clear : Sight::between;
}

}  // namespace lucid::monitor
