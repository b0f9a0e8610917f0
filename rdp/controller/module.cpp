#include "rdp/controller/module.hpp"

#include "rdp/controller/http.hpp"
#include "rdp/controller/routing_key.hpp"

namespace lucid::controller {
namespace {

constexpr const char* kName = "session-controller";

Config read_config(const runtime::Settings& settings) {
  auto seconds = [&](const std::string& name) { return settings.integer("session-controller." + name) * 1000; };
  Config c;
  c.public_host = settings.text("session-controller.public_host");
  std::int64_t port = settings.integer("session-controller.public_port");
  c.public_port = static_cast<std::uint16_t>(port != 0 ? port : 3389 + settings.integer("port_offset"));
  c.max_sessions = static_cast<std::size_t>(settings.integer("session-controller.max_sessions"));
  c.max_sessions_per_user = static_cast<std::size_t>(settings.integer("session-controller.max_sessions_per_user"));
  c.token_ms = seconds("token_seconds");
  c.connect_timeout_ms = seconds("connect_timeout_seconds");
  c.disconnect_grace_ms = seconds("disconnect_grace_seconds");
  c.display_timeout_ms = seconds("display_timeout_seconds");
  c.recording_timeout_ms = seconds("recording_timeout_seconds");
  return c;
}

std::string make_directory(const runtime::Context& context) {
  std::string directory = context.data_dir + "/controller";
  context.files.make_directories(directory);
  return directory;
}

class Service final : public runtime::RunningService {
 public:
  explicit Service(const runtime::Context& context)
      : directory_(make_directory(context)),
        documents_(store::open_sqlite_documents(directory_ + "/controller.db")),
        peers_(context.client_for("rdp-server-manager", kName), context.client_for("session-pipeline", kName),
               context.client_for("session-recorder", kName), context.client_for("xrdp-integration", kName),
               context.client_for("node-management", kName)),
        controller_(read_config(context.settings), {.documents = *documents_,
                                                    .clock = context.clock,
                                                    .random = context.random,
                                                    .peers = peers_.peers(),
                                                    .metrics = context.metrics,
                                                    .key = routing_key(directory_ + "/routing.key", context.files, context.random)}) {
    controller_.open();
    server_ = runtime::serve_http(context, {.service = kName,
                                            .router = routes(controller_),
                                            .health = {{"peers",
                                                        [this]() -> std::optional<std::string> {
                                                          auto t = controller_.totals();
                                                          return t.problem.empty() ? std::nullopt : std::optional(t.problem);
                                                        }}},
                                            .authenticate = {},
                                            .worker_threads = 8});
  }
  void drain(std::chrono::milliseconds grace) override { server_->stop(grace); }

 private:
  const std::string directory_;
  std::unique_ptr<store::Documents> documents_;
  HttpPeers peers_;
  Controller controller_;
  std::unique_ptr<net::Server> server_;  // last: ends first, so no request outlives the controller
};

void declare(runtime::Settings& settings) {
  auto add = [&](const std::string& name, const std::string& environment, const std::string& fallback, const std::string& meaning,
                 std::int64_t min, std::int64_t max) {
    settings.declare({.name = "session-controller." + name,
                      .environment = environment,
                      .fallback = fallback,
                      .meaning = meaning,
                      .check = runtime::integer_between(min, max)});
  };
  settings.declare({.name = "session-controller.public_host",
                    .environment = "RDP_PUBLIC_HOST",
                    .fallback = "127.0.0.1",
                    .meaning = "Host name or address under which RDP clients reach the gateway",
                    .check = runtime::not_empty()});
  add("public_port", "RDP_PUBLIC_PORT", "0", "Port under which RDP clients reach the gateway; 0: 3389 plus port_offset", 0, 65'535);
  add("max_sessions", "MAX_SESSIONS", "50", "RDP sessions that may be live at the same time", 1, 10'000);
  add("max_sessions_per_user", "MAX_SESSIONS_PER_USER", "10", "RDP sessions one user may have at the same time", 1, 10'000);
  add("token_seconds", "ROUTING_TOKEN_SECONDS", "60", "Seconds from the offer of a routing token to its first use", 5, 60);
  add("connect_timeout_seconds", "CONNECT_TIMEOUT_SECONDS", "300", "Seconds a ready session waits for its first client", 5, 86'400);
  add("disconnect_grace_seconds", "DISCONNECT_GRACE_SECONDS", "60",
      "Seconds a client that left may take to come back before its session ends", 1, 86'400);
  add("display_timeout_seconds", "DISPLAY_TIMEOUT_SECONDS", "30", "Seconds an X display may take to come up", 1, 600);
  add("recording_timeout_seconds", "RECORDING_TIMEOUT_SECONDS", "10",
      "Seconds the first recorded frame may take; then the session fails, or goes on unrecorded where its policy says so", 1, 600);
}

}  // namespace

runtime::Module module() {
  return {.name = kName,
          .default_port = 8082,
          .starts_after = {"rdp-server-manager", "session-pipeline", "session-recorder"},
          .declare = declare,
          .start = [](const runtime::Context& context) -> std::unique_ptr<runtime::RunningService> {
            return std::make_unique<Service>(context);
          }};
}

}  // namespace lucid::controller
