#include "lib/runtime/log.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>

#include <unistd.h>

#include <boost/json/serialize.hpp>

#include "lib/base/bytes.hpp"
#include "lib/base/clock.hpp"
#include "lib/base/json.hpp"
#include "lib/net/trace.hpp"

namespace lucid::runtime {
namespace {

constexpr std::size_t kMaxValue = 8000;
std::atomic<Level> minimum_level = Level::info;
std::atomic<bool> as_json = true;

const char* word(Level level) {
  switch (level) {
    case Level::debug: return "debug";
    case Level::info: return "info";
    case Level::warn: return "warn";
    case Level::error: return "error";
  }
  return "info";
}

// What ties a line to the request being handled, as far as the line does not say it itself.
template <class F>
void each_field_of_request(std::initializer_list<LogField> given, F&& write) {
  const net::Trace& trace = net::current_trace();
  auto field = [&](std::string_view key, std::string_view value) {
    if (!value.empty() && std::none_of(given.begin(), given.end(), [&](const LogField& f) { return f.first == key; })) write(key, value);
  };
  field("request_id", trace.request_id);
  field("trace_id", net::trace_id_of(trace.traceparent));
}

// Quoted and escaped, so that no value can forge a line or a field.
std::string quoted(std::string_view text) { return json::serialize(json::string(to_utf8(text, kMaxValue))); }

}  // namespace

void configure_log(Level minimum, bool json) {
  minimum_level = minimum;
  as_json = json;
}

bool Log::enabled(Level level) { return level >= minimum_level.load(std::memory_order_relaxed); }

void Log::debug(std::string_view message, std::initializer_list<LogField> fields) const { write(Level::debug, message, fields); }
void Log::info(std::string_view message, std::initializer_list<LogField> fields) const { write(Level::info, message, fields); }
void Log::warn(std::string_view message, std::initializer_list<LogField> fields) const { write(Level::warn, message, fields); }
void Log::error(std::string_view message, std::initializer_list<LogField> fields) const { write(Level::error, message, fields); }

void Log::write(Level level, std::string_view message, std::initializer_list<LogField> fields) const {
  if (!enabled(level)) return;
  static const SystemClock clock;
  std::string time = to_rfc3339(clock.wall_ms());
  std::string line;
  if (as_json) {
    line.append("{\"time\":\"")
        .append(time)
        .append("\",\"level\":\"")
        .append(word(level))
        .append("\",\"service\":")
        .append(quoted(service_));
    line.append(",\"message\":").append(quoted(message));
    auto field = [&](std::string_view key, std::string_view value) {
      line.append(",").append(quoted(key)).append(":").append(quoted(value));
    };
    for (const auto& [key, value] : fields) field(key, value);
    each_field_of_request(fields, field);
    line.append("}\n");
  } else {
    std::string text = quoted(message);
    line.append(time).append(" ").append(word(level)).append(" ").append(service_).append(" ").append(text, 1, text.size() - 2);
    auto field = [&](std::string_view key, std::string_view value) { line.append(" ").append(key).append("=").append(quoted(value)); };
    for (const auto& [key, value] : fields) field(key, value);
    each_field_of_request(fields, field);
    line.append("\n");
  }
  // One write a line, so lines of different threads do not mix. A full or closed stderr must not stop the service.
  for (std::size_t at = 0; at < line.size();) {
    ssize_t n = ::write(STDERR_FILENO, line.data() + at, line.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    at += static_cast<std::size_t>(n);
  }
}

}  // namespace lucid::runtime
