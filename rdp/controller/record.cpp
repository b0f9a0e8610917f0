#include "rdp/controller/record.hpp"

#include "lib/contracts/fields.hpp"

namespace lucid::controller {
namespace {

json::value id_or_null(const std::optional<Id>& id) { return id ? json::value(id->text()) : json::value(nullptr); }

constexpr const char* kReleased[] = {"none", "go", "refuse"};

}  // namespace

std::string to_stored(const Record& r) {
  json::array closed;
  for (const Id& id : r.closed) closed.push_back(json::value(id.text()));
  json::object o{{"format", 1},
                 {"request", contracts::to_json(r.request)},
                 {"state", contracts::name(r.state)},
                 {"cause", r.cause},
                 {"failing", r.failing},
                 {"placed", r.placed},
                 {"node", id_or_null(r.node)},
                 {"node_released", r.node_released},
                 {"server_asked", r.server_asked},
                 {"server_created", r.server_created},
                 {"server_started", r.server_started},
                 {"account", r.account},
                 {"display", r.display},
                 {"xauthority", r.xauthority},
                 {"server_port", r.server_port},
                 {"recording_asked", r.recording_asked},
                 {"recording_started", r.recording_started},
                 {"recording_paused", r.recording_paused},
                 {"released", kReleased[static_cast<std::size_t>(r.released)]},
                 {"frozen", r.frozen},
                 {"refused", r.refused},
                 {"killed", r.killed},
                 {"kill_later", r.kill_later},
                 {"recording_later", r.recording_later},
                 {"recording_stopped", r.recording_stopped},
                 {"server_stopped", r.server_stopped},
                 {"server_removed", r.server_removed},
                 {"created", r.created_wall_ms},
                 {"server_ready", r.server_ready_wall_ms},
                 {"display_at", r.display_wall_ms},
                 {"first_frame", r.first_frame_wall_ms},
                 {"ready", r.ready_wall_ms},
                 {"connected", r.connected_wall_ms},
                 {"ended", r.ended_wall_ms},
                 {"disconnected", r.disconnected_wall_ms},
                 {"active", r.active_wall_ms},
                 {"token", r.token.text()},
                 {"token_expires", r.token_expires_unix_s},
                 {"token_used", r.token_used},
                 {"opening", r.opening ? json::value(json::object{{"connection", r.opening->connection.text()},
                                                                  {"client_address", r.opening->client_address}})
                                       : json::value(nullptr)},
                 {"live", id_or_null(r.live)},
                 {"closed", std::move(closed)},
                 {"connections", r.connections},
                 {"ever_closed", r.ever_closed},
                 {"client_address", r.client_address},
                 {"closed_up", r.closed_up},
                 {"closed_down", r.closed_down},
                 {"history", r.history}};
  return json::serialize(o);
}

Record from_stored(std::string_view text) {
  auto corrupt = [](const std::string& why) { return Error(ErrorKind::corrupt, "session_document", "controller.db: " + why); };
  auto value = parse_json(text);
  if (!value) throw corrupt(value.error().what());
  contracts::Fields in(*value);
  Record r;
  if (in.number<int>("format") != 1) in.refuse("format");
  try {
    r.request = contracts::read_rdp_session_request(in.value("request"));
  } catch (const Error& e) { throw corrupt(e.what()); }
  if (auto state = contracts::rdp_state(in.text("state")))
    r.state = *state;
  else
    in.refuse("state");
  r.cause = in.text("cause");
  r.failing = in.boolean("failing");
  if (value->get_object().contains("placed")) {
    r.placed = in.boolean("placed");
    if (!in.value("node").is_null()) r.node = in.id("node");
    r.node_released = in.boolean("node_released");
  } else {
    r.placed = true;  // of a session that began before there were nodes
  }
  r.server_asked = in.boolean("server_asked");
  r.server_created = in.boolean("server_created");
  r.server_started = in.boolean("server_started");
  r.account = in.text("account");
  r.display = in.text("display");
  r.xauthority = in.text("xauthority");
  r.server_port = in.number<std::uint16_t>("server_port");
  r.recording_asked = in.boolean("recording_asked");
  r.recording_started = in.boolean("recording_started");
  r.recording_paused = in.boolean("recording_paused");
  std::string released = in.text("released");
  auto word = std::find(std::begin(kReleased), std::end(kReleased), released);
  if (word == std::end(kReleased))
    in.refuse("released");
  else
    r.released = static_cast<Released>(word - std::begin(kReleased));
  r.frozen = in.boolean("frozen");
  r.refused = in.boolean("refused");
  r.killed = in.boolean("killed");
  r.kill_later = in.boolean("kill_later");
  r.recording_later = in.boolean("recording_later");
  r.recording_stopped = in.boolean("recording_stopped");
  r.server_stopped = in.boolean("server_stopped");
  r.server_removed = in.boolean("server_removed");
  r.created_wall_ms = in.number<std::int64_t>("created");
  r.server_ready_wall_ms = in.number<std::int64_t>("server_ready");
  r.display_wall_ms = in.number<std::int64_t>("display_at");
  r.first_frame_wall_ms = in.number<std::int64_t>("first_frame");
  r.ready_wall_ms = in.number<std::int64_t>("ready");
  r.connected_wall_ms = in.number<std::int64_t>("connected");
  r.ended_wall_ms = in.number<std::int64_t>("ended");
  r.disconnected_wall_ms = in.number<std::int64_t>("disconnected");
  r.active_wall_ms = in.number<std::int64_t>("active");
  r.token = in.id("token");
  r.token_expires_unix_s = in.number<std::uint32_t>("token_expires");
  r.token_used = in.boolean("token_used");
  if (const json::value& opening = in.value("opening"); !opening.is_null()) {
    contracts::Fields o(opening);
    r.opening = Record::Opening{o.id("connection"), o.text("client_address")};
    if (!o.ok()) in.refuse("opening");
  }
  if (!in.value("live").is_null()) r.live = in.id("live");
  for (const std::string& id : in.texts("closed"))
    if (auto parsed = Id::parse(id)) r.closed.push_back(*parsed);
  r.connections = in.number<std::uint64_t>("connections");
  r.ever_closed = in.boolean("ever_closed");
  r.client_address = in.text("client_address");
  r.closed_up = in.number<std::uint64_t>("closed_up");
  r.closed_down = in.number<std::uint64_t>("closed_down");
  r.history = in.array("history");
  if (!in.ok()) throw corrupt(in.error("session " + r.request.id.text()).what());
  return r;
}

const char* name(Step step) {
  switch (step) {
    case Step::none: return "none";
    case Step::place: return "place";
    case Step::create_server: return "create_server";
    case Step::start_server: return "start_server";
    case Step::wait_display: return "wait_display";
    case Step::start_recording: return "start_recording";
    case Step::pause_recording: return "pause_recording";
    case Step::release: return "release";
    case Step::kill_connections: return "kill_connections";
    case Step::refuse_desktop: return "refuse_desktop";
    case Step::stop_recording: return "stop_recording";
    case Step::stop_server: return "stop_server";
    case Step::remove_server: return "remove_server";
    case Step::release_node: return "release_node";
    case Step::finish: return "finish";
  }
  return "?";
}

Step next_step(const Record& r) {
  if (is_over(r.state)) return Step::none;
  if (r.state == State::ending) {
    if (!r.killed && !r.kill_later) return Step::kill_connections;
    // A desktop that never began must not begin now: the hook is told before anything it waits for goes away.
    if (!r.display.empty() && r.released == Released::none && !r.refused) return Step::refuse_desktop;
    if (r.recording_asked && !r.recording_stopped && !r.recording_later) return Step::stop_recording;
    if (r.server_asked && !r.server_stopped) return Step::stop_server;
    if (r.server_asked && !r.server_removed) return Step::remove_server;
    if (r.recording_asked && !r.recording_stopped) return Step::stop_recording;
    if ((r.node || !r.placed) && !r.node_released) return Step::release_node;
    return Step::finish;
  }
  if (!r.placed) return Step::place;
  if (!r.server_created) return Step::create_server;
  if (!r.server_started) return Step::start_server;
  // Nobody can log in while the relay stands still, so no display can come.
  if (r.display.empty()) return r.state == State::paused ? Step::none : Step::wait_display;
  if (r.state == State::paused && r.recording_started && !r.recording_paused) return Step::pause_recording;
  if (!r.recording_started && r.released != Released::go) return Step::start_recording;
  if (r.released != Released::go) return Step::release;
  // Fail-open: the desktop went on unrecorded; its recording is still wanted.
  if (!r.recording_started) return Step::start_recording;
  return Step::none;
}

}  // namespace lucid::controller
