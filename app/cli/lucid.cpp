#include "app/cli/lucid.hpp"

#include <csignal>
#include <cstdlib>
#include <iostream>

#include "app/cli/cli.hpp"
#include "app/cli/serve_commands.hpp"

namespace lucid::cli {

int run_lucid(int argc, const char* const* argv) {
  // A closed pipe or connection is an error where it is met, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  Program program({.out = std::cout, .err = std::cerr, .files = system_files(), .environment = [](const char* name) -> const char* {
                     return std::getenv(name);
                   }});
  add_serve_commands(program);
  add_client_commands(program);
  return program.run(argc, argv);
}

}  // namespace lucid::cli
