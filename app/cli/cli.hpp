// The `lucid` command line: one file per group of commands, each adding its subcommands to the App. A command is a
// function that answers an exit code or throws lucid::Error, which becomes one line on stderr. Results go to stdout,
// progress and complaints to stderr, so that output can be piped. Main thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "app/cli/exit_code.hpp"
#include "lib/base/file_ops.hpp"

namespace lucid::cli {

// The world as commands see it; tests give their own.
struct Io {
  std::ostream& out;
  std::ostream& err;
  FileOps& files;
  std::function<const char*(const char*)> environment;
};

class Program {
 public:
  explicit Program(Io io);
  // Adds a subcommand with its one-line meaning, examples and the exit codes.
  CLI::App& command(const std::string& name, const std::string& meaning, const std::string& examples);
  // What runs when `command` was chosen.
  void action(CLI::App& command, std::function<int()> run);
  // Parses and runs: the exit code.
  int run(int argc, const char* const* argv);
  Io& io() { return io_; }
  CLI::App& app() { return app_; }

 private:
  Io io_;
  CLI::App app_;
};

// Commands that talk to a server or work on files.
void add_session_commands(Program& program);  // sessions start pause resume stop terminate delete
void add_record_command(Program& program);
void add_event_command(Program& program);
void add_frame_commands(Program& program);   // frame frames
void add_bundle_commands(Program& program);  // bundle verify
void add_health_command(Program& program);
void add_key_commands(Program& program);
void add_rdp_commands(Program& program);   // connect servers
void add_node_commands(Program& program);  // node nodes pools poot payouts statement
void add_top_command(Program& program);
void add_client_commands(Program& program);  // all of these

}  // namespace lucid::cli
