#include "lib/contracts/controller.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "lib/contracts/fields.hpp"
#include "lib/contracts/paths.hpp"

namespace lucid::contracts {
namespace {

constexpr std::array<const char*, 10> kRdpStates{
    "requested", "starting_server", "waiting_display", "starting_recording", "ready", "connected", "paused", "ending", "ended", "failed"};
constexpr std::int64_t kMaxInteger = std::int64_t{1} << 53;
constexpr int kMinWidth = 320, kMaxWidth = 7680, kMinHeight = 240, kMaxHeight = 4320;
const std::vector<std::string_view> kEvents{"opened", "closed"};

// A Unix account as useradd makes them.
bool is_account(std::string_view text) {
  auto first = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
  if (text.empty() || text.size() > 32 || !first(text.front())) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) { return first(c) || (c >= '0' && c <= '9') || c == '-'; });
}

bool is_desktop(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; });
}

// "1920x1080" and nothing else.
std::optional<std::pair<int, int>> parse_resolution(std::string_view text) {
  int width = 0, height = 0;
  const char* end = text.data() + text.size();
  auto [x, first] = std::from_chars(text.data(), end, width);
  if (first != std::errc{} || x == end || *x != 'x') return std::nullopt;
  auto [last, second] = std::from_chars(x + 1, end, height);
  if (second != std::errc{} || last != end) return std::nullopt;
  if (fmt::format("{}x{}", width, height) != text) return std::nullopt;
  if (width < kMinWidth || width > kMaxWidth || height < kMinHeight || height > kMaxHeight) return std::nullopt;
  return std::pair{width, height};
}

Id read_id(FieldReader& in, std::string_view key) {
  std::string text = in.text(key, {.min = 36, .max = 36});
  auto id = Id::parse(text);
  if (!id && text.size() == 36) in.refuse(key, "must be a UUID");
  return id.value_or(Id{});
}

std::uint64_t read_count(FieldReader& in, std::string_view key) { return static_cast<std::uint64_t>(in.integer_or(key, 0, 0, INT64_MAX)); }

}  // namespace

const char* name(RdpState state) { return kRdpStates[static_cast<std::size_t>(state)]; }

std::optional<RdpState> rdp_state(std::string_view text) {
  for (std::size_t i = 0; i < kRdpStates.size(); ++i)
    if (text == kRdpStates[i]) return static_cast<RdpState>(i);
  return std::nullopt;
}

RdpTarget read_rdp_target(FieldReader& in) {
  RdpTarget t;
  t.account = in.text_or("account", "", {.min = 0, .max = 32});
  if (!t.account.empty() && !is_account(t.account))
    in.refuse("account", "must be a Unix account: a-z, 0-9, _ and -, not starting with a digit");
  t.desktop = in.text_or("desktop", "", {.min = 0, .max = 32});
  if (!is_desktop(t.desktop)) in.refuse("desktop", "must be the name of a desktop such as \"openbox\" or \"xfce\"");
  std::string resolution = in.text_or("resolution", "1920x1080", {.min = 7, .max = 9});
  if (auto size = parse_resolution(resolution)) {
    t.width = size->first;
    t.height = size->second;
  } else {
    in.refuse("resolution", "must be WIDTHxHEIGHT from 320x240 to 7680x4320");
  }
  t.color_depth = static_cast<int>(in.integer_or("color_depth", 24, 16, 32));
  if (t.color_depth != 16 && t.color_depth != 24 && t.color_depth != 32) in.refuse("color_depth", "must be one of 16, 24, 32");
  return t;
}

json::value to_json(const RdpTarget& t) {
  json::object o;
  if (!t.account.empty()) o["account"] = t.account;
  if (!t.desktop.empty()) o["desktop"] = t.desktop;
  o["resolution"] = fmt::format("{}x{}", t.width, t.height);
  o["color_depth"] = t.color_depth;
  return o;
}

json::value to_json(const RdpSessionRequest& r) {
  return json::object{{"id", r.id.text()},
                      {"name", r.name},
                      {"owner", r.owner},
                      {"target", to_json(r.target)},
                      {"recording", to_json(r.recording)},
                      {"recipients", json::array(r.recipients.begin(), r.recipients.end())},
                      {"fail_open", r.fail_open},
                      {"idle_timeout", r.idle_timeout},
                      {"max_duration", r.max_duration},
                      {"created_wall_ms", r.created_wall_ms}};
}

RdpSessionRequest read_rdp_session_request(const json::value& value) {
  FieldReader in(value);
  RdpSessionRequest r;
  r.id = read_id(in, "id");
  r.name = in.text("name", {.min = 1, .max = 255});
  r.owner = in.text_or("owner", "", {.min = 0, .max = 255});
  FieldReader target = in.child("target");
  r.target = read_rdp_target(target);
  target.finish_child();
  FieldReader options = in.child("recording");
  r.recording = read_recording_options(options);
  options.finish_child();
  r.recipients = in.texts_or_empty("recipients", 100, {.min = 1, .max = 200});
  r.fail_open = in.boolean_or("fail_open", false);
  r.idle_timeout = in.integer_or("idle_timeout", 0, 0, 86'400);
  r.max_duration = in.integer_or("max_duration", 0, 0, 30 * 86'400);
  r.created_wall_ms = in.integer_or("created_wall_ms", 0, 0, kMaxInteger);
  in.finish();
  return r;
}

json::value to_json(const RdpSession& s) {
  return json::object{{"id", s.id.text()},
                      {"state", name(s.state)},
                      {"cause", s.cause},
                      {"frozen", s.frozen},
                      {"account", s.account},
                      {"display", s.display},
                      {"node", s.node},
                      {"server_port", s.server_port},
                      {"created_wall_ms", s.created_wall_ms},
                      {"ready_wall_ms", s.ready_wall_ms},
                      {"connected_wall_ms", s.connected_wall_ms},
                      {"ended_wall_ms", s.ended_wall_ms},
                      {"connections", s.connections},
                      {"client_address", s.client_address},
                      {"bytes_up", s.bytes_up},
                      {"bytes_down", s.bytes_down}};
}

RdpSession read_rdp_session(const json::value& value) {
  Fields in(value);
  RdpSession s;
  s.id = in.id("id");
  if (auto state = rdp_state(in.text("state")))
    s.state = *state;
  else
    in.refuse("state");
  s.cause = in.text("cause");
  s.frozen = in.boolean("frozen");
  s.account = in.text("account");
  s.display = in.text("display");
  s.node = in.text("node");
  s.server_port = in.number<std::uint16_t>("server_port");
  s.created_wall_ms = in.number<std::int64_t>("created_wall_ms");
  s.ready_wall_ms = in.number<std::int64_t>("ready_wall_ms");
  s.connected_wall_ms = in.number<std::int64_t>("connected_wall_ms");
  s.ended_wall_ms = in.number<std::int64_t>("ended_wall_ms");
  s.connections = in.number<std::uint64_t>("connections");
  s.client_address = in.text("client_address");
  s.bytes_up = in.number<std::uint64_t>("bytes_up");
  s.bytes_down = in.number<std::uint64_t>("bytes_down");
  if (!in.ok()) throw in.error("RDP session");
  return s;
}

json::value to_json(const ConnectionOffer& o) {
  return json::object{{"host", o.host},       {"port", o.port},         {"token", o.token},
                      {"account", o.account}, {"password", o.password}, {"expires_wall_ms", o.expires_wall_ms}};
}

ConnectionOffer read_connection_offer(const json::value& value) {
  Fields in(value);
  ConnectionOffer o{in.text("host"),     in.number<std::uint16_t>("port"),          in.text("token"), in.text("account"),
                    in.text("password"), in.number<std::int64_t>("expires_wall_ms")};
  if (!in.ok()) throw in.error("connection offer");
  return o;
}

json::value to_json(const AdmissionRequest& r) {
  return json::object{
      {"connection_id", r.connection.text()}, {"token", r.token}, {"account", r.account}, {"client_address", r.client_address}};
}

AdmissionRequest read_admission_request(const json::value& value) {
  FieldReader in(value);
  AdmissionRequest r;
  r.connection = read_id(in, "connection_id");
  r.token = in.text_or("token", "", {.min = 0, .max = 512});
  r.account = in.text_or("account", "", {.min = 0, .max = 255});
  if (r.token.empty() == r.account.empty()) in.refuse("token", "exactly one of token and account is needed");
  r.client_address = in.text_or("client_address", "", {.min = 0, .max = 100});
  in.finish();
  return r;
}

json::value to_json(const Admission& a) {
  json::object o{{"session_id", a.session.text()}, {"upstream_host", a.upstream_host}, {"upstream_port", a.upstream_port}};
  if (a.replaces) o["replaces"] = a.replaces->text();
  return o;
}

Admission read_admission(const json::value& value) {
  Fields in(value);
  Admission a;
  a.session = in.id("session_id");
  a.upstream_host = in.text("upstream_host");
  a.upstream_port = in.number<std::uint16_t>("upstream_port");
  if (const json::object* o = value.if_object(); o != nullptr && o->contains("replaces")) a.replaces = in.id("replaces");
  if (!in.ok()) throw in.error("admission");
  return a;
}

json::value to_json(const ConnectionReport& r) {
  return json::object{{"connection_id", r.connection.text()},
                      {"session_id", r.session.text()},
                      {"event", r.event},
                      {"cause", r.cause},
                      {"client_address", r.client_address},
                      {"bytes_up", r.bytes_up},
                      {"bytes_down", r.bytes_down},
                      {"duration_ms", r.duration_ms}};
}

ConnectionReport read_connection_report(const json::value& value) {
  FieldReader in(value);
  ConnectionReport r;
  r.connection = read_id(in, "connection_id");
  r.session = read_id(in, "session_id");
  r.event = in.text("event", {.min = 1, .max = 20});
  if (!r.event.empty() && std::find(kEvents.begin(), kEvents.end(), r.event) == kEvents.end())
    in.refuse("event", "must be one of opened, closed");
  r.cause = in.text_or("cause", "", {.min = 0, .max = 100});
  r.client_address = in.text_or("client_address", "", {.min = 0, .max = 100});
  r.bytes_up = read_count(in, "bytes_up");
  r.bytes_down = read_count(in, "bytes_down");
  r.duration_ms = in.integer_or("duration_ms", 0, 0, kMaxInteger);
  in.finish();
  return r;
}

RdpSession ControllerClient::create(const RdpSessionRequest& request) {
  return read_rdp_session(http_->send_json(net::Method::post, "/api/v1/sessions", to_json(request)));
}
RdpSession ControllerClient::status(const Id& session) { return read_rdp_session(http_->get_json(session_path(session))); }
RdpSession ControllerClient::act(const Id& session, const std::string& action) {
  return read_rdp_session(http_->send_json(net::Method::post, session_path(session) + "/" + action, json::object{}));
}
ConnectionOffer ControllerClient::connection(const Id& session) {
  return read_connection_offer(http_->send_json(net::Method::post, session_path(session) + "/connection", json::object{}));
}
Admission ControllerClient::admit(const AdmissionRequest& request) {
  return read_admission(http_->send_json(net::Method::post, "/api/v1/admissions", to_json(request)));
}
void ControllerClient::report(const ConnectionReport& report) {
  http_->send_json(net::Method::post, "/api/v1/connections", to_json(report));
}

}  // namespace lucid::contracts
