#include "rdp/server-manager/record.hpp"

#include <array>

#include "lib/contracts/fields.hpp"

namespace lucid::server_manager {
namespace {

constexpr std::array<const char*, 3> kDecisions{"wait", "go", "refuse"};

json::value to_json(const ProcessId& id) { return json::object{{"pid", id.pid}, {"start", id.start}}; }

ProcessId process(contracts::Fields& in, std::string_view key) {
  contracts::Fields p(in.value(key));
  ProcessId id{p.number<pid_t>("pid"), p.number<std::uint64_t>("start")};
  if (!p.ok()) in.refuse(key);
  return id;
}

}  // namespace

const char* name(Decision decision) { return kDecisions[static_cast<std::size_t>(decision)]; }

std::optional<Decision> decision(std::string_view text) {
  for (std::size_t i = 0; i < kDecisions.size(); ++i)
    if (text == kDecisions[i]) return static_cast<Decision>(i);
  return std::nullopt;
}

std::string encode(const Record& r) {
  json::object out{{"slot", r.slot.text()},
                   {"id", r.id.text()},
                   {"state", contracts::name(r.state)},
                   {"cause", r.cause},
                   {"account", r.account},
                   {"home", r.home},
                   {"desktop", r.desktop},
                   {"uid", r.uid},
                   {"gid", r.gid},
                   {"ephemeral", r.ephemeral},
                   {"keep_home", r.keep_home},
                   {"pooled", r.pooled},
                   {"warm", r.warm},
                   {"credentials_given", r.credentials_given},
                   {"width", r.width},
                   {"height", r.height},
                   {"color_depth", r.color_depth},
                   {"memory_mb", r.memory_mb},
                   {"restarts", r.restarts},
                   {"cpu", r.cpu},
                   {"port", r.port},
                   {"xrdp", to_json(r.xrdp)},
                   {"leader", to_json(r.leader)},
                   {"session", nullptr},
                   {"decision", name(r.decision)},
                   {"created_wall_ms", r.created_wall_ms},
                   {"since_wall_ms", r.since_wall_ms}};
  if (r.session)
    out["session"] = json::object{{"display", r.session->display},        {"xauthority", r.session->xauthority},
                                  {"leader", to_json(r.session->leader)}, {"x_server", to_json(r.session->x_server)},
                                  {"hook", to_json(r.session->hook)},     {"sesman", to_json(r.session->sesman)}};
  return json::serialize(out);
}

Record decode_record(const std::string& text) {
  auto value = parse_json(text);
  if (!value) throw Error(ErrorKind::corrupt, std::string("read a server's document: ") + value.error().what());
  contracts::Fields in(*value);
  Record r;
  r.slot = in.id("slot");
  r.id = in.id("id");
  if (auto state = contracts::server_state(in.text("state")))
    r.state = *state;
  else
    in.refuse("state");
  r.cause = in.text("cause");
  r.account = in.text("account");
  r.home = in.text("home");
  r.desktop = in.text("desktop");
  r.uid = in.number<std::uint32_t>("uid");
  r.gid = in.number<std::uint32_t>("gid");
  r.ephemeral = in.boolean("ephemeral");
  r.keep_home = in.boolean("keep_home");
  r.pooled = in.boolean("pooled");
  r.warm = in.boolean("warm");
  r.credentials_given = in.boolean("credentials_given");
  r.width = in.number<int>("width");
  r.height = in.number<int>("height");
  r.color_depth = in.number<int>("color_depth");
  r.memory_mb = in.number<int>("memory_mb");
  r.restarts = in.number<int>("restarts");
  r.cpu = in.real("cpu");
  r.port = in.number<std::uint16_t>("port");
  r.xrdp = process(in, "xrdp");
  r.leader = process(in, "leader");
  if (const json::value& session = in.value("session"); !session.is_null()) {
    contracts::Fields s(session);
    r.session = Session{s.number<int>("display"), s.text("xauthority"), process(s, "leader"),
                        process(s, "x_server"),   process(s, "hook"),   process(s, "sesman")};
    if (!s.ok()) in.refuse("session");
  }
  if (auto d = decision(in.text("decision")))
    r.decision = *d;
  else
    in.refuse("decision");
  r.created_wall_ms = in.number<std::int64_t>("created_wall_ms");
  r.since_wall_ms = in.number<std::int64_t>("since_wall_ms");
  if (!in.ok()) throw Error(ErrorKind::corrupt, in.error("server's document").what());
  return r;
}

contracts::ServerStatus status_of(const Record& r) {
  contracts::ServerStatus s{.id = r.id,
                            .state = r.state,
                            .cause = r.cause,
                            .account = r.account,
                            .ephemeral = r.ephemeral,
                            .desktop = r.desktop,
                            .port = r.port,
                            .display = std::nullopt,
                            .released = r.decision == Decision::go,
                            .restarts = r.restarts,
                            .created_wall_ms = r.created_wall_ms,
                            .since_wall_ms = r.since_wall_ms,
                            .warm = r.warm,
                            .pids = {}};
  for (pid_t pid : {r.xrdp.pid, r.session ? r.session->leader.pid : r.leader.pid})
    if (pid > 0) s.pids.push_back(static_cast<std::uint32_t>(pid));
  if (r.session) s.display = contracts::ServerDisplay{":" + std::to_string(r.session->display), r.session->xauthority, r.uid};
  return s;
}

bool may_move(ServerState from, ServerState to) {
  using enum ServerState;
  switch (to) {
    case creating: return false;
    case configuring: return from == creating;
    case starting: return from == configuring || from == running || from == stopped || from == failed;
    case running: return from == starting;
    case stopping: return from == configuring || from == starting || from == running || from == failed;
    case stopped: return from == stopping;
    case failed: return from == creating || from == configuring || from == starting || from == running || from == stopping;
    case deleted: return from == creating || from == configuring || from == stopped || from == failed;
  }
  return false;
}

}  // namespace lucid::server_manager
