// Command-line arguments of processes that run services: --data DIR, --config FILE and --setting=value. Pure; any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lucid::app {

struct Flags {
  std::map<std::string, std::string> settings;  // --data becomes data_dir
  std::optional<std::string> config_file;
};
// Throws Error{invalid} for anything that is none of them. Whether a setting exists is the settings' to say.
Flags read_flags(const std::vector<std::string>& arguments);

}  // namespace lucid::app
