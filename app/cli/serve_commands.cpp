// lucid serve: all services, or some, in one process. lucid config: every setting with its source and meaning.
#include "app/cli/serve_commands.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "app/wiring/modules.hpp"
#include "app/wiring/settings_flags.hpp"
#include "lib/base/json.hpp"
#include "lib/crypto/key_store.hpp"

namespace lucid::cli {
namespace {

struct ServeOptions {
  std::string data, config_file;
  std::vector<std::string> targets;
  bool json = false;
};

runtime::ProcessOptions process_options(const ServeOptions& o, std::vector<std::string> rest) {
  if (!o.data.empty()) rest.push_back("--data=" + o.data);
  app::Flags flags = app::read_flags(rest);
  runtime::ProcessOptions options;
  options.modules = app::modules();
  for (const std::string& target : o.targets)
    if (target != "all") options.targets.push_back(target);
  options.flags = std::move(flags.settings);
  if (!o.config_file.empty()) options.config_file = o.config_file;
  return options;
}

int serve(Io& io, const ServeOptions& o, const std::vector<std::string>& rest) {
  runtime::ProcessOptions options = process_options(o, rest);
  std::string data = runtime::resolve_settings(options).text("data_dir");
  bool first_start = !io.files.exists(data + "/keys");
  options.ready = [&io, data, first_start] {
    if (!first_start) return;
    SystemRandom random;
    std::string token = crypto::KeyStore(data + "/keys", io.files, random).admin_token();
    io.out << fmt::format("First start: the admin token is {}\nIt is kept in {}/keys/admin.token (mode 0600).\n", token, data)
           << std::flush;
  };
  return runtime::run_process(std::move(options));
}

int config(Io& io, const ServeOptions& o, const std::vector<std::string>& rest) {
  auto shown = runtime::resolve_settings(process_options(o, rest)).show();
  if (o.json) {
    json::array all;
    for (const auto& s : shown)
      all.push_back(
          json::object{{"name", s.name}, {"value", s.value}, {"source", s.source}, {"environment", s.environment}, {"meaning", s.meaning}});
    io.out << json::serialize(all) << '\n';
    return kOk;
  }
  for (const auto& s : shown)
    io.out << fmt::format("# {}{}\n{} = {}   ({})\n\n", s.meaning, s.environment.empty() ? "" : " Environment: " + s.environment + ".",
                          s.name, s.value, s.source);
  return kOk;
}

void add_process_options(CLI::App& command, ServeOptions& o) {
  command.add_option("--data", o.data, "data directory (LUCID_DATA, ./lucid-data)")->type_name("DIR");
  command.add_option("--target", o.targets, "services, comma-separated; all when left out")->delimiter(',');
  command.add_option("--config", o.config_file, "settings, one \"name = value\" a line")->type_name("FILE");
  command.allow_extras();  // --setting=value
}

}  // namespace

void add_serve_commands(Program& program) {
  auto o = std::make_shared<ServeOptions>();
  CLI::App& run = program.command(
      "serve", "Run all services, or some, in this process until SIGINT or SIGTERM.",
      "  lucid serve --data /var/lib/lucid\n  lucid serve --target=session-storage,chunk-processor --config /etc/lucid.conf\n"
      "  LUCID_PORT_OFFSET=1000 lucid serve --data second --log_level=debug");
  add_process_options(run, *o);
  program.action(run, [&program, o, &run] { return serve(program.io(), *o, run.remaining()); });

  CLI::App& show = program.command("config", "Print every setting with its value, source and meaning.",
                                   "  lucid config\n  lucid config --target session-recorder\n  lucid config --json | jq -r '.[].name'");
  add_process_options(show, *o);
  show.add_flag("--json", o->json, "as JSON");
  program.action(show, [&program, o, &show] { return config(program.io(), *o, show.remaining()); });

  add_fsck_command(program);
}

}  // namespace lucid::cli
