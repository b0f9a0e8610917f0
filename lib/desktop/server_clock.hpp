// Maps the X server's 32-bit millisecond timestamps to Clock::steady_ms(). The two clocks differ by an offset that is
// known only between bounds: an event is never received before it happened, and a request sent at S and answered at R
// was stamped between them. Follows a suspend or a server restart of its clock through the next bound(). Pure; one
// thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace lucid::desktop {

class ServerClock {
 public:
  // The server stamped `timestamp` somewhere between `sent` and `received`.
  void bound(std::int64_t sent, std::uint32_t timestamp, std::int64_t received) {
    std::int64_t server = unwrap(timestamp);
    std::int64_t low = sent - server, high = received - server;
    offset_ = offset_ ? std::clamp(*offset_, low, high) : high;
  }
  // When the event stamped `timestamp` and received at `received` happened. Timestamp 0 ("now" in X) is `received`.
  std::int64_t to_steady(std::uint32_t timestamp, std::int64_t received) {
    if (timestamp == 0) return received;
    std::int64_t server = unwrap(timestamp);
    offset_ = offset_ ? std::min(*offset_, received - server) : received - server;
    return server + *offset_;
  }

 private:
  // 49.7 days of milliseconds fit 32 bits: the nearest value to the last one seen is meant.
  std::int64_t unwrap(std::uint32_t timestamp) {
    if (!last_) last_ = timestamp;
    std::int64_t value = *last_ + static_cast<std::int32_t>(timestamp - static_cast<std::uint32_t>(*last_));
    last_ = std::max(*last_, value);
    return value;
  }
  std::optional<std::int64_t> last_, offset_;
};

}  // namespace lucid::desktop
