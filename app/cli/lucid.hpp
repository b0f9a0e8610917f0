// The whole `lucid` executable: the services' commands (serve, config, fsck) and those of the client. Main thread.
#pragma once

namespace lucid::cli {

int run_lucid(int argc, const char* const* argv);

}  // namespace lucid::cli
