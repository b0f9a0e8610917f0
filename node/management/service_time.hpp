// The time epochs are counted by: the wall clock as it was at the start, carried on by the steady clock. Corrections of up to 5 s are followed
// at once; a jump is followed only when it has lasted ten minutes (a machine that learns the time after its start), and is reported meanwhile. So
// nobody closes an epoch, or opens one again, by turning the clock for a moment. Any thread; follow() by one.
#pragma once

#include <atomic>
#include <cstdlib>

#include "lib/base/clock.hpp"

namespace lucid::node_management {

class ServiceTime {
 public:
  static constexpr std::int64_t kFollowedMs = 5'000, kBelievedAfterMs = 600'000;
  explicit ServiceTime(const Clock& clock) : clock_(clock), offset_(clock.wall_ms() - clock.steady_ms()) {}
  std::int64_t steady_ms() const { return clock_.steady_ms(); }
  std::int64_t wall_ms() const { return clock_.steady_ms() + offset_; }
  // Called about once a second.
  void follow() {
    std::int64_t now = clock_.steady_ms(), offset = clock_.wall_ms() - now;
    if (std::llabs(offset - offset_) <= kFollowedMs) {
      offset_ = offset;
      jump_ = 0;
      return;
    }
    if (jump_ == 0 || std::llabs(offset - jumped_to_) > kFollowedMs) {
      jumped_to_ = offset;
      since_ = now;
    }
    jump_ = offset - offset_;
    if (now - since_ >= kBelievedAfterMs) {
      offset_ = offset;
      jump_ = 0;
    }
  }
  std::int64_t jump_ms() const { return jump_; }  // the wall clock's distance that is not believed yet; 0: none

 private:
  const Clock& clock_;
  std::atomic<std::int64_t> offset_, jump_{0};
  std::int64_t jumped_to_ = 0, since_ = 0;
};

}  // namespace lucid::node_management
