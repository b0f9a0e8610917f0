// Logging: one JSON object a line on stderr: time, level, service, message, and named fields. What is written while a request is
// handled also carries its request_id and, when it is part of a trace, trace_id. Secrets never go in. Any thread.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace lucid::runtime {

enum class Level { debug, info, warn, error };

using LogField = std::pair<std::string_view, std::string>;

// Process-wide minimum level and format ("json" or "text"); set once at start from LOG_LEVEL / DEBUG.
void configure_log(Level minimum, bool json);

class Log {
 public:
  explicit Log(std::string service) : service_(std::move(service)) {}
  void debug(std::string_view message, std::initializer_list<LogField> fields = {}) const;
  void info(std::string_view message, std::initializer_list<LogField> fields = {}) const;
  void warn(std::string_view message, std::initializer_list<LogField> fields = {}) const;
  void error(std::string_view message, std::initializer_list<LogField> fields = {}) const;
  // Whether lines of this level are written: asked before fields are costly to make.
  static bool enabled(Level level);

 private:
  void write(Level level, std::string_view message, std::initializer_list<LogField> fields) const;
  std::string service_;
};

}  // namespace lucid::runtime
