// A cursor over a Prometheus text exposition: names first, so that who wants ten series of a thousand parses ten. Nothing is copied. Private to
// the readings; parse_exposition() (services.hpp) gives all samples as values. Any thread. Source: Prometheus text exposition format 0.0.4.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.hpp"
#include "rdp/monitor/readings/services.hpp"

namespace lucid::monitor {

inline constexpr std::size_t kMaxExposition = 4 << 20, kMaxSamples = 100'000, kMaxLabels = 64;

class ExpositionCursor {
 public:
  explicit ExpositionCursor(std::string_view text) : text_(text) {}
  // Goes to the next sample line; false at the end. Only its name has been looked at then.
  bool next();
  std::string_view name() const { return name_; }
  std::size_t line() const { return line_; }
  // The rest of the line. False: it is malformed, problem() says how.
  bool parse(Sample& sample);
  const char* problem() const { return problem_; }

 private:
  bool parse_labels(Sample& sample);
  bool parse_value(std::string_view rest, double& value);
  bool wrong(const char* what) {
    problem_ = what;
    return false;
  }
  std::string_view text_, name_, rest_;  // rest_: of the line, after the name
  std::size_t line_ = 0;
  const char* problem_ = "";
};

// "line 17: …"
Error exposition_error(const ExpositionCursor& at);

}  // namespace lucid::monitor
