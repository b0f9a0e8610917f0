#include "app/wiring/services.hpp"

#include <cstdio>
#include <exception>

#include <fmt/format.h>

#include "app/wiring/settings_flags.hpp"
#include "lib/runtime/version.hpp"

namespace lucid::app {
namespace {

constexpr int kUsage = 2;

std::string help(const std::string& service, const std::string& program) {
  return fmt::format(
      "{0} runs the service {1} of Lucid.\n\n"
      "Usage: {0} [--data DIR] [--config FILE] [--SETTING=VALUE ...]\n\n"
      "  --data DIR         data directory (LUCID_DATA, ./lucid-data)\n"
      "  --config FILE      settings, one \"name = value\" a line\n"
      "  --SETTING=VALUE    any setting; `lucid config --target {1}` lists them\n"
      "  --help, --version\n\n"
      "Example: {0} --data /var/lib/lucid --log_level=debug\n"
      "Exit codes: 0 stopped on request, 1 failed to start, 2 usage.\n",
      program, service);
}

}  // namespace

std::vector<runtime::Module> alone(runtime::Module module) {
  std::vector<runtime::Module> table;
  for (const ServiceName& service : kServices)
    if (module.name != service.name)
      table.push_back({.name = service.name, .default_port = service.port, .starts_after = {}, .declare = {}, .start = {}});
  table.push_back(std::move(module));
  return table;
}

int run_service(int argc, const char* const* argv, runtime::Module module) {
  runtime::ProcessOptions options;
  options.targets = {module.name};
  std::vector<std::string> arguments(argv + 1, argv + argc);
  try {
    for (const std::string& argument : arguments) {
      if (argument == "--help" || argument == "-h") return std::fputs(help(module.name, argv[0]).c_str(), stdout), 0;
      if (argument == "--version") return std::printf("%s %s\n", module.name.c_str(), runtime::version()), 0;
    }
    Flags flags = read_flags(arguments);
    options.flags = std::move(flags.settings);
    options.config_file = std::move(flags.config_file);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n", argv[0], e.what());
    return kUsage;
  }
  options.modules = alone(std::move(module));
  return runtime::run_process(std::move(options));
}

}  // namespace lucid::app
