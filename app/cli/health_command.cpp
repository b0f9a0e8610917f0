// lucid healthcheck: one question to a server, for containers and scripts.
#include <fmt/format.h>

#include "app/cli/cli.hpp"
#include "app/cli/server.hpp"

namespace lucid::cli {
namespace {

struct HealthOptions {
  ServerOption server;
  std::string url;
  int timeout = 3;
};

int healthcheck(Io& io, const HealthOptions& o) {
  try {
    net::ClientConfig config;
    config.base_url = o.url.empty() ? find_server(io, o.server, false).url : o.url;
    config.timeout = std::chrono::seconds(o.timeout);
    net::Client client(config);
    net::Call call;
    call.target = "/health";
    net::Response response = client.send(call);
    io.out << as_text(response.body) << '\n';
    return response.status == 200 ? kOk : kFailed;
  } catch (const Error& e) {
    io.err << "lucid: " << e.what() << '\n';
    return kFailed;
  }
}

}  // namespace

void add_health_command(Program& program) {
  auto o = std::make_shared<HealthOptions>();
  CLI::App& command = program.command("healthcheck", "Ask a server whether it is healthy: exits 0 when it is, else 1.",
                                      "  lucid healthcheck --data /var/lib/lucid\n  lucid healthcheck --url http://127.0.0.1:8086");
  o->server.add_to(command);
  command.add_option("--url", o->url, "address of any service");
  command.add_option("--timeout", o->timeout, "seconds")->check(CLI::Range(1, 60))->capture_default_str();
  program.action(command, [&program, o] { return healthcheck(program.io(), *o); });
}

}  // namespace lucid::cli
