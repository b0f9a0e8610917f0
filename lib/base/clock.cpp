#include "lib/base/clock.hpp"

#include <ctime>

#include <fmt/format.h>

namespace lucid {
namespace {

std::int64_t read_ms(clockid_t id) {
  timespec ts{};
  clock_gettime(id, &ts);
  return static_cast<std::int64_t>(ts.tv_sec) * 1000 + ts.tv_nsec / 1'000'000;
}

// Exactly `n` digits at `at`, advancing it; -1 otherwise.
int digits(std::string_view s, std::size_t& at, int n) {
  int v = 0;
  for (int i = 0; i < n; ++i, ++at) {
    if (at >= s.size() || s[at] < '0' || s[at] > '9') return -1;
    v = v * 10 + (s[at] - '0');
  }
  return v;
}

}  // namespace

std::int64_t SystemClock::wall_ms() const { return read_ms(CLOCK_REALTIME); }
std::int64_t SystemClock::steady_ms() const { return read_ms(CLOCK_BOOTTIME); }

std::string to_rfc3339(std::int64_t wall_ms) {
  std::int64_t seconds = wall_ms / 1000, ms = wall_ms % 1000;
  if (ms < 0) {
    ms += 1000;
    --seconds;
  }
  std::time_t t = static_cast<std::time_t>(seconds);
  std::tm tm{};
  gmtime_r(&t, &tm);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                     tm.tm_sec, ms);
}

std::optional<std::int64_t> from_rfc3339(std::string_view s) {
  std::size_t at = 0;
  auto expect = [&](char c) { return at < s.size() && s[at++] == c; };
  std::tm tm{};
  tm.tm_year = digits(s, at, 4) - 1900;
  if (tm.tm_year < -1900 || !expect('-')) return std::nullopt;
  tm.tm_mon = digits(s, at, 2) - 1;
  if (!expect('-')) return std::nullopt;
  tm.tm_mday = digits(s, at, 2);
  if (!expect('T')) return std::nullopt;
  tm.tm_hour = digits(s, at, 2);
  if (!expect(':')) return std::nullopt;
  tm.tm_min = digits(s, at, 2);
  if (!expect(':')) return std::nullopt;
  tm.tm_sec = digits(s, at, 2);
  std::int64_t ms = 0;
  if (at < s.size() && s[at] == '.') {
    ++at;
    int scale = 100;
    bool any = false;
    for (; at < s.size() && s[at] >= '0' && s[at] <= '9'; ++at, scale /= 10) {
      ms += scale * (s[at] - '0');
      any = true;
    }
    if (!any) return std::nullopt;
  }
  if (at + 1 != s.size() || s[at] != 'Z') return std::nullopt;
  if (tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 ||
      tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60)
    return std::nullopt;
  std::tm check = tm;
  std::time_t t = timegm(&check);
  if (check.tm_mday != tm.tm_mday) return std::nullopt;  // 31 February
  return static_cast<std::int64_t>(t) * 1000 + ms;
}

}  // namespace lucid
