// A controller on a real database (unless a test brings another) among the doubles of test_world.hpp, with a clock moved by hand and threads that look often.
#pragma once

#include <thread>

#include "lib/base/file_ops.hpp"
#include "rdp/controller/controller.hpp"
#include "rdp/controller/test_world.hpp"

namespace lucid::controller {

struct Harness {
  TempDir dir;
  ManualClock clock;
  SeededRandom random{7};
  World world;
  WorldServers servers{world};
  WorldRecordings recordings{world};
  WorldGateway gateway{world};
  WorldNodes nodes{world};
  runtime::Metrics metrics;
  std::unique_ptr<store::Documents> documents;
  crypto::SigningKey key = crypto::SigningKey::make(random);
  Config config;
  std::unique_ptr<Controller> controller;

  explicit Harness(std::unique_ptr<store::Documents> on = nullptr) : documents(std::move(on)) {
    if (!documents) documents = store::open_sqlite_documents(dir.path() + "/controller.db");
    config.poll_ms = 3;
    config.first_retry_ms = 1;
    config.last_retry_ms = 10;
    config.display_wait_ms = 20;
    config.named_display_ms = 3;
    config.event_wait_ms = 10;
    config.quiet_ms = 2'000;
    config.workers = 3;
  }
  ~Harness() { controller.reset(); }
  Harness& start(store::Documents* on = nullptr) {
    controller.reset();
    controller = std::make_unique<Controller>(config, Controller::Parts{.documents = on != nullptr ? *on : *documents,
                                                                        .clock = clock,
                                                                        .random = random,
                                                                        .peers = {servers, recordings, gateway, nodes},
                                                                        .metrics = metrics,
                                                                        .key = *crypto::SigningKey::parse(key.text())});
    controller->open();
    return *this;
  }
  contracts::RdpSessionRequest request(const std::string& account = "", bool fail_open = false) {
    contracts::RdpSessionRequest r;
    r.id = Id::make(clock, random);
    r.name = "work";
    r.owner = "ann";
    r.target.account = account;
    r.fail_open = fail_open;
    r.created_wall_ms = clock.wall_ms();
    if (fail_open) world.with([&] { world.fail_open.insert(r.id); });
    return r;
  }
  bool until(const std::function<bool()>& condition) {
    for (int i = 0; i < 10'000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
  State state(const Id& id) { return controller->status(id).state; }
  bool reaches(const Id& id, State wanted) {
    return until([&] { return state(id) == wanted; });
  }
  // While time passes, a second at a look.
  bool reaches_in_time(const Id& id, State wanted) {
    return until([&] {
      if (state(id) == wanted) return true;
      clock.advance(1'000);
      return false;
    });
  }
  Id ready(const contracts::RdpSessionRequest& r) {
    controller->create(r);
    EXPECT_TRUE(reaches(r.id, State::ready)) << contracts::name(state(r.id)) << ": " << controller->status(r.id).cause;
    return r.id;
  }
  // As the gateway does it: asks, relays, reports.
  contracts::AdmissionRequest asking(const std::string& token, const std::string& address = "192.0.2.7:50312") {
    return {.connection = Id::make(clock, random), .token = token, .account = "", .client_address = address};
  }
  Id open(const contracts::AdmissionRequest& asked) {
    auto admission = controller->admit(asked);
    if (admission.replaces) {
      world.with([&] { world.connections.erase(*admission.replaces); });
      controller->report(
          {.connection = *admission.replaces, .session = admission.session, .event = "closed", .cause = "killed", .client_address = ""});
    }
    open(asked.connection, admission.session, asked.client_address);
    return asked.connection;
  }
  // The gateway relays; with or without telling.
  void open(const Id& connection, const Id& session, const std::string& address, bool report = true) {
    world.with([&] {
      contracts::Connection c;
      c.id = connection;
      c.session = session;
      c.client_address = address;
      c.opened_wall_ms = clock.wall_ms();
      world.connections[c.id] = c;
    });
    if (report)
      controller->report({.connection = connection, .session = session, .event = "opened", .cause = "", .client_address = address});
  }
  Id connect(const Id& session) { return open(asking(controller->connection(session).token)); }
  void leave(const Id& session, const Id& connection, std::uint64_t up = 10, std::uint64_t down = 20) {
    world.with([&] { world.connections.erase(connection); });
    controller->report({.connection = connection,
                        .session = session,
                        .event = "closed",
                        .cause = "client",
                        .client_address = "",
                        .bytes_up = up,
                        .bytes_down = down,
                        .duration_ms = 1});
  }
  std::string refusal(const contracts::AdmissionRequest& asked) {
    try {
      controller->admit(asked);
      return "admitted";
    } catch (const Error& e) { return e.kind() == ErrorKind::forbidden ? e.code() : std::string("not forbidden: ") + e.what(); }
  }
  bool frozen(const Id& connection) {
    return world.with([&] { return world.connections.contains(connection) && world.connections.at(connection).frozen; });
  }
  // Nothing of it is left anywhere.
  void expect_clean(const Id& session) {
    EXPECT_TRUE(until([&] { return !documents->get("live", session.text()); }));
    std::lock_guard lock(world.mutex);
    EXPECT_FALSE(world.servers.contains(session));
    EXPECT_FALSE(world.placements.contains(session));
    for (const auto& [id, c] : world.connections) EXPECT_NE(c.session, session);
    if (auto r = world.recordings.find(session); r != world.recordings.end()) {
      EXPECT_TRUE(r->second.status.state == contracts::PipelineState::stopped ||
                  r->second.status.state == contracts::PipelineState::created || r->second.status.state == contracts::PipelineState::error)
          << contracts::name(r->second.status.state);
      EXPECT_TRUE(r->second.display_was_there);
    }
    EXPECT_EQ(world.unrecorded_desktops, 0);
  }
};

}  // namespace lucid::controller
