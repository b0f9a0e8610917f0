// Time as a parameter. Code that needs the time takes a Clock&, so tests move it by hand. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lucid {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::int64_t wall_ms() const = 0;    // milliseconds since 1970-01-01T00:00:00Z; may jump
  virtual std::int64_t steady_ms() const = 0;  // milliseconds of CLOCK_BOOTTIME: never jumps, same for all processes of one boot
};

class SystemClock final : public Clock {
 public:
  std::int64_t wall_ms() const override;
  std::int64_t steady_ms() const override;
};

class ManualClock final : public Clock {
 public:
  explicit ManualClock(std::int64_t wall_ms = 1'700'000'000'000) : wall_(wall_ms) {}
  std::int64_t wall_ms() const override { return wall_; }
  std::int64_t steady_ms() const override { return steady_; }
  void advance(std::int64_t ms) {
    wall_ += ms;
    steady_ += ms;
  }

 private:
  std::atomic<std::int64_t> wall_;
  std::atomic<std::int64_t> steady_{1'000'000};
};

// "2026-11-22T01:35:26.123Z" (RFC 3339, UTC, milliseconds) and back.
std::string to_rfc3339(std::int64_t wall_ms);
std::optional<std::int64_t> from_rfc3339(std::string_view text);

}  // namespace lucid
