#include "lib/contracts/rdp_server.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "lib/contracts/fields.hpp"

namespace lucid::contracts {
namespace {

constexpr std::array<const char*, 8> kServerStates{"creating", "configuring", "starting", "running",
                                                   "stopping", "stopped",     "failed",   "deleted"};

std::string server_path(const Id& server) { return "/api/v1/servers/" + server.text(); }

json::value post(net::Client& http, std::string target, const json::value& body, std::chrono::milliseconds timeout) {
  std::string text = json::serialize(body);
  net::Call call;
  call.method = net::Method::post;
  call.target = std::move(target);
  call.body = as_bytes(text);
  call.content_type = "application/json";
  call.timeout = timeout;
  net::Response response = http.expect(call);
  if (response.body.empty()) return nullptr;
  auto value = parse_json(as_text(response.body));
  if (!value) throw value.error();
  return *std::move(value);
}

// A local account name as useradd accepts it, or one of a directory ("user@example.org", "EXAMPLE\user" is not).
bool is_account_name(std::string_view name) {
  auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  if (name.empty() || name.size() > 64 || (!allowed(name[0]) && name[0] != '_')) return false;
  return std::ranges::all_of(name, [&](char c) { return allowed(c) || c == '_' || c == '-' || c == '.' || c == '@'; });
}

bool is_desktop_name(std::string_view name) {
  return std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

}  // namespace

const char* name(ServerState state) { return kServerStates[static_cast<std::size_t>(state)]; }

std::optional<ServerState> server_state(std::string_view text) {
  for (std::size_t i = 0; i < kServerStates.size(); ++i)
    if (text == kServerStates[i]) return static_cast<ServerState>(i);
  return std::nullopt;
}

json::value to_json(const ServerRequest& r) {
  return json::object{{"id", r.id.text()}, {"account", r.account},     {"desktop", r.desktop},
                      {"width", r.width},  {"height", r.height},       {"color_depth", r.color_depth},
                      {"cpu", r.cpu},      {"memory_mb", r.memory_mb}, {"keep_home", r.keep_home}};
}

ServerRequest read_server_request(const json::value& value) {
  FieldReader in(value);
  ServerRequest r;
  auto id = Id::parse(in.text("id", {.min = 36, .max = 36}));
  if (id && !id->is_nil())
    r.id = *id;
  else
    in.refuse("id", "must be a UUID");
  r.account = in.text_or("account", "", {.min = 0, .max = 64});
  if (!r.account.empty() && !is_account_name(r.account)) in.refuse("account", "must be a Unix account name, or empty for an ephemeral one");
  r.desktop = in.text_or("desktop", "", {.min = 0, .max = 32});
  if (!is_desktop_name(r.desktop)) in.refuse("desktop", "must be a word like openbox or xfce, or empty");
  r.width = static_cast<int>(in.integer_or("width", r.width, 320, 7680));
  r.height = static_cast<int>(in.integer_or("height", r.height, 240, 4320));
  r.color_depth = static_cast<int>(in.integer_or("color_depth", r.color_depth, 16, 32));
  if (r.color_depth != 16 && r.color_depth != 24 && r.color_depth != 32) in.refuse("color_depth", "must be 16, 24 or 32");
  if (const json::value* cpu = in.raw("cpu"); cpu != nullptr && !cpu->is_null()) {
    double cores = cpu->is_number() ? cpu->to_number<double>() : 0;
    if (cores >= 0.1 && cores <= 8)
      r.cpu = cores;
    else
      in.refuse("cpu", "must be a number from 0.1 to 8");
  }
  r.memory_mb = static_cast<int>(in.integer_or("memory_mb", r.memory_mb, 512, 16'384));
  r.keep_home = in.boolean_or("keep_home", false);
  in.finish();
  return r;
}

json::value to_json(const ServerStatus& s) {
  json::object out{{"id", s.id.text()},
                   {"state", name(s.state)},
                   {"cause", s.cause},
                   {"account", s.account},
                   {"ephemeral", s.ephemeral},
                   {"desktop", s.desktop},
                   {"port", s.port},
                   {"display", nullptr},
                   {"released", s.released},
                   {"restarts", s.restarts},
                   {"created_wall_ms", s.created_wall_ms},
                   {"since_wall_ms", s.since_wall_ms},
                   {"warm", s.warm},
                   {"pids", json::array(s.pids.begin(), s.pids.end())}};
  if (s.display)
    out["display"] = json::object{{"display", s.display->display}, {"xauthority", s.display->xauthority}, {"uid", s.display->uid}};
  return out;
}

static ServerDisplay read_display(const json::value& value) {
  Fields in(value);
  ServerDisplay d{in.text("display"), in.text("xauthority"), in.number<std::uint32_t>("uid")};
  if (!in.ok()) throw in.error("display");
  return d;
}

ServerStatus read_server_status(const json::value& value) {
  Fields in(value);
  ServerStatus s;
  s.id = in.id("id");
  if (auto state = server_state(in.text("state")))
    s.state = *state;
  else
    in.refuse("state");
  s.cause = in.text("cause");
  s.account = in.text("account");
  s.ephemeral = in.boolean("ephemeral");
  s.desktop = in.text("desktop");
  s.port = in.number<std::uint16_t>("port");
  if (const json::value& display = in.value("display"); !display.is_null()) s.display = read_display(display);
  s.released = in.boolean("released");
  s.restarts = in.number<int>("restarts");
  s.created_wall_ms = in.number<std::int64_t>("created_wall_ms");
  s.since_wall_ms = in.number<std::int64_t>("since_wall_ms");
  s.warm = in.boolean("warm");
  if (const json::object* object = value.if_object(); object != nullptr && object->contains("pids"))
    for (const json::value& pid : in.array("pids")) {
      if (pid.is_int64() && std::in_range<std::uint32_t>(pid.get_int64()))
        s.pids.push_back(static_cast<std::uint32_t>(pid.get_int64()));
      else if (pid.is_uint64() && std::in_range<std::uint32_t>(pid.get_uint64()))
        s.pids.push_back(static_cast<std::uint32_t>(pid.get_uint64()));
      else
        in.refuse("pids");
    }
  if (!in.ok()) throw in.error("server status");
  return s;
}

ServerStatus RdpServerClient::create(const ServerRequest& request) {
  return read_server_status(post(*http_, "/api/v1/servers", to_json(request), std::chrono::seconds(30)));
}

ServerStatus RdpServerClient::act(const Id& server, const std::string& action) {
  return read_server_status(post(*http_, server_path(server) + "/" + action, json::object{}, std::chrono::seconds(40)));
}

ServerDisplay RdpServerClient::wait_for_display(const Id& server, int wait_ms) {
  return read_display(post(*http_, server_path(server) + "/display?wait_ms=" + std::to_string(wait_ms), json::object{},
                           std::chrono::milliseconds(std::max(0, wait_ms)) + std::chrono::seconds(5)));
}

void RdpServerClient::release(const Id& server, bool go) {
  post(*http_, server_path(server) + "/release", json::object{{"decision", go ? "go" : "refuse"}}, std::chrono::seconds(10));
}

Credentials RdpServerClient::credentials(const Id& server) {
  json::value value = post(*http_, server_path(server) + "/credentials", json::object{}, std::chrono::seconds(15));
  Fields in(value);
  Credentials c{in.text("account"), in.text("password")};
  if (!in.ok()) throw in.error("credentials answer");
  return c;
}

ServerStatus RdpServerClient::status(const Id& server) { return read_server_status(http_->get_json(server_path(server))); }

std::vector<ServerStatus> RdpServerClient::list() {
  std::vector<ServerStatus> all;
  std::string cursor;
  do {
    json::value page = http_->get_json("/api/v1/servers?limit=100" + (cursor.empty() ? "" : "&cursor=" + cursor));
    Fields in(page);
    for (const json::value& server : in.array("servers")) all.push_back(read_server_status(server));
    cursor = in.text("cursor");
    if (!in.ok()) throw in.error("list of servers");
  } while (!cursor.empty());
  return all;
}

void RdpServerClient::remove(const Id& server) {
  net::Call call;
  call.method = net::Method::del;
  call.target = server_path(server);
  call.timeout = std::chrono::seconds(30);
  http_->expect(call);
}

ServerEvents RdpServerClient::events(std::uint64_t after, int wait_ms) {
  net::Call call;
  call.target = "/api/v1/events?after=" + std::to_string(after) + "&wait_ms=" + std::to_string(wait_ms);
  call.timeout = std::chrono::milliseconds(std::max(0, wait_ms)) + std::chrono::seconds(5);
  auto value = parse_json(as_text(http_->expect(call).body));
  if (!value) throw value.error();
  Fields in(*value);
  ServerEvents answer;
  answer.next = in.number<std::uint64_t>("next");
  for (const json::value& item : in.array("events")) {
    Fields e(item);
    ServerEvent event{e.number<std::uint64_t>("seq"), e.id("server_id"), ServerState::creating, e.text("cause")};
    if (auto state = server_state(e.text("state")))
      event.state = *state;
    else
      e.refuse("state");
    if (!e.ok()) throw e.error("server event");
    answer.events.push_back(std::move(event));
  }
  if (!in.ok()) throw in.error("list of server events");
  return answer;
}

}  // namespace lucid::contracts
