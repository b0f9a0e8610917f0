// Settings: every module declares its own beside its code, with default, environment name, meaning and check. A value
// comes from flag > environment > file > default; unknown or malformed ones stop the start with one clear line.
// `lucid config --target=X` prints them all with their source. Read at start, then immutable; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/error.hpp"

namespace lucid::runtime {

struct Setting {
  std::string name;         // "session-recorder.spool_limit_mb"; flags are --session-recorder.spool_limit_mb=…
  std::string environment;  // "SPOOL_LIMIT_MB"; empty: none
  std::string fallback;     // as text
  std::string meaning;      // one sentence for people
  std::function<std::optional<std::string>(const std::string&)> check;  // reason when refused; may be empty
  bool secret = false;                                                  // printed as "***"
};

// Ready-made checks.
std::function<std::optional<std::string>(const std::string&)> integer_between(std::int64_t min, std::int64_t max);
std::function<std::optional<std::string>(const std::string&)> one_of(std::vector<std::string> words);
std::function<std::optional<std::string>(const std::string&)> not_empty();

class Settings {
 public:
  // Declared by each module before resolve(); a name declared twice is a bug (Error{internal}).
  void declare(Setting setting);
  // `flags`: name → value; `environment`: usually the process's; `file`: text of "name = value" lines ('#' comments).
  // Throws Error{invalid} naming the setting, where it came from and what is allowed.
  void resolve(const std::map<std::string, std::string>& flags, const std::function<const char*(const char*)>& environment,
               const std::optional<std::string>& file_text, const std::string& file_name);
  bool declared(const std::string& name) const;
  const std::string& text(const std::string& name) const;
  std::int64_t integer(const std::string& name) const;
  bool boolean(const std::string& name) const;  // "true"/"false"
  struct Shown {
    std::string name, value, source, environment, meaning;
  };
  std::vector<Shown> show() const;  // source: "flag", "environment", "file", "default"

 private:
  struct Entry {
    Setting setting;
    std::string value, source;
  };
  std::vector<Entry> entries_;
  std::map<std::string, std::size_t> index_;
};

}  // namespace lucid::runtime
