#include <mutex>
#include <tuple>

#include <fmt/format.h>

#include "lib/net/trace.hpp"
#include "lib/runtime/health_board.hpp"
#include "lib/runtime/service.hpp"
#include "lib/runtime/version.hpp"

namespace lucid::runtime {
namespace {

using net::Method;
using net::Request;
using net::Response;

// Asked every few seconds by whoever watches over the service: spans of them would only hide the others.
constexpr net::RouteOptions kOpen{.max_body = 0, .auth = net::Auth::open, .traced = false};
constexpr net::RouteOptions kOpenInline{.max_body = 0, .run = net::Run::inline_, .auth = net::Auth::open, .traced = false};

// Counts and logs every finished request. Series are looked up by the route's address, which is fixed while the server lives.
class RequestObserver {
 public:
  RequestObserver(std::string service, Metrics& metrics) : service_(std::move(service)), metrics_(metrics), log_(service_) {}

  void operator()(const net::RequestRecord& record) {
    // Every label has few values, whatever clients and handlers make up.
    const char* method = record.other_method ? "other" : net::name(record.method);
    int status = record.status >= 100 && record.status <= 599 ? record.status : 0;
    Counter* total = nullptr;
    Histogram* duration = nullptr;
    {
      std::lock_guard lock(mutex_);
      Counter*& counter = totals_[{record.route.data(), method, status}];
      if (counter == nullptr)
        counter = &metrics_.counter("lucid_http_requests_total", "Finished HTTP requests.",
                                    {{"service", service_},
                                     {"route", std::string(record.route)},
                                     {"method", method},
                                     {"status", status != 0 ? std::to_string(status) : "other"}});
      Histogram*& histogram = durations_[record.route.data()];
      if (histogram == nullptr)
        histogram = &metrics_.histogram("lucid_http_request_duration_seconds", "From the request head to the last byte of the answer.",
                                        {{"service", service_}, {"route", std::string(record.route)}});
      total = counter;
      duration = histogram;
    }
    total->add();
    duration->observe(record.seconds);
    if (record.error.empty() && !Log::enabled(Level::debug)) return;
    net::TraceScope scope({std::string(record.request_id), std::string(record.traceparent), nullptr});
    if (!record.error.empty())
      log_.error("a request failed unexpectedly", {{"route", std::string(record.route)}, {"error", std::string(record.error)}});
    if (Log::enabled(Level::debug)) {
      log_.debug("request", {{"route", std::string(record.route)},
                             {"method", method},
                             {"status", std::to_string(record.status)},
                             {"ms", fmt::format("{:.3f}", record.seconds * 1000)},
                             {"request_bytes", std::to_string(record.request_bytes)},
                             {"response_bytes", std::to_string(record.response_bytes)},
                             {"remote", std::string(record.remote)},
                             {"principal", std::string(record.principal)}});
    }
  }

 private:
  const std::string service_;
  Metrics& metrics_;
  const Log log_;
  std::mutex mutex_;
  std::map<std::tuple<const char*, const char*, int>, Counter*> totals_;  // keys are addresses of words that stay
  std::map<const char*, Histogram*> durations_;
};

Response health_answer(HealthBoard& board, const std::string& service) {
  json::array checks, failed;
  for (const HealthBoard::Result& result : board.look()) {
    if (!result.ok) failed.emplace_back(result.name);
    json::object check{{"name", result.name}, {"ok", result.ok}};
    if (!result.detail.empty()) check["detail"] = to_utf8(result.detail, 500);
    checks.push_back(std::move(check));
  }
  bool healthy = failed.empty();
  return Response::json(
      healthy ? 200 : 503,
      {{"status", healthy ? "healthy" : "unhealthy"}, {"service", service}, {"failed", std::move(failed)}, {"checks", std::move(checks)}});
}

// How busy the server is, read when someone asks for it.
class ServerGauges {
 public:
  ServerGauges(const std::string& service, Metrics& metrics)
      : connections_(metrics.gauge("lucid_http_connections", "Open HTTP connections.", {{"service", service}})),
        workers_(metrics.gauge("lucid_http_worker_threads", "Threads that run handlers.", {{"service", service}})),
        busy_(metrics.gauge("lucid_http_workers_busy", "Threads that run a handler right now.", {{"service", service}})),
        queued_(metrics.gauge("lucid_http_queue_length", "Requests that wait for a thread.", {{"service", service}})) {}
  void fill(const net::Server::Stats& stats) {
    connections_.set(static_cast<double>(stats.connections));
    workers_.set(static_cast<double>(stats.workers));
    busy_.set(static_cast<double>(stats.busy));
    queued_.set(static_cast<double>(stats.queued));
  }

 private:
  Gauge &connections_, &workers_, &busy_, &queued_;
};

// `server`: set before the server starts.
void add_common_routes(net::Router& router, const std::string& service, std::vector<HealthCheck> health, Metrics& metrics,
                       std::shared_ptr<const net::Server*> server) {
  auto board = std::make_shared<HealthBoard>(std::move(health));
  auto answer = [board, service](Request&) { return health_answer(*board, service); };
  router.add(Method::get, "/health", answer, kOpen);
  router.add(Method::get, "/ready", answer, kOpen);
  auto gauges = std::make_shared<ServerGauges>(service, metrics);
  auto expose = [&metrics, service, gauges, server](Request&) {
    gauges->fill((*server)->stats());
    return Response::text(metrics.expose(service), "text/plain; version=0.0.4; charset=utf-8");
  };
  router.add(Method::get, "/metrics", expose, kOpen);
  std::string text = json::serialize(json::object{{"service", service}, {"version", version()}});
  router.add(Method::get, "/version", [text](Request&) { return Response::json_text(200, text); }, kOpenInline);
}

net::Authenticator by_service_token(crypto::ServiceTokens& tokens) {
  return [&tokens](const Request& request) -> std::optional<std::string> {
    constexpr std::string_view kScheme = "Bearer ";
    std::string_view header = request.headers.get("Authorization").value_or("");
    if (!header.starts_with(kScheme)) return std::nullopt;
    std::optional<std::string> service = tokens.verify(header.substr(kScheme.size()));
    if (!service) return std::nullopt;
    return "service:" + *service;
  };
}

}  // namespace

std::unique_ptr<net::Server> serve_http(const Context& context, HttpFront front) {
  auto address = std::make_shared<const net::Server*>(nullptr);
  add_common_routes(front.router, front.service, std::move(front.health), context.metrics, address);
  net::ServerConfig config;
  config.host = context.settings.text("host");
  std::int64_t port = context.settings.integer(front.service + ".port");
  // Port 0 asks for any free one; an offset has nothing to shift there.
  config.port = static_cast<std::uint16_t>(port == 0 ? 0 : port + context.settings.integer("port_offset"));
  config.worker_threads = front.worker_threads;
  if (context.spans_of) config.spans = context.spans_of(front.service);
  auto observer = std::make_shared<RequestObserver>(front.service, context.metrics);
  if (!front.authenticate) front.authenticate = by_service_token(context.tokens);
  auto server = std::make_unique<net::Server>(config, std::move(front.router), std::move(front.authenticate),
                                              [observer](const net::RequestRecord& record) { (*observer)(record); });
  *address = server.get();
  server->start();
  if (context.listening) context.listening(front.service, server->port());
  Log(front.service).info("listening", {{"host", config.host}, {"port", std::to_string(server->port())}});
  return server;
}

}  // namespace lucid::runtime
