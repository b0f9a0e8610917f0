// Test doubles of the services around the controller. They keep real state and refuse what the real ones refuse: servers with accounts,
// displays and waiting start hooks, recordings with the pipeline's state machine, a gateway with connections. Tests make calls fail through
// `on_call`, and broken promises (a desktop that began unrecorded, a recording cut off by a display that went first) are counted.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>

#include <gtest/gtest.h>

#include "rdp/controller/peers.hpp"

namespace lucid::controller {

struct World {
  std::mutex mutex;
  std::condition_variable changed;
  std::function<void(const std::string&)> on_call = [](const std::string&) {};  // may throw: the call fails before it does anything
  std::function<void(const std::string&)> after_call = [](const std::string&) {};

  struct Server {
    contracts::ServerStatus status;
    std::string decision;  // what its hook was told
    int password = 0;
  };
  std::map<Id, Server> servers;
  std::vector<contracts::ServerEvent> events;
  int servers_made = 0;
  bool displays_come = true, displays_fail = false;

  struct Recording {
    contracts::RecordingStatus status;
    int starts = 0;
    bool display_was_there = true;  // when it ended
    std::int64_t waits_until_wall_ms = 0;
  };
  std::map<Id, Recording> recordings;
  bool recorder_up = true, recorder_refuses = false;
  std::string alarm;
  std::int64_t last_input_wall_ms = 0;

  std::map<Id, contracts::Connection> connections;
  std::vector<std::pair<Id, std::string>> killed;

  bool nodes_registered = false;
  int node_slots = 100;
  std::map<Id, Id> placements;  // session → node

  std::set<Id> fail_open;  // sessions that may begin unrecorded
  int unrecorded_desktops = 0;

  static Error unreachable() { return Error(ErrorKind::unavailable, "unreachable", "the service cannot be reached"); }
  static Error missing() { return Error(ErrorKind::not_found, "there is none of that id"); }

  void called(const std::string& call) {
    std::function<void(const std::string&)> hook;
    {
      std::lock_guard lock(mutex);
      hook = on_call;
    }
    hook(call);
  }
  void fail_calls(std::function<void(const std::string&)> hook) {
    std::lock_guard lock(mutex);
    on_call = std::move(hook);
  }
  template <class F>
  auto with(F f) {
    std::lock_guard lock(mutex);
    changed.notify_all();
    return f();
  }
  void display_comes(const Id& id, const std::string& display = ":10") {
    with([&] { servers.at(id).status.display = contracts::ServerDisplay{display, "/home/u/.Xauthority", 1001}; });
  }
  void event(const Id& id, contracts::ServerState state, const std::string& cause) {
    with([&] { events.push_back({events.size() + 1, id, state, cause}); });
  }
  bool recorded(const Id& id) {  // with mutex held
    auto it = recordings.find(id);
    return it != recordings.end() && it->second.status.state == contracts::PipelineState::active;
  }
};

class WorldServers final : public Servers {
 public:
  explicit WorldServers(World& world) : w_(world) {}
  contracts::ServerStatus create(const contracts::ServerRequest& request) override {
    w_.called("server.create");
    return w_.with([&] {
      auto [it, made] = w_.servers.try_emplace(request.id);
      if (made) {
        ++w_.servers_made;
        it->second.status.id = request.id;
        it->second.status.ephemeral = request.account.empty();
        it->second.status.account = request.account.empty() ? "lu" + std::to_string(1'000'000 + w_.servers_made) : request.account;
        it->second.status.port = static_cast<std::uint16_t>(13'389 + w_.servers_made);
      }
      return it->second.status;
    });
  }
  contracts::ServerStatus act(const Id& id, const std::string& action) override {
    w_.called("server." + action);
    return w_.with([&] {
      auto& s = at(id);
      if (action == "start") {
        s.status.state = contracts::ServerState::running;
        if (w_.displays_come && s.status.ephemeral && !s.status.display)
          s.status.display = contracts::ServerDisplay{":10", "/home/u/.Xauthority", 1001};
      } else {
        s.status.state = contracts::ServerState::stopped;
        s.status.display.reset();
      }
      return s.status;
    });
  }
  contracts::ServerDisplay wait_for_display(const Id& id, int wait_ms) override {
    w_.called("server.display");
    std::unique_lock lock(w_.mutex);
    w_.changed.wait_for(lock, std::chrono::milliseconds(wait_ms),
                        [&] { return w_.displays_fail || !w_.servers.contains(id) || at(id).status.display; });
    if (!at(id).status.display)
      throw Error(ErrorKind::unavailable, "display_unavailable", "no display: Fatal server error: no screens found");
    return *at(id).status.display;
  }
  void release(const Id& id, bool go) override {
    w_.called(go ? "server.go" : "server.refuse");
    w_.with([&] {
      auto& s = at(id);
      if (!s.decision.empty()) return;  // durable: the first decision stays
      s.decision = go ? "go" : "refuse";
      if (go && !w_.recorded(id) && !w_.fail_open.contains(id)) ++w_.unrecorded_desktops;
    });
  }
  contracts::Credentials credentials(const Id& id) override {
    w_.called("server.credentials");
    return w_.with([&] {
      auto& s = at(id);
      return contracts::Credentials{s.status.account, "password-" + std::to_string(++s.password)};
    });
  }
  contracts::ServerStatus status(const Id& id) override {
    w_.called("server.status");
    return w_.with([&] { return at(id).status; });
  }
  void remove(const Id& id) override {
    w_.called("server.remove");
    w_.with([&] {
      if (at(id).status.state == contracts::ServerState::running) throw Error(ErrorKind::conflict, "server_live", "the server is running");
      w_.servers.erase(id);
    });
  }
  contracts::ServerEvents events(std::uint64_t after, int wait_ms) override {
    w_.called("server.events");
    std::unique_lock lock(w_.mutex);
    w_.changed.wait_for(lock, std::chrono::milliseconds(wait_ms), [&] { return w_.events.size() > after; });
    contracts::ServerEvents out;
    for (const auto& e : w_.events)
      if (e.seq > after) out.events.push_back(e);
    out.next = w_.events.size();
    return out;
  }

 private:
  World::Server& at(const Id& id) {
    auto it = w_.servers.find(id);
    if (it == w_.servers.end()) throw World::missing();
    return it->second;
  }
  World& w_;
};

class WorldRecordings final : public Recordings {
 public:
  using State = contracts::PipelineState;
  explicit WorldRecordings(World& world) : w_(world) {}
  contracts::RecordingStatus create(const contracts::RecordingPlan& plan) override {
    w_.called("recording.create");
    return w_.with([&] {
      auto& r = w_.recordings[plan.session];
      r.waits_until_wall_ms = plan.waits_until_wall_ms;
      r.status.session = plan.session;
      return r.status;
    });
  }
  contracts::RecordingStatus act(const Id& id, const std::string& action) override {
    w_.called("recording." + action);
    auto answer = w_.with([&] {
      auto& r = at(id);
      State& state = r.status.state;
      auto need = [&](std::initializer_list<State> from) {
        for (State s : from)
          if (s == state) return;
        throw Error(ErrorKind::conflict, "illegal_transition", "cannot " + action + " a recording that is " + contracts::name(state));
      };
      if (action == "start") {
        need({State::created});
        ++r.starts;
        if (w_.recorder_refuses) {
          state = State::error;
          throw Error(ErrorKind::unavailable, "display_unavailable", "the recorder cannot open the display");
        }
        if (!w_.recorder_up) {
          state = State::starting;  // waits for a recorder that is away
        } else {
          state = State::active;
          r.status.started_wall_ms = 1'700'000'000'000;
        }
      } else if (action == "pause") {
        need({State::active});
        state = State::paused;
      } else if (action == "resume") {
        need({State::paused});
        state = State::active;
      } else if (action == "recover") {
        need({State::error});
        state = State::created;
      } else if (action == "stop") {
        need({State::starting, State::active, State::paused});
        auto server = w_.servers.find(id);
        r.display_was_there = server != w_.servers.end() && server->second.status.display.has_value();
        r.status.ended = true;
        state = State::stopped;
      }
      return r.status;
    });
    w_.after_call("recording." + action);
    return answer;
  }
  contracts::RecordingStatus status(const Id& id) override {
    w_.called("recording.status");
    return w_.with([&] { return at(id).status; });
  }
  std::vector<contracts::RecorderView> held() override {
    w_.called("recorder.held");
    return w_.with([&] {
      if (!w_.recorder_up) throw World::unreachable();
      std::vector<contracts::RecorderView> out;
      for (auto& [id, r] : w_.recordings) {
        if (r.status.state == State::starting) r.status.state = State::active;  // the pipeline's follow-up reached it
        if (r.status.state != State::active && r.status.state != State::paused) continue;
        contracts::RecorderView view;
        view.session = id;
        view.state = r.status.state == State::active ? "recording" : "paused";
        view.alarm = w_.alarm;
        view.last_input_wall_ms = w_.last_input_wall_ms;
        out.push_back(view);
      }
      return out;
    });
  }

 private:
  World::Recording& at(const Id& id) {
    auto it = w_.recordings.find(id);
    if (it == w_.recordings.end()) throw World::missing();
    return it->second;
  }
  World& w_;
};

class WorldNodes final : public Nodes {
 public:
  explicit WorldNodes(World& world) : w_(world) {}
  std::optional<contracts::Placement> place(const contracts::PlaceRequest& request) override {
    w_.called("nodes.place");
    return w_.with([&]() -> std::optional<contracts::Placement> {
      if (!w_.nodes_registered) return std::nullopt;
      if (!w_.placements.contains(request.session)) {
        if (static_cast<int>(w_.placements.size()) >= w_.node_slots) throw Error(ErrorKind::conflict, "no_node", "no node has room");
        w_.placements[request.session] = request.session;  // any node will do
      }
      return contracts::Placement{request.session, w_.placements[request.session], "node-1"};
    });
  }
  void release(const Id& session) override {
    w_.called("nodes.release");
    w_.with([&] { w_.placements.erase(session); });
  }

 private:
  World& w_;
};

class WorldGateway final : public Gateway {
 public:
  explicit WorldGateway(World& world) : w_(world) {}
  std::vector<contracts::Connection> connections() override {
    w_.called("gateway.connections");
    return w_.with([&] {
      std::vector<contracts::Connection> out;
      for (const auto& [id, c] : w_.connections) out.push_back(c);
      return out;
    });
  }
  void freeze(const Id& id) override {
    w_.called("gateway.freeze");
    w_.with([&] { at(id).frozen = true; });
  }
  void resume(const Id& id) override {
    w_.called("gateway.resume");
    w_.with([&] { at(id).frozen = false; });
  }
  void kill(const Id& id, const std::string& cause) override {
    w_.called("gateway.kill");
    w_.with([&] {
      at(id);
      w_.connections.erase(id);
      w_.killed.emplace_back(id, cause);
    });
  }

 private:
  contracts::Connection& at(const Id& id) {
    auto it = w_.connections.find(id);
    if (it == w_.connections.end()) throw World::missing();
    return it->second;
  }
  World& w_;
};

}  // namespace lucid::controller
