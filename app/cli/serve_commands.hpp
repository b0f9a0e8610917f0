// Commands that need the services' own code: serve, config, fsck. Main thread.
#pragma once

#include "app/cli/cli.hpp"

namespace lucid::cli {

void add_serve_commands(Program& program);
void add_fsck_command(Program& program);

}  // namespace lucid::cli
