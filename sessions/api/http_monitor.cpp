// Routes to resource-monitor: what is measured, its past, alerts and their rules.
#include "lib/net/event_stream.hpp"
#include "sessions/api/http.hpp"

namespace lucid::api {
namespace {

using net::Method;

// Each holds a worker thread.
constexpr int kMaxStreams = 4;

struct MonitorRoute {
  Method method;
  const char* path;  // behind /api/v1/, the same at both doors
};
constexpr MonitorRoute kMonitorRoutes[] = {
    {Method::get, "monitor/host"},
    {Method::get, "monitor/containers"},
    {Method::get, "monitor/services"},
    {Method::get, "monitor/sessions"},
    {Method::get, "monitor/metrics"},
    {Method::get, "monitor/history"},
    {Method::get, "monitor/alerts"},
    {Method::get, "monitor/rules"},
    {Method::put, "monitor/rules/{name}"},
    {Method::del, "monitor/rules/{name}"},
    {Method::get, "monitor/silences"},
    {Method::post, "monitor/silences"},
    {Method::del, "monitor/silences/{id}"},
    {Method::get, "monitor/webhooks"},
    {Method::post, "monitor/webhooks"},
    {Method::del, "monitor/webhooks/{id}"},
    {Method::post, "monitor/webhooks/{id}/test"},
};
constexpr const char* kEvents = "/api/v1/monitor/events";

json::value long_poll(net::Client& monitor, const std::string& after, std::chrono::milliseconds wait) {
  net::Call call;
  call.target = std::string(kEvents) + "?wait_ms=" + std::to_string(wait.count());
  if (!after.empty()) call.target += "&after=" + net::percent_encode(after);
  call.timeout = wait + std::chrono::seconds(2);
  auto value = parse_json(as_text(monitor.expect(call).body));
  if (!value || !value->is_object()) throw Error(ErrorKind::unavailable, "bad_answer", "resource-monitor did not answer with JSON");
  return std::move(*value);
}

// The stream is made anew here out of the monitor's long poll, so that this service knows of every client and can end it.
net::Response stream(Api& api, const net::Request& request, net::StreamSlots& slots) {
  std::string newest = json::serialize(long_poll(*api.monitor, "", std::chrono::milliseconds(0)).at("next"));
  auto next = [&api](const std::string& after, std::chrono::milliseconds wait) -> std::optional<std::vector<net::StreamEvent>> {
    if (api.stopping) return std::nullopt;
    json::value answer = long_poll(*api.monitor, after, wait);
    std::vector<net::StreamEvent> events;
    for (const json::value& event : answer.at("events").as_array())
      events.push_back({json::serialize(event.at("seq")), "alert", json::serialize(event)});
    return events;
  };
  return net::event_stream(request, std::move(newest), std::move(next), slots.take());
}

}  // namespace

void add_monitor_routes(net::Router& router, Api& api) {
  for (const MonitorRoute& route : kMonitorRoutes)
    router.add(route.method, std::string("/api/v1/") + route.path,
               [&api, &route](net::Request& request) { return pass_on(*api.monitor, request, filled(route.path, request)); });
  router.add(Method::get, kEvents, [&api, slots = std::make_shared<net::StreamSlots>(kMaxStreams)](net::Request& request) {
    if (net::wants_event_stream(request)) return stream(api, request, *slots);
    return pass_on(*api.monitor, request, kEvents);
  });
}

}  // namespace lucid::api
