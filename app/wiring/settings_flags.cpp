#include "app/wiring/settings_flags.hpp"

#include <fmt/format.h>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"

namespace lucid::app {
namespace {

Error wrong(const std::string& argument, const char* why) {
  return Error(ErrorKind::invalid, fmt::format("{} {}", to_utf8(argument, 100), why));
}

}  // namespace

Flags read_flags(const std::vector<std::string>& arguments) {
  Flags flags;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    std::size_t equals = argument.find('=');
    std::string name = argument.substr(0, equals);
    if (!name.starts_with("--") || name.size() < 3) throw wrong(argument, "is not understood: settings are given as --name=value");
    name.erase(0, 2);
    std::string value;
    if (equals != std::string::npos)
      value = argument.substr(equals + 1);
    else if (name == "data" || name == "config") {
      if (i + 1 == arguments.size()) throw wrong(argument, "needs a value");
      value = arguments[++i];
    } else {
      throw wrong(argument, "needs a value: --name=value");
    }
    if (name == "config")
      flags.config_file = value;
    else if (!flags.settings.emplace(name == "data" ? "data_dir" : name, value).second)
      throw wrong(argument, "is given twice");
  }
  return flags;
}

}  // namespace lucid::app
