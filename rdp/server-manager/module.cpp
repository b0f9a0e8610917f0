#include "rdp/server-manager/module.hpp"

#include <unistd.h>

#include "rdp/server-manager/http.hpp"

namespace lucid::server_manager {
namespace {

constexpr const char* kName = "rdp-server-manager";

std::string beside_this_program(const char* name) {
  char self[4096];
  ssize_t n = ::readlink("/proc/self/exe", self, sizeof self);
  std::string path(self, n > 0 ? static_cast<std::size_t>(n) : 0);
  return path.substr(0, path.rfind('/') + 1) + name;
}

class Service final : public runtime::RunningService {
 public:
  Service(const runtime::Context& context, Config config)
      : documents_(open_documents(context, config.paths.data)),
        manager_(std::move(config), *documents_, context.clock, context.random, context.metrics) {
    manager_.open();
    server_ = runtime::serve_http(context, {.service = kName,
                                            .router = routes(manager_),
                                            .health = {{"rdp", [this] { return manager_.problem(); }}},
                                            .authenticate = {},
                                            .worker_threads = 32});  // long polls hold some
  }
  void drain(std::chrono::milliseconds grace) override {
    server_->stop(grace);
    manager_.close();
  }

 private:
  static std::unique_ptr<store::Documents> open_documents(const runtime::Context& context, const std::string& directory) {
    context.files.make_directories(directory);
    return store::open_sqlite_documents(directory + "/manager.db");
  }

  std::unique_ptr<store::Documents> documents_;
  Manager manager_;
  std::unique_ptr<net::Server> server_;  // last: ends first, so no request outlives the manager
};

}  // namespace

runtime::Module module() {
  return {.name = kName,
          .default_port = 8081,
          .starts_after = {},
          .declare =
              [](runtime::Settings& settings) {
                settings.declare({.name = "rdp-server-manager.warm_servers",
                                  .environment = "WARM_SERVERS",
                                  .fallback = "1",
                                  .meaning = "Servers made ahead so that connecting is quick",
                                  .check = runtime::integer_between(0, 20)});
                settings.declare({.name = "rdp-server-manager.max_concurrent_servers",
                                  .environment = "MAX_CONCURRENT_SERVERS",
                                  .fallback = "50",
                                  .meaning = "Servers that may exist at once, without those made ahead",
                                  .check = runtime::integer_between(1, 500)});
                settings.declare({.name = "rdp-server-manager.tls_certificate",
                                  .environment = "RDP_TLS_CERTIFICATE",
                                  .fallback = "",
                                  .meaning = "PEM file of the certificate xrdp shows; empty: self-signed, made at the first start",
                                  .check = {}});
                settings.declare({.name = "rdp-server-manager.tls_key",
                                  .environment = "RDP_TLS_KEY",
                                  .fallback = "",
                                  .meaning = "PEM file of its private key",
                                  .check = {}});
              },
          .start = [](const runtime::Context& context) -> std::unique_ptr<runtime::RunningService> {
            const runtime::Settings& s = context.settings;
            Config config;
            config.paths.data = context.data_dir + "/rdp";
            config.paths.hook = beside_this_program("lucid-session-start");
            if (std::int64_t offset = s.integer("port_offset"); offset != 0) {
              config.paths.run += "-" + std::to_string(offset);
              config.paths.hook_fallback += "-" + std::to_string(offset);
            }
            config.warm_servers = static_cast<int>(s.integer("rdp-server-manager.warm_servers"));
            config.max_servers = static_cast<int>(s.integer("rdp-server-manager.max_concurrent_servers"));
            config.tls_certificate = s.text("rdp-server-manager.tls_certificate");
            config.tls_key = s.text("rdp-server-manager.tls_key");
            if (config.tls_certificate.empty() != config.tls_key.empty())
              throw Error(ErrorKind::invalid,
                          "rdp-server-manager.tls_certificate and rdp-server-manager.tls_key go together: set both or none");
            return std::make_unique<Service>(context, std::move(config));
          }};
}

}  // namespace lucid::server_manager
