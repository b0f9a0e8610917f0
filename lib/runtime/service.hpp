// What every service has in common: its HTTP server with /health /ready /metrics /version, service-token
// authentication, metrics per route, access log, and the module table that starts services in dependency order and
// stops them in reverse. Services are plain classes that never see it. Main thread starts and stops.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/base/file_ops.hpp"
#include "lib/base/random.hpp"
#include "lib/crypto/key_store.hpp"
#include "lib/crypto/service_token.hpp"
#include "lib/net/client.hpp"
#include "lib/net/server.hpp"
#include "lib/runtime/log.hpp"
#include "lib/runtime/metrics.hpp"
#include "lib/runtime/settings.hpp"

namespace lucid::runtime {

// One dependency as /health and /ready show it. Any thread; must answer within 1 s.
struct HealthCheck {
  std::string name;                                     // "storage", "disk"
  std::function<std::optional<std::string>()> problem;  // reason when unhealthy
};

// Handed to every module at start.
struct Context {
  const Settings& settings;
  std::string data_dir;
  const Clock& clock;
  RandomSource& random;
  FileOps& files;
  crypto::KeyStore& keys;
  crypto::ServiceTokens& tokens;
  Metrics& metrics;
  // URL of a service by name ("session-storage"): http://127.0.0.1:<port + LUCID_PORT_OFFSET>, or its *_URL setting.
  std::function<std::string(const std::string& service)> url_of;
  // A client for that service that carries our service token as `service`.
  std::function<std::shared_ptr<net::Client>(const std::string& service, const std::string& as)> client_for;
  // Told by serve_http which port a service got, so that url_of knows it even for port 0. May be empty.
  std::function<void(const std::string& service, std::uint16_t port)> listening;
  // Ends the process as SIGTERM does. Empty where other services run in it: it does not end for one of them.
  std::function<void()> end_process;
  // Where the spans of that service's requests go. Empty, or answers null: nowhere.
  std::function<std::shared_ptr<net::SpanSink>(const std::string& service)> spans_of = {};
};

// A started service. Destroyed in reverse order of start.
class RunningService {
 public:
  virtual ~RunningService() = default;
  // Lets work in flight finish, up to `grace`; then the destructor ends it.
  virtual void drain(std::chrono::milliseconds grace) { (void)grace; }
};

// What a service gives its HTTP front (built by its module.cpp).
struct HttpFront {
  std::string service;  // "session-storage"
  net::Router router;   // its own routes; the common ones are added
  std::vector<HealthCheck> health;
  net::Authenticator authenticate;  // empty: service tokens
  int worker_threads = 8;
};
// Adds the common routes, starts listening on the service's PORT/HOST settings (+ LUCID_PORT_OFFSET).
std::unique_ptr<net::Server> serve_http(const Context& context, HttpFront front);

// One row of the module table (app/wiring).
struct Module {
  std::string name;  // "session-storage"
  std::uint16_t default_port = 0;
  std::vector<std::string> starts_after;  // names; ignored when not part of this process
  std::function<void(Settings&)> declare;
  std::function<std::unique_ptr<RunningService>(const Context&)> start;
  // Environment name of its port; empty: PORT where it is alone in its process, else <SERVICE>_PORT.
  std::string port_environment;
  // start() ends a living predecessor on the same data directory by itself, having taken its work over; so the data directory is locked
  // for this module after start() instead of before.
  bool takes_over = false;
};

// The whole life of a process that runs `targets` of `modules` (empty: all): declares and resolves settings, creates or
// opens DATA, starts in order, prints one line per listening service, waits for SIGINT/SIGTERM, drains and stops.
// Answers the exit code: 0 stopped on request, 1 failed to start (one clear line on stderr).
struct ProcessOptions {
  std::vector<Module> modules;
  std::vector<std::string> targets;
  std::map<std::string, std::string> flags;  // settings given as --name=value
  std::optional<std::string> config_file;
  std::function<void()> ready;  // called once everything listens; may be empty
};
int run_process(ProcessOptions options);
// Declares the settings of `targets` and resolves them as run_process would (for `lucid config`).
Settings resolve_settings(const ProcessOptions& options);

// No core dumps with secrets, no ptrace by others: prctl(PR_SET_DUMPABLE, 0), RLIMIT_CORE 0. Called by run_process.
void harden_process();

}  // namespace lucid::runtime
