#include "app/cli/cli.hpp"

#include <fmt/format.h>

#include "lib/runtime/version.hpp"

namespace lucid::cli {

Program::Program(Io io)
    : io_(std::move(io)), app_("Lucid records desktops so that nothing is lost and nothing can be changed unseen.", "lucid") {
  app_.require_subcommand(1);
  app_.set_version_flag("--version", std::string("lucid ") + runtime::version());
  app_.footer(
      fmt::format("A client finds its server through --data DIR, else LUCID_URL and LUCID_TOKEN, else ./lucid-data.\n{}\n"
                  "`lucid COMMAND --help` shows examples.",
                  kExitCodes));
}

CLI::App& Program::command(const std::string& name, const std::string& meaning, const std::string& examples) {
  CLI::App* sub = app_.add_subcommand(name, meaning);
  sub->footer(fmt::format("Examples:\n{}\n\n{}", examples, kExitCodes));
  return *sub;
}

void Program::action(CLI::App& command, std::function<int()> run) {
  command.callback([this, run = std::move(run)] {
    int code = kFailed;
    try {
      code = run();
    } catch (const Error& e) {
      io_.err << "lucid: " << e.what() << '\n';
      code = exit_code(e);
    } catch (const std::exception& e) { io_.err << "lucid: " << e.what() << '\n'; }
    io_.out.flush();
    throw CLI::RuntimeError(code);
  });
}

int Program::run(int argc, const char* const* argv) {
  try {
    app_.parse(argc, argv);
  } catch (const CLI::RuntimeError& done) { return done.get_exit_code(); } catch (const CLI::Success& help) {  // --help, --version
    app_.exit(help, io_.out, io_.err);
    return kOk;
  } catch (const CLI::ParseError& e) {
    io_.err << "lucid: " << e.what() << " (see `lucid --help`)\n";
    return kUsage;
  }
  return kOk;
}

void add_client_commands(Program& program) {
  add_record_command(program);
  add_session_commands(program);
  add_event_command(program);
  add_frame_commands(program);
  add_bundle_commands(program);
  add_health_command(program);
  add_key_commands(program);
  add_rdp_commands(program);
  add_node_commands(program);
  add_top_command(program);
}

}  // namespace lucid::cli
