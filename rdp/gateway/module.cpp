#include "rdp/gateway/module.hpp"

#include <mutex>

#include <fmt/format.h>

#include "lib/contracts/controller.hpp"
#include "rdp/gateway/http.hpp"

namespace lucid::gateway {
namespace {

constexpr const char* kName = "xrdp-integration";
constexpr const char* kController = "session-controller";
constexpr std::chrono::milliseconds kReportTimeout{3'000}, kHealthTimeout{700}, kPredecessorEnds{15'000};

Config config_of(const runtime::Settings& settings) {
  auto number = [&](const char* name) { return settings.integer(std::string(kName) + "." + name); };
  Config c;
  c.host = settings.text(std::string(kName) + ".rdp_host");
  if (c.host.empty()) c.host = settings.text("host");
  std::int64_t port = number("rdp_port");
  if (port != 0) port += settings.integer("port_offset");
  if (port > 65'535)
    throw Error(ErrorKind::invalid, "bad_setting", fmt::format("{}.rdp_port and port_offset are more than 65535 together", kName));
  c.port = static_cast<std::uint16_t>(port);
  c.max_connections = static_cast<std::size_t>(number("max_connections"));
  c.handshake_timeout_ms = number("handshake_timeout_ms");
  c.admission_timeout_ms = number("admission_timeout_ms");
  c.guard.connections_per_second = static_cast<double>(number("connections_per_second"));
  c.guard.burst = static_cast<double>(number("connections_burst"));
  c.guard.concurrent = static_cast<std::size_t>(number("connections_per_address"));
  c.guard.ban_after = static_cast<int>(number("ban_after"));
  c.guard.ban_ms = number("ban_seconds") * 1'000;
  c.guard.exempt_loopback = settings.boolean(std::string(kName) + ".exempt_loopback");
  return c;
}

net::ClientConfig client_config(const runtime::Context& context, std::chrono::milliseconds timeout) {
  return {
      .base_url = context.url_of(kController), .bearer = [&tokens = context.tokens] { return tokens.issue(kName); }, .timeout = timeout};
}

class Service final : public runtime::RunningService {
 public:
  Service(const runtime::Context& context, const Config& config)
      : admissions_(std::make_shared<net::Client>(client_config(context, std::chrono::milliseconds(config.admission_timeout_ms)))),
        reports_(std::make_shared<net::Client>(client_config(context, kReportTimeout))),
        health_(client_config(context, kHealthTimeout)),
        gateway_(config,
                 {.admit = [this](const auto& request) { return admissions_.admit(request); },
                  .report = [this](const auto& report) { reports_.report(report); }},
                 directory_of(context), {context.clock, context.random, context.files, context.metrics}) {
    // The relays of a predecessor go on from here, before its process has ended.
    std::optional<File> predecessor = gateway_.start();
    // Its HTTP port, its lock and its name at the hand-over are free once it has.
    if (predecessor && !wait_for_end(*predecessor, kPredecessorEnds))
      runtime::Log(kName).warn("the process that handed over has not ended");
    serve(context);
    if (context.end_process)
      gateway_.offer_hand_over([this, end = context.end_process] {
        stop_http(std::chrono::milliseconds(500));
        end();
      });
  }
  void drain(std::chrono::milliseconds grace) override {
    gateway_.drain();
    stop_http(grace);
    gateway_.flush_reports(std::min(grace, std::chrono::milliseconds(1'000)));
  }

 private:
  static std::string directory_of(const runtime::Context& context) {
    std::string directory = context.data_dir + "/gateway";
    context.files.make_directories(directory);
    return directory;
  }
  std::optional<std::string> controller_problem() {
    try {
      health_.send({.target = "/version"});
      return std::nullopt;
    } catch (const Error& e) {
      return fmt::format("{} cannot be reached, so nobody is admitted; {} reports wait: {}", kController, gateway_.waiting_reports(),
                         e.what());
    }
  }
  void serve(const runtime::Context& context) {
    server_ = runtime::serve_http(context, {.service = kName,
                                            .router = routes(gateway_),
                                            .health = {{"controller", [this] { return controller_problem(); }},
                                                       {"door",
                                                        [this]() -> std::optional<std::string> {
                                                          if (gateway_.draining()) return "draining: no new connections";
                                                          return std::nullopt;
                                                        }}},
                                            .authenticate = {},
                                            .worker_threads = 4});
  }
  void stop_http(std::chrono::milliseconds grace) {
    std::lock_guard lock(stop_mutex_);
    if (server_) server_->stop(grace);
    server_.reset();
  }

  contracts::ControllerClient admissions_, reports_;
  net::Client health_;
  Gateway gateway_;
  std::mutex stop_mutex_;
  std::unique_ptr<net::Server> server_;  // last: ends first, so no request outlives the gateway
};

void declare(runtime::Settings& settings) {
  auto add = [&](const char* name, const char* environment, const char* fallback, const char* meaning, auto check) {
    settings.declare({.name = std::string(kName) + "." + name,
                      .environment = environment,
                      .fallback = fallback,
                      .meaning = meaning,
                      .check = std::move(check)});
  };
  using runtime::integer_between;
  using Check = decltype(integer_between(0, 1));
  add("rdp_host", "RDP_HOST", "", "Address to listen on for RDP; empty: the one of `host`.", Check());
  add("rdp_port", "PORT", "3389", "Port for RDP clients; 0: any free one.", integer_between(0, 65'535));
  add("max_connections", "MAX_CONNECTIONS", "4096", "RDP connections carried at once.", integer_between(1, 100'000));
  add("handshake_timeout_ms", "HANDSHAKE_TIMEOUT_MS", "5000", "Time a client has for its first packet.", integer_between(100, 60'000));
  add("admission_timeout_ms", "ADMISSION_TIMEOUT_MS", "5000", "Time the session controller has to admit a client.",
      integer_between(100, 60'000));
  add("connections_per_second", "CONNECTIONS_PER_SECOND", "5", "New connections an address may open, lasting.",
      integer_between(1, 100'000));
  add("connections_burst", "CONNECTIONS_BURST", "30", "New connections an address may open at once.", integer_between(1, 100'000));
  add("connections_per_address", "CONNECTIONS_PER_ADDRESS", "64", "Connections an address may have at the same time.",
      integer_between(1, 100'000));
  add("ban_after", "BAN_AFTER", "10", "Failures within a minute after which an address is banned.", integer_between(1, 10'000));
  add("ban_seconds", "BAN_SECONDS", "300", "How long a ban lasts.", integer_between(1, 86'400));
  add("exempt_loopback", "EXEMPT_LOOPBACK", "false", "Whether clients on this machine are free of limits and bans.",
      runtime::one_of({"true", "false"}));
}

}  // namespace

runtime::Module module() {
  return {.name = kName,
          .default_port = 8089,
          .starts_after = {kController},
          .declare = declare,
          .start = [](const runtime::Context& context) -> std::unique_ptr<runtime::RunningService> {
            return std::make_unique<Service>(context, config_of(context.settings));
          },
          .port_environment = "ADMIN_PORT",
          .takes_over = true};
}

}  // namespace lucid::gateway
