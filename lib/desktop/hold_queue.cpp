#include "lib/desktop/hold_queue.hpp"

#include <algorithm>

namespace lucid::desktop {

void HoldQueue::check(std::int64_t now) {
  if (last_check_ == now) return;
  last_check_ = now;
  if (!hides_input_(now)) return;
  last_hidden_ = now;
  for (Held& held : held_) held.masked = true;
}

void HoldQueue::push(std::int64_t at, std::int64_t now, std::uint32_t keycode, KeyEvent key, bool masked) {
  if (key.action != KeyAction::release) check(now);  // a release is as its press was
  bool hidden = last_hidden_ && at - *last_hidden_ <= kLookBackMs;
  held_.push_back({at, now, keycode, std::move(key), masked || hidden});
}

void HoldQueue::tick(std::int64_t now) {
  if (!held_.empty() && (!last_check_ || now - *last_check_ >= kCheckEarlyMs)) check(now);
}

DesktopEvent HoldQueue::let_go(Held held) {
  bool down = held.key.action != KeyAction::release;
  if (!down && masked_down_.erase(held.keycode) > 0) held.masked = true;
  if (down && held.masked) masked_down_.insert(held.keycode);
  if (held.masked) held.key = KeyEvent{held.key.action, 0, 0, true, {}};
  return {held.at, std::move(held.key)};
}

std::vector<DesktopEvent> HoldQueue::take(std::int64_t now) {
  std::vector<DesktopEvent> out;
  tick(now);
  if (last_check_ != now) return out;  // let go together with a check, not by a wake-up of its own
  while (!held_.empty() && now - held_.front().drained >= kHoldMs) {
    out.push_back(let_go(std::move(held_.front())));
    held_.pop_front();
  }
  return out;
}

std::vector<DesktopEvent> HoldQueue::take_all(std::int64_t now) {
  std::vector<DesktopEvent> out = take(now);
  for (Held& held : held_) {
    held.masked = true;
    out.push_back(let_go(std::move(held)));
  }
  held_.clear();
  return out;
}

std::optional<std::int64_t> HoldQueue::next_deadline() const {
  if (held_.empty()) return std::nullopt;
  return last_check_.value_or(held_.front().drained) + kCheckEveryMs;
}

}  // namespace lucid::desktop
