// The settings every process has, whatever its services, and the order in which modules start. Internal to lib/runtime; pure.
#pragma once

#include <string>
#include <vector>

#include "lib/runtime/service.hpp"

namespace lucid::runtime {

// The chosen rows of the table (all when `targets` is empty), each after those it starts after. Throws Error{invalid} for an unknown
// target, Error{internal} for a circle.
std::vector<const Module*> in_start_order(const std::vector<Module>& modules, const std::vector<std::string>& targets);

// "session-storage" → "SESSION_STORAGE"
std::string environment_prefix(const std::string& service);

// Declares the common settings, those of the targets, and the URLs of all.
void declare_all(Settings& settings, const ProcessOptions& options, const std::vector<const Module*>& targets);

// Where a service of the table is reached: its URL setting, else this machine at the port it was given (`bound`), else at the one it is
// set to.
std::string url_of_service(const Settings& settings, const std::vector<Module>& modules, const std::string& service,
                           std::optional<std::uint16_t> bound = {});

}  // namespace lucid::runtime
