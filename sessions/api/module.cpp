#include "sessions/api/module.hpp"

#include "sessions/api/config.hpp"
#include "sessions/api/http.hpp"

namespace lucid::api {
namespace {

constexpr const char* kName = "session-api";

json::object public_keys(const crypto::KeyStore& keys) {
  return {{"checkpoint_public", keys.checkpoint_public().text()},
          {"playback_public", keys.playback_public().text()},
          {"playback_fingerprint", keys.playback_public().fingerprint()},
          {"spool_public", keys.spool_public().text()},
          {"spool_fingerprint", keys.spool_public().fingerprint()}};
}

// Asks the dependency whether it is alive; the short deadline keeps /health within a second.
runtime::HealthCheck dependency(const runtime::Context& context, const std::string& service) {
  std::shared_ptr<net::Client> http = context.client_for(service, kName);
  return {service, [http, service]() -> std::optional<std::string> {
            net::Call call;
            call.target = "/version";
            call.timeout = std::chrono::milliseconds(800);
            try {
              http->expect(call);
              return std::nullopt;
            } catch (const Error& e) { return e.what(); }
          }};
}

// Until people can log in, the only way in is the admin token, and that does not leave the machine.
void refuse_other_machines(const runtime::Settings& settings) {
  const std::string& host = settings.text("host");
  if (host == "localhost" || host == "::1" || host.starts_with("127.")) return;
  throw Error(ErrorKind::invalid, "not_loopback", "it listens on loopback only, not on host " + host);
}

std::unique_ptr<store::Documents> open_documents(const runtime::Context& context) {
  refuse_other_machines(context.settings);
  context.files.make_directories(context.data_dir + "/api");
  return store::open_sqlite_documents(context.data_dir + "/api/api.db");
}

class Service final : public runtime::RunningService {
 public:
  explicit Service(const runtime::Context& context)
      : documents_(open_documents(context)),
        processor_(std::make_shared<contracts::ProcessorClient>(context.client_for("chunk-processor", kName))),
        storage_(std::make_shared<contracts::StorageClient>(context.client_for("session-storage", kName))),
        recordings_(storage_, context.keys.playback_key()),
        sessions_({.documents = *documents_,
                   .pipeline = std::make_shared<contracts::PipelineClient>(context.client_for("session-pipeline", kName)),
                   .processor = processor_,
                   .storage = storage_,
                   .controller = std::make_shared<contracts::ControllerClient>(context.client_for("session-controller", kName)),
                   .clock = context.clock,
                   .random = context.random,
                   .forget = [this](const Id& id) { recordings_.forget(id); }}),
        limits_(sessions_, context.clock, runtime::Log(kName)),
        api_{sessions_,
             recordings_,
             limits_,
             processor_,
             context.keys.checkpoint_public(),
             public_keys(context.keys),
             context.metrics,
             {.servers = context.client_for("rdp-server-manager", kName),
              .gateway = context.client_for("xrdp-integration", kName),
              .controller = context.client_for("session-controller", kName)},
             context.client_for("node-management", kName),
             context.client_for("resource-monitor", kName),
             stopping_} {
    runtime::HttpFront front;
    front.service = kName;
    front.router = make_router(api_);
    for (const char* service : {"session-pipeline", "chunk-processor", "session-storage"})
      front.health.push_back(dependency(context, service));
    front.authenticate = admin_door(context.keys.admin_token());
    front.worker_threads = static_cast<int>(context.settings.integer("session-api.worker_threads"));
    server_ = runtime::serve_http(context, std::move(front));
  }

  ~Service() override { stopping_ = true; }

  void drain(std::chrono::milliseconds grace) override {
    stopping_ = true;
    server_->stop(grace);
  }

 private:
  std::unique_ptr<store::Documents> documents_;
  std::shared_ptr<contracts::ProcessorClient> processor_;
  std::shared_ptr<contracts::StorageClient> storage_;
  Recordings recordings_;
  Sessions sessions_;
  LimitKeeper limits_;
  std::atomic<bool> stopping_ = false;
  Api api_;
  std::unique_ptr<net::Server> server_;
};

}  // namespace

runtime::Module module() {
  return {.name = kName,
          .default_port = 8087,
          .starts_after = {"session-storage", "chunk-processor", "session-pipeline", "session-controller"},
          .declare = declare_settings,
          .start = [](const runtime::Context& context) -> std::unique_ptr<runtime::RunningService> {
            return std::make_unique<Service>(context);
          }};
}

}  // namespace lucid::api
