#include "rdp/monitor/http.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace lucid::monitor {
namespace {

using net::Method;
using net::Request;
using net::Response;

Error refused(const char* field, std::string reason) {
  return Error(ErrorKind::invalid, std::string("the query's ") + field + " " + reason)
      .with_fields({{std::string("/") + field, std::move(reason)}});
}

std::shared_ptr<const Snapshot> newest(Desk& desk) {
  auto snapshot = desk.monitor.latest();
  if (!snapshot)
    throw Error(ErrorKind::unavailable, "not_measured_yet", "nothing has been measured yet").with_retry_after(std::chrono::seconds(1));
  return snapshot;
}

template <class T>
Response list_of(const char* name, std::int64_t at_wall_ms, const std::vector<T>& items) {
  json::array list;
  for (const T& item : items) list.push_back(to_json(item));
  return Response::json(200, json::object{{"at", to_rfc3339(at_wall_ms)}, {name, std::move(list)}});
}

template <class T>
json::array all(const std::vector<T>& items) {
  json::array list;
  for (const T& item : items) list.push_back(to_json(item));
  return list;
}

Response host(Desk& desk) {
  auto snapshot = newest(desk);
  json::object answer{{"at", to_rfc3339(snapshot->at_wall_ms)}, {"interval_ms", desk.monitor.interval().count()}};
  json::value shown = to_json(snapshot->host);
  for (auto& [key, value] : shown.as_object()) answer[key] = std::move(value);
  return Response::json(200, answer);
}

std::int64_t moment(const Request& request, const char* field, std::int64_t fallback) {
  auto text = request.query_text(field);
  if (!text) return fallback;
  auto parsed = from_rfc3339(*text);
  if (!parsed) throw refused(field, "must be a time such as 2026-11-22T01:35:26.123Z");
  return *parsed;
}

constexpr std::int64_t kHour = 3'600'000;

Response history(Desk& desk, const Request& request) {
  HistoryQuery query;
  query.metric = request.query_text("metric").value_or("");
  query.subject = request.query_text("subject");
  query.to_ms = moment(request, "to", desk.clock.wall_ms() + 1);
  query.from_ms = moment(request, "from", query.to_ms - kHour);
  query.step_ms = request.query_integer_or("step", 0, 0, 86'400 * 90) * 1'000;
  if (auto word = request.query_text("aggregate")) {
    auto chosen = aggregate(*word);
    if (!chosen) throw refused("aggregate", "must be one of avg, min, max, last");
    query.aggregate = *chosen;
  }
  HistoryAnswer found = desk.history.query(query);
  json::array lines;
  for (const HistoryLine& line : found.lines) {
    json::array points;
    points.reserve(line.points.size());
    for (const HistoryPoint& point : line.points) points.push_back(json::array{point.at_ms, point.value});
    lines.push_back(json::object{{"subject", line.subject}, {"points", std::move(points)}});
  }
  return Response::json(200, json::object{{"metric", query.metric},
                                          {"step_ms", found.step_ms},
                                          {"tier", found.tier},
                                          {"aggregate", name(query.aggregate)},
                                          {"cut", found.cut},
                                          {"lines", std::move(lines)}});
}

Response metrics_there_are() {
  json::array list;
  for (const Metric& metric : catalogue())
    list.push_back(json::object{{"name", metric.name}, {"subject", name(metric.subject)}, {"meaning", metric.meaning}});
  return Response::json(200, json::object{{"metrics", std::move(list)}});
}

std::uint64_t sequence(std::string_view text, const char* field) {
  std::uint64_t n = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) throw refused(field, "is not one this service gave");
  return n;
}

Response alerts(Desk& desk, const Request& request) {
  std::string past = request.query_text("history").value_or("false");
  if (past != "true" && past != "false") throw refused("history", "must be true or false");
  if (past == "false") return Response::json(200, json::object{{"alerts", all(desk.alerts.live())}});
  auto limit = static_cast<std::size_t>(request.query_integer_or("limit", 50, 1, 100));
  auto cursor = request.query_text("cursor");
  auto events = desk.alerts.past(cursor ? sequence(*cursor, "cursor") : 0, limit);
  std::string next = events.size() == limit ? std::to_string(events.back().seq) : "";
  return Response::json(200, json::object{{"events", all(events)}, {"cursor", next}});
}

// Alert events as they come: a stream where it is asked for, else one long poll.
Response events(Desk& desk, const Request& request, net::StreamSlots& slots) {
  if (net::wants_event_stream(request)) {
    auto next = [&feed = desk.feed](const std::string& after,
                                    std::chrono::milliseconds wait) -> std::optional<std::vector<net::StreamEvent>> {
      std::uint64_t seq = 0;
      std::from_chars(after.data(), after.data() + after.size(), seq);
      auto found = feed.after(seq, wait);
      if (!found) return std::nullopt;
      std::vector<net::StreamEvent> events;
      for (const AlertEvent& event : *found) events.push_back({std::to_string(event.seq), "alert", json::serialize(to_json(event))});
      return events;
    };
    return net::event_stream(request, std::to_string(desk.feed.newest()), std::move(next), slots.take());
  }
  auto after = request.query_text("after");
  auto wait = std::chrono::milliseconds(request.query_integer_or("wait_ms", 0, 0, 25'000));
  std::uint64_t from = after ? sequence(*after, "after") : desk.feed.newest();
  auto found = desk.feed.after(from, wait);
  if (!found) throw Error(ErrorKind::unavailable, "stopping", "the service is stopping").with_retry_after(std::chrono::seconds(1));
  std::uint64_t next = found->empty() ? from : found->back().seq;
  return Response::json(200, json::object{{"events", all(*found)}, {"next", next}});
}

Id id_of(const Request& request, const char* what) {
  auto id = Id::parse(request.param("id"));
  if (!id) throw Error(ErrorKind::not_found, fmt::format("there is no {} of that id", what));
  return *id;
}

Response make_silence(Desk& desk, const Request& request) {
  json::value body = request.json_body();
  FieldReader in(body);
  Silence silence;
  silence.rule = in.text_or("rule", "", {.max = 64});
  silence.subject = in.text_or("subject", "", {.max = 255});
  silence.reason = in.text("reason", {.min = 1, .max = 500});
  bool until = in.has("until");
  if (until == in.has("minutes")) in.refuse("until", "give either until (a time) or minutes");
  if (until) {
    auto parsed = from_rfc3339(in.text("until", {.min = 1, .max = 40}));
    if (!parsed)
      in.refuse("until", "must be a time such as 2026-11-22T01:35:26.123Z");
    else
      silence.until_wall_ms = *parsed;
  } else {
    silence.until_wall_ms = desk.clock.wall_ms() + in.integer_or("minutes", 60, 1, 525'600) * 60'000;
  }
  in.finish();
  return Response::json(201, to_json(desk.alerts.silence(std::move(silence))));
}

Response make_webhook(Desk& desk, const Request& request) {
  json::value body = request.json_body();
  FieldReader in(body);
  std::string url = in.text("url", {.min = 1, .max = 2'000});
  std::vector<std::string> kinds = in.texts_or_empty("kinds", 10, {.min = 1, .max = 64});
  for (const std::string& kind : kinds)
    if (kind != "alert.firing" && kind != "alert.resolved") in.refuse("kinds", "may hold alert.firing and alert.resolved");
  in.finish();
  webhooks::Made made = desk.webhooks.add(url, std::move(kinds));
  json::value shown = to_json(made.hook);
  shown.as_object()["secret"] = made.secret;
  Response response = Response::json(201, shown);
  response.headers.set("Cache-Control", "no-store");
  return response;
}

Response test_webhook(Desk& desk, const Request& request) {
  auto problem = desk.webhooks.test(id_of(request, "webhook"));
  return Response::json(200, json::object{{"delivered", !problem}, {"problem", problem.value_or("")}});
}

void add_alert_routes(net::Router& router, Desk& desk) {
  router.add(Method::get, "/api/v1/monitor/alerts", [&desk](Request& r) { return alerts(desk, r); });
  router.add(Method::get, "/api/v1/monitor/events",
             [&desk, slots = std::make_shared<net::StreamSlots>(kMaxStreams)](Request& r) { return events(desk, r, *slots); });
  router.add(Method::get, "/api/v1/monitor/rules",
             [&desk](Request&) { return Response::json(200, json::object{{"rules", all(desk.alerts.rules())}}); });
  router.add(Method::put, "/api/v1/monitor/rules/{name}",
             [&desk](Request& r) { return Response::json(200, to_json(desk.alerts.put_rule(read_rule(r.param("name"), r.json_body())))); });
  router.add(Method::del, "/api/v1/monitor/rules/{name}", [&desk](Request& r) {
    desk.alerts.remove_rule(r.param("name"));
    return Response::empty();
  });
  router.add(Method::get, "/api/v1/monitor/silences",
             [&desk](Request&) { return Response::json(200, json::object{{"silences", all(desk.alerts.silences())}}); });
  router.add(Method::post, "/api/v1/monitor/silences", [&desk](Request& r) { return make_silence(desk, r); });
  router.add(Method::del, "/api/v1/monitor/silences/{id}", [&desk](Request& r) {
    desk.alerts.end_silence(id_of(r, "silence"));
    return Response::empty();
  });
  router.add(Method::get, "/api/v1/monitor/webhooks",
             [&desk](Request&) { return Response::json(200, json::object{{"webhooks", all(desk.webhooks.list())}}); });
  router.add(Method::post, "/api/v1/monitor/webhooks", [&desk](Request& r) { return make_webhook(desk, r); });
  router.add(Method::del, "/api/v1/monitor/webhooks/{id}", [&desk](Request& r) {
    desk.webhooks.remove(id_of(r, "webhook"));
    return Response::empty();
  });
  router.add(Method::post, "/api/v1/monitor/webhooks/{id}/test", [&desk](Request& r) { return test_webhook(desk, r); });
}

}  // namespace

net::Router routes(Desk& desk) {
  net::Router router;
  router.add(Method::get, "/api/v1/monitor/host", [&desk](Request&) { return host(desk); });
  router.add(Method::get, "/api/v1/monitor/containers", [&desk](Request&) {
    auto snapshot = newest(desk);
    return list_of("containers", snapshot->at_wall_ms, snapshot->containers);
  });
  router.add(Method::get, "/api/v1/monitor/services", [&desk](Request&) {
    auto snapshot = newest(desk);
    return list_of("services", snapshot->at_wall_ms, snapshot->services);
  });
  router.add(Method::get, "/api/v1/monitor/sessions", [&desk](Request&) {
    auto snapshot = newest(desk);
    return list_of("sessions", snapshot->at_wall_ms, snapshot->sessions);
  });
  router.add(Method::get, "/api/v1/monitor/metrics", [](Request&) { return metrics_there_are(); });
  router.add(Method::get, "/api/v1/monitor/history", [&desk](Request& r) { return history(desk, r); });
  add_alert_routes(router, desk);
  return router;
}

}  // namespace lucid::monitor
