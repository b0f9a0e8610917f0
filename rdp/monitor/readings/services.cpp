#include "rdp/monitor/readings/services.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "lib/base/bytes.hpp"
#include "lib/contracts/fields.hpp"
#include "lib/contracts/gateway.hpp"
#include "lib/contracts/rdp_server.hpp"
#include "rdp/monitor/readings/asking.hpp"
#include "rdp/monitor/readings/service_figures.hpp"
#include "rdp/monitor/readings/windows.hpp"

namespace lucid::monitor {
namespace {

constexpr std::int64_t kRecentMs = 5 * 60'000, kMemoryWindowMs = 10 * 60'000;
// How long servers are taken to go on as they were while their manager does not answer: it may restart, they do not.
constexpr std::int64_t kServersKeptMs = 5 * 60'000;
constexpr std::size_t kMaxSessions = 2'000;

struct Server {
  std::string id, display;
  std::vector<std::uint32_t> pids;
};
struct Recorded {
  std::string display, state, alarm;
  std::uint64_t frames = 0, backlog = 0;
};
struct Carried {
  std::string session;
  std::uint64_t up = 0, down = 0;
};

// A list a service gave, when it was and the one before, for rates.
template <class List>
struct Told {
  List now, before;
  std::optional<std::int64_t> now_ms, before_ms;  // steady
  void put(List list, std::int64_t at_ms) {
    before = std::exchange(now, std::move(list));
    before_ms = std::exchange(now_ms, at_ms);
  }
  double seconds() const { return now_ms && before_ms ? static_cast<double>(*now_ms - *before_ms) / 1000 : 0; }
};

double per_second(double grown, double seconds) { return seconds > 0 && grown >= 0 ? grown / seconds : kUnknown; }

std::vector<Server> running_servers(const std::vector<json::value>& pages) {
  std::vector<Server> servers;
  for (const json::value& page : pages) {
    contracts::Fields in(page);
    for (const json::value& item : in.array("servers")) {
      contracts::ServerStatus status = contracts::read_server_status(item);
      if (status.state != contracts::ServerState::running || servers.size() == kMaxSessions) continue;
      servers.push_back({status.id.text(), status.display ? to_utf8(status.display->display, 64) : "", std::move(status.pids)});
    }
    if (!in.ok()) throw in.error("list of servers");
  }
  return servers;
}

std::map<std::string, Recorded> recordings_of(const json::value& value) {
  contracts::Fields in(value);
  std::map<std::string, Recorded> found;
  for (const json::value& item : in.array("recordings")) {
    contracts::Fields r(item);
    Recorded recorded{r.text("display"), r.text("state"), r.text("alarm"), r.number<std::uint64_t>("frames"),
                      r.number<std::uint64_t>("backlog")};
    std::string id = r.id("session_id").text();
    if (!r.ok()) throw r.error("recording");
    if (found.size() < kMaxSessions) found.emplace(std::move(id), std::move(recorded));
  }
  if (!in.ok()) throw in.error("list of recordings");
  return found;
}

std::map<std::string, Carried> connections_of(const json::value& value) {
  contracts::Fields in(value);
  std::map<std::string, Carried> found;
  for (const json::value& item : in.array("connections")) {
    contracts::Connection c = contracts::read_connection(item);
    if (found.size() < 2 * kMaxSessions) found.emplace(c.id.text(), Carried{c.session.text(), c.bytes_up, c.bytes_down});
  }
  if (!in.ok()) throw in.error("list of connections");
  return found;
}

}  // namespace

struct ServiceReader::State {
  struct Known {
    std::string name;
    std::optional<ServiceFigures> figures;  // of the last time it answered
    std::int64_t at_ms = 0;
  };
  const Clock& clock;
  std::vector<Known> known;
  Asking asking;
  RecentIncrease gaps{kRecentMs}, storage_errors{kRecentMs};
  RecentGrowth spool{kRecentMs};
  Told<std::vector<Server>> servers;
  Told<std::map<std::string, Recorded>> recordings;
  Told<std::map<std::string, Carried>> connections;
  struct Memory {
    RecentGrowth growth{kMemoryWindowMs};
    bool seen = false;
  };
  std::map<std::string, Memory> memories;

  State(std::vector<Peer> peers, const Clock& c, std::chrono::milliseconds deadline) : clock(c), asking(peers, c, deadline) {
    for (Peer& peer : peers) known.push_back({std::move(peer.name), std::nullopt, 0});
  }

  Service service_of(Known& k, const PeerAnswer& answer, std::vector<Reading>& recording);
  void take_figures(const std::string& name, const ServiceFigures& figures, std::int64_t at_ms, std::vector<Reading>& recording);
  void take_list(const std::string& name, const PeerAnswer& answer);
  void add_sessions(ServiceLook& look);
};

Service ServiceReader::State::service_of(Known& k, const PeerAnswer& answer, std::vector<Reading>& recording) {
  Service s;
  s.name = k.name;
  s.problem = answer.metrics_problem;
  if (!s.problem.empty()) return s;
  Expected<ServiceFigures> read = read_figures(answer.metrics);
  if (!read) {
    s.problem = read.error().what();
    return s;
  }
  s.up = true;
  s.healthy = answer.healthy;
  s.problem = !answer.health_problem.empty() ? answer.health_problem : answer.list_problem;
  s.version = read->version;
  s.scrape_seconds = answer.scrape_seconds;
  auto whole = [](std::optional<double> value) { return static_cast<std::uint64_t>(std::clamp(value.value_or(0), 0.0, 1e18)); };
  s.memory_bytes = whole(read->resident_bytes);
  s.open_files = whole(read->open_files);
  if (read->started_s) s.uptime_seconds = std::max(0.0, static_cast<double>(clock.wall_ms()) / 1000 - *read->started_s);
  if (k.figures) {
    const ServiceFigures& b = *k.figures;
    double seconds = static_cast<double>(answer.at_ms - k.at_ms) / 1000;
    // Counters that went back are those of a new process: all they have is new.
    auto grown = [](double before, double now) { return now >= before ? now - before : now; };
    if (read->cpu_seconds && b.cpu_seconds) s.cpu_ratio = per_second(grown(*b.cpu_seconds, *read->cpu_seconds), seconds);
    s.requests_per_second = per_second(grown(b.requests, read->requests), seconds);
    s.errors_per_second = per_second(grown(b.errors, read->errors), seconds);
  }
  k.figures = *std::move(read);
  k.at_ms = answer.at_ms;
  take_figures(k.name, *k.figures, answer.at_ms, recording);
  return s;
}

// Services that share a process show each other's series: each is believed only about its own.
void ServiceReader::State::take_figures(const std::string& name, const ServiceFigures& f, std::int64_t at_ms,
                                        std::vector<Reading>& recording) {
  auto put = [&](std::string_view metric, std::optional<double> value) {
    if (value && std::isfinite(*value)) recording.push_back({metric, "", *value});
  };
  if (name == "session-recorder") {
    put("recording_backlog_segments", f.backlog_segments);
    put("recording_segment_lag_seconds", f.oldest_segment_s);
    put("recording_spool_bytes", f.spool_bytes);
    if (f.spool_bytes) put("recording_spool_growth_bytes", spool.add(at_ms, *f.spool_bytes));
    if (f.gaps) put("recording_gaps_recent", gaps.add(at_ms, *f.gaps));
  } else if (name == "session-pipeline") {
    put("recording_stalled", f.stalled);
  } else if (name == "chunk-processor") {
    put("recording_checkpoint_age_seconds", f.checkpoint_age_s);
  } else if (name == "session-storage") {
    if (f.storage_errors) put("storage_errors_recent", storage_errors.add(at_ms, *f.storage_errors));
  } else if (name == "node-management") {
    put("nodes_offline", f.nodes_offline);
  }
  double now_s = static_cast<double>(clock.wall_ms()) / 1000;
  for (const auto& [certificate, end_s] : f.certificates) {
    auto same = [&](const Reading& r) { return r.metric == "certificate_expires_seconds" && r.subject == certificate; };
    if (auto there = std::ranges::find_if(recording, same); there != recording.end())
      there->value = std::min(there->value, end_s - now_s);
    else
      recording.push_back({"certificate_expires_seconds", certificate, end_s - now_s});
  }
}

void ServiceReader::State::take_list(const std::string& name, const PeerAnswer& answer) {
  if (name == "rdp-server-manager") servers.put(running_servers(answer.pages), answer.at_ms);
  if (name == "session-recorder") recordings.put(recordings_of(answer.pages.front()), answer.at_ms);
  if (name == "xrdp-integration") connections.put(connections_of(answer.pages.front()), answer.at_ms);
}

void ServiceReader::State::add_sessions(ServiceLook& look) {
  std::map<std::string, Session> sessions;
  std::int64_t now_ms = clock.steady_ms();
  if (servers.now_ms && now_ms - *servers.now_ms <= kServersKeptMs)
    for (const Server& server : servers.now) {
      look.roots.push_back({server.id, server.pids});
      Session& s = sessions[server.id];
      s.display = server.display;
    }
  for (const auto& [id, recorded] : recordings.now) {
    Session& s = sessions[id];
    if (s.display.empty()) s.display = to_utf8(recorded.display, 64);
    s.state = to_utf8(recorded.state, 64);
    s.alarm = to_utf8(recorded.alarm, 64);
    s.backlog = recorded.backlog;
    if (auto before = recordings.before.find(id); before != recordings.before.end())
      s.frames_per_second =
          per_second(static_cast<double>(recorded.frames) - static_cast<double>(before->second.frames), recordings.seconds());
  }
  // Who has no connection carries nothing.
  double seconds = connections.seconds();
  std::map<std::string_view, std::pair<double, double>> carried;
  for (const auto& [id, c] : connections.now) {
    auto before = connections.before.find(id);
    Carried from = before != connections.before.end() ? before->second : Carried{};
    auto& [up, down] = carried[c.session];
    up += c.up >= from.up ? static_cast<double>(c.up - from.up) : 0;
    down += c.down >= from.down ? static_cast<double>(c.down - from.down) : 0;
  }
  for (auto& [id, s] : sessions) {
    s.id = id;
    auto [up, down] = carried[id];
    s.receive_bytes_per_second = per_second(up, seconds);
    s.transmit_bytes_per_second = per_second(down, seconds);
    look.sessions.push_back(std::move(s));
  }
}

ServiceReader::ServiceReader(std::vector<Peer> peers, const Clock& clock, std::chrono::milliseconds deadline)
    : state_(std::make_unique<State>(std::move(peers), clock, deadline)) {}
ServiceReader::~ServiceReader() = default;

ServiceLook ServiceReader::look() {
  State& s = *state_;
  ServiceLook look;
  const std::vector<PeerAnswer>& answers = s.asking.ask();
  bool recorder = false, gateway = false;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    State::Known& k = s.known[i];
    Service& service = look.services.emplace_back(s.service_of(k, answers[i], look.recording));
    if (!answers[i].listed) continue;
    try {
      s.take_list(k.name, answers[i]);
      recorder |= k.name == "session-recorder";
      gateway |= k.name == "xrdp-integration";
    } catch (const std::exception& e) {
      if (service.problem.empty()) service.problem = to_utf8(e.what(), 500);
    }
  }
  // What is not known now is not shown as it was; rates go on from the next answer but one.
  if (!recorder) s.recordings = {};
  if (!gateway) s.connections = {};
  s.add_sessions(look);
  return look;
}

void ServiceReader::with_use(std::vector<Session>& sessions, const std::vector<SessionUse>& uses) {
  auto& memories = state_->memories;
  std::int64_t now_ms = state_->clock.steady_ms();
  std::map<std::string_view, const SessionUse*> by_id;
  for (const SessionUse& use : uses) by_id.emplace(use.session, &use);
  for (auto& [id, memory] : memories) memory.seen = false;
  for (Session& s : sessions) {
    auto found = by_id.find(s.id);
    if (found == by_id.end()) continue;
    const SessionUse& use = *found->second;
    s.cpu_ratio = use.cpu_ratio;
    s.read_bytes_per_second = use.read_bytes_per_second;
    s.write_bytes_per_second = use.write_bytes_per_second;
    s.memory_bytes = use.memory_bytes;
    s.processes = use.processes;
    State::Memory& memory = memories[s.id];
    memory.seen = true;
    s.memory_growth_bytes = static_cast<std::uint64_t>(memory.growth.add(now_ms, static_cast<double>(use.memory_bytes)));
  }
  std::erase_if(memories, [](const auto& item) { return !item.second.seen; });
}

}  // namespace lucid::monitor
