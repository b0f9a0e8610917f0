// The life of sessions from request to end, with peers that fail, leave and come back.
#include "rdp/controller/test_harness.hpp"

using namespace lucid;
using namespace lucid::controller;
using contracts::ServerState;

namespace {
constexpr State kAll[] = {State::requested, State::starting_server, State::waiting_display, State::starting_recording,
                          State::ready,     State::connected,       State::paused,          State::ending,
                          State::ended,     State::failed};
constexpr Trigger kTriggers[] = {Trigger::begin,    Trigger::server_ready, Trigger::login_ready, Trigger::display,
                                 Trigger::released, Trigger::opened,       Trigger::closed,      Trigger::pause,
                                 Trigger::resume,   Trigger::end,          Trigger::ended,       Trigger::failed};
}  // namespace

TEST(StateMachine, FollowsTheWholeLifeOfASession) {
  State s = State::requested;
  for (auto [trigger, to] : {std::pair{Trigger::begin, State::starting_server},
                             {Trigger::server_ready, State::waiting_display},
                             {Trigger::display, State::starting_recording},
                             {Trigger::released, State::ready},
                             {Trigger::opened, State::connected},
                             {Trigger::closed, State::ready},
                             {Trigger::opened, State::connected},
                             {Trigger::pause, State::paused},
                             {Trigger::resume, State::ready},
                             {Trigger::end, State::ending},
                             {Trigger::ended, State::ended}}) {
    ASSERT_EQ(next(s, trigger), to) << name(trigger);
    s = to;
  }
}

TEST(StateMachine, WhatIsOverStaysOverAndEveryLiveStateCanEndOnce) {
  for (State s : kAll) {
    EXPECT_EQ(next(s, Trigger::end).has_value(), !is_over(s) && s != State::ending) << contracts::name(s);
    for (Trigger t : kTriggers) {
      bool last = s == State::ending && (t == Trigger::ended || t == Trigger::failed);
      if (is_over(s) || s == State::ending) { EXPECT_EQ(next(s, t).has_value(), last); }
    }
    EXPECT_EQ(contracts::rdp_state(contracts::name(s)), s);
  }
}

TEST(Record, SurvivesItsOwnJson) {
  ManualClock clock;
  SeededRandom random(1);
  Record r;
  r.request.id = Id::make(clock, random);
  r.request.name = "n";
  r.request.target.account = "ann";
  r.state = State::paused;
  r.released = Released::refuse;
  r.token = Id::make(clock, random);
  r.opening = Record::Opening{Id::make(clock, random), "192.0.2.7:1"};
  r.live = Id::make(clock, random);
  r.closed = {Id::make(clock, random)};
  r.history.push_back(json::object{{"to", "paused"}});
  EXPECT_EQ(to_stored(from_stored(to_stored(r))), to_stored(r));
  EXPECT_THROW(from_stored("{}"), Error);
  EXPECT_THROW(from_stored("x"), Error);
}

TEST(Life, ADesktopIsRecordedBeforeItBeginsAndNothingIsLeftOfItAfterItsEnd) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  auto s = h.controller->status(id);
  EXPECT_EQ(s.display, ":10");
  EXPECT_TRUE(s.account.starts_with("lu"));
  EXPECT_NE(s.server_port, 0);
  Id connection = h.connect(id);
  EXPECT_EQ(h.state(id), State::connected);
  EXPECT_EQ(h.controller->status(id).client_address, "192.0.2.7:50312");
  h.world.with([&] { h.world.connections.at(connection).bytes_down = 4096; });
  EXPECT_TRUE(h.until([&] { return h.controller->status(id).bytes_down == 4096; }));
  EXPECT_EQ(h.controller->act(id, "stop").cause, "stopped");
  EXPECT_TRUE(h.world.with([&] { return h.world.connections.empty(); })) << "stop answers once no byte passes";
  ASSERT_TRUE(h.reaches(id, State::ended));
  EXPECT_EQ(h.world.killed.size(), 1u);
  EXPECT_EQ(h.world.killed[0].second, "stopped");
  EXPECT_EQ(h.controller->status(id).bytes_down, 4096u);
  h.expect_clean(id);
  EXPECT_EQ(h.controller->act(id, "terminate").state, State::ended) << "a repeated end is no error";
  EXPECT_NE(h.metrics.expose().find("lucid_controller_ended_total{cause=\"stopped\"} 1"), std::string::npos);
  EXPECT_NE(h.metrics.expose().find("lucid_controller_connect_path_seconds_count{step=\"ready\"} 1"), std::string::npos);
}

TEST(Life, CreateIsIdempotentAndLimited) {
  Harness h;
  h.config.max_sessions = 3;
  h.config.max_sessions_per_user = 2;
  h.start();
  auto first = h.request();
  EXPECT_TRUE(h.controller->create(first).created);
  EXPECT_FALSE(h.controller->create(first).created);
  auto other = first;
  other.name = "else";
  auto code = [&](const contracts::RdpSessionRequest& r) {
    try {
      h.controller->create(r);
      return std::string("created");
    } catch (const Error& e) { return e.kind() == ErrorKind::conflict ? e.code() : "no conflict"; }
  };
  EXPECT_EQ(code(other), "session_exists");
  EXPECT_EQ(code(h.request("bob")), "created");
  EXPECT_EQ(code(h.request()), "limit_exceeded") << "two of one user";
  auto bobs = h.request("bob");
  bobs.owner = "bob";
  EXPECT_EQ(code(bobs), "account_in_use");
  bobs.target.account = "eve";
  EXPECT_EQ(code(bobs), "created");
  auto last = h.request();
  last.owner = "dan";
  EXPECT_EQ(code(last), "limit_exceeded") << "three in all";
  ASSERT_TRUE(h.reaches(first.id, State::ready));
  h.controller->act(first.id, "stop");
  ASSERT_TRUE(h.reaches(first.id, State::ended));
  EXPECT_TRUE(h.until([&] { return code(last) == "created"; })) << "what ended counts no more";
  EXPECT_EQ(code(first), "created") << "asked again after its end: the same session, not a new one";
  EXPECT_EQ(h.state(first.id), State::ended);
  EXPECT_EQ(h.controller->list("", 2).sessions.size(), 2u);
  EXPECT_EQ(h.controller->list(h.controller->list("", 2).next, 100).sessions.size(), 2u);
}

TEST(Life, ANamedAccountConnectsFirstAndIsRecordedBeforeItsDesktopBegins) {
  Harness h;
  h.start();
  Id id = h.ready(h.request("bob"));
  EXPECT_EQ(h.controller->status(id).display, "");
  EXPECT_EQ(h.controller->connection(id).password, "");
  h.connect(id);
  EXPECT_EQ(h.state(id), State::connected);
  h.world.display_comes(id, ":12");
  ASSERT_TRUE(h.until([&] { return h.world.with([&] { return h.world.servers.at(id).decision == "go"; }); }));
  EXPECT_TRUE(h.until([&] { return h.controller->status(id).display == ":12"; }));
  EXPECT_EQ(h.state(id), State::connected);
  h.controller->act(id, "terminate");
  ASSERT_TRUE(h.reaches(id, State::ended));
  h.expect_clean(id);
}

TEST(Life, WithoutARecordingAClosedSessionFailsAndItsDesktopIsRefused) {
  Harness h;
  h.world.recorder_refuses = true;
  h.start();
  auto r = h.request();
  h.controller->create(r);
  ASSERT_TRUE(h.reaches(r.id, State::starting_recording));
  std::string decision;
  h.world.fail_calls([&](const std::string& call) {
    if (call == "server.stop") decision = h.world.with([&] { return h.world.servers.at(r.id).decision; });
  });
  ASSERT_TRUE(h.reaches_in_time(r.id, State::failed));
  EXPECT_TRUE(h.controller->status(r.id).cause.starts_with("recording_failed:")) << h.controller->status(r.id).cause;
  h.world.fail_calls([](const std::string&) {});
  EXPECT_EQ(decision, "refuse");
  h.expect_clean(r.id);
}

TEST(Life, WithoutARecordingAnOpenSessionGoesOnAndIsRecordedOnceItCan) {
  Harness h;
  h.world.recorder_refuses = true;
  h.start();
  auto r = h.request("", true);
  h.controller->create(r);
  ASSERT_TRUE(h.reaches(r.id, State::starting_recording));
  ASSERT_TRUE(h.reaches_in_time(r.id, State::ready));
  EXPECT_EQ(h.world.with([&] { return h.world.servers.at(r.id).decision; }), "go");
  std::int64_t told = h.world.with([&] { return h.world.recordings.at(r.id).waits_until_wall_ms; });
  EXPECT_GT(told, 0) << "the recorder knows from when on the desktop goes unrecorded, for its gap record";
  EXPECT_LE(told, h.clock.wall_ms());
  EXPECT_TRUE(h.until([&] { return h.metrics.expose().find("lucid_controller_unrecorded_sessions 1") != std::string::npos; }));
  Id connection = h.connect(r.id);
  h.world.with([&] { h.world.recorder_refuses = false; });
  EXPECT_TRUE(h.until([&] { return h.world.with([&] { return h.world.recorded(r.id); }); }));
  h.world.with([&] { h.world.recorder_up = false; });
  EXPECT_TRUE(h.until([&] { return h.metrics.expose().find("lucid_controller_unrecorded_sessions 1") != std::string::npos; }));
  EXPECT_FALSE(h.frozen(connection));
  EXPECT_FALSE(h.controller->status(r.id).frozen);
}

TEST(Life, ARecorderThatDiesFreezesTheRelayUntilItRecordsAgain) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  Id connection = h.connect(id);
  h.world.with([&] { h.world.recorder_up = false; });
  auto since = std::chrono::steady_clock::now();
  ASSERT_TRUE(h.until([&] { return h.frozen(connection); }));
  EXPECT_LT(std::chrono::steady_clock::now() - since, std::chrono::seconds(1));
  EXPECT_TRUE(h.controller->status(id).frozen);
  EXPECT_EQ(h.refusal(h.asking(h.controller->connection(id).token)), "session_not_ready");
  h.clock.advance(3'600'000);  // standing still is not being idle or gone
  h.world.with([&] { h.world.recorder_up = true; });
  ASSERT_TRUE(h.until([&] { return !h.frozen(connection) && !h.controller->status(id).frozen; }));
  EXPECT_EQ(h.state(id), State::connected);
  h.world.with([&] { h.world.alarm = "disk_full"; });
  ASSERT_TRUE(h.until([&] { return h.frozen(connection); })) << "a recorder that cannot keep anything does not record";
  h.start();  // what was frozen stays frozen over a restart
  EXPECT_TRUE(h.controller->status(id).frozen);
  EXPECT_TRUE(h.frozen(connection));
  h.world.with([&] { h.world.alarm.clear(); });
  ASSERT_TRUE(h.until([&] { return !h.frozen(connection); }));
}

TEST(Life, ASessionIsPlacedOnANodeAndItsPlaceIsFreeAfterwards) {
  Harness h;
  h.world.nodes_registered = true;
  h.world.node_slots = 1;
  h.start();
  Id id = h.ready(h.request());
  EXPECT_EQ(h.controller->status(id).node, id.text()) << "this double places every session on a node of its own name";
  auto second = h.request("bob");
  h.controller->create(second);
  ASSERT_TRUE(h.reaches(second.id, State::failed));
  EXPECT_TRUE(h.controller->status(second.id).cause.starts_with("no_node")) << h.controller->status(second.id).cause;
  h.expect_clean(second.id);
  h.controller->act(id, "stop");
  ASSERT_TRUE(h.reaches(id, State::ended));
  h.expect_clean(id);
}

TEST(Life, WithoutNodeManagementDesktopsGoOn) {
  Harness h;
  h.world.nodes_registered = true;
  h.world.fail_calls([](const std::string& call) {
    if (call == "nodes.place") throw World::unreachable();
  });
  h.start();
  Id id = h.ready(h.request());
  EXPECT_EQ(h.controller->status(id).node, "");
  h.controller->act(id, "stop");
  ASSERT_TRUE(h.reaches(id, State::ended));
  h.expect_clean(id);
}

TEST(Life, APlaceThatCannotBeGivenBackDoesNotKeepTheSession) {
  Harness h;
  h.world.nodes_registered = true;
  h.start();
  Id id = h.ready(h.request());
  h.world.fail_calls([](const std::string& call) {
    if (call == "nodes.release") throw World::unreachable();
  });
  h.controller->act(id, "stop");
  ASSERT_TRUE(h.reaches_in_time(id, State::ended));
}

TEST(Life, ARecordingThatEndedForGoodEndsTheSession) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  h.connect(id);
  h.world.with([&] { h.world.recordings.at(id).status.state = contracts::PipelineState::stopped; });
  ASSERT_TRUE(h.until([&] { return h.controller->status(id).frozen; }));
  ASSERT_TRUE(h.reaches_in_time(id, State::failed));
  EXPECT_TRUE(h.controller->status(id).cause.starts_with("recording_ended"));
  h.expect_clean(id);
}

TEST(Life, PauseStandsStillAndResumeGoesOn) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  Id connection = h.connect(id);
  EXPECT_EQ(h.controller->act(id, "pause").state, State::paused);
  EXPECT_TRUE(h.frozen(connection));
  EXPECT_EQ(h.world.with([&] { return h.world.recordings.at(id).status.state; }), contracts::PipelineState::paused);
  EXPECT_EQ(h.controller->act(id, "pause").state, State::paused);
  EXPECT_THROW(h.controller->connection(id), Error);
  EXPECT_EQ(h.controller->act(id, "resume").state, State::connected);
  EXPECT_FALSE(h.frozen(connection));
  EXPECT_TRUE(h.world.with([&] { return h.world.recorded(id); }));
  EXPECT_EQ(h.controller->act(id, "resume").state, State::connected);
  h.controller->act(id, "pause");
  h.leave(id, connection);
  EXPECT_EQ(h.state(id), State::paused);
  h.clock.advance(600'000);
  EXPECT_EQ(h.controller->act(id, "resume").state, State::ready) << "its client left, it had no way back: the grace begins now";
  h.controller->act(id, "stop");
  ASSERT_TRUE(h.reaches(id, State::ended));
  h.expect_clean(id);
}

TEST(Life, ActionsThatDoNotFitAreRefused) {
  Harness h;
  h.world.displays_come = false;
  h.start();
  auto r = h.request();
  h.controller->create(r);
  ASSERT_TRUE(h.reaches(r.id, State::waiting_display));
  for (const char* action : {"pause", "resume"}) {
    try {
      h.controller->act(r.id, action);
      FAIL() << action;
    } catch (const Error& e) { EXPECT_EQ(e.code(), "illegal_transition"); }
  }
  EXPECT_THROW(h.controller->act(r.id, "explode"), Error);
  EXPECT_THROW(h.controller->status(Id::make(h.clock, h.random)), Error);
}

// A stop finds the session at every step of its start, held there by the peer that is asked.
TEST(Life, StopWorksInEveryEarlyState) {
  for (const char* at : {"server.create", "server.start", "server.display", "recording.create", "recording.start", "server.go"}) {
    Harness h;
    std::atomic<bool> held = true, there = false;
    h.world.on_call = [&](const std::string& call) {
      if (call != at) return;
      there = true;
      while (held) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
    h.start();
    auto r = h.request();
    h.controller->create(r);
    ASSERT_TRUE(h.until([&] { return there.load(); })) << at;
    EXPECT_EQ(h.controller->act(r.id, "terminate").state, State::ending) << at;
    held = false;
    ASSERT_TRUE(h.reaches(r.id, State::ended)) << at;
    EXPECT_EQ(h.controller->status(r.id).cause, "terminated");
    h.expect_clean(r.id);
  }
}

TEST(Life, EveryPeerMayBeAwayForAWhile) {
  Harness h;
  std::atomic<bool> away = true;
  h.world.on_call = [&](const std::string& call) {
    if (away && call.starts_with("server.")) throw World::unreachable();
  };
  h.start();
  auto r = h.request();
  h.controller->create(r);
  ASSERT_TRUE(h.reaches(r.id, State::starting_server));
  h.clock.advance(5'000);
  away = false;
  ASSERT_TRUE(h.reaches(r.id, State::ready));
  Id connection = h.connect(r.id);
  // Nothing happens to a live session whatever is away, but for the recorder.
  h.world.fail_calls([&](const std::string& call) {
    if (call.starts_with("server.") || call.starts_with("recording.") || call.starts_with("gateway.")) throw World::unreachable();
  });
  for (const char* peer : {"rdp-server-manager", "xrdp-integration"})
    ASSERT_TRUE(h.until([&] {
      return h.metrics.expose().find(std::string("lucid_controller_peer_away{peer=\"") + peer + "\"} 1\n") != std::string::npos;
    })) << peer;
  EXPECT_EQ(h.state(r.id), State::connected);
  EXPECT_FALSE(h.frozen(connection));
  EXPECT_FALSE(h.controller->totals().problem.empty());
  // Its end is kept and done once they are back.
  try {
    h.controller->act(r.id, "stop");
    FAIL() << "nobody could know that no byte passes";
  } catch (const Error& e) { EXPECT_EQ(e.code(), "gateway_unreachable"); }
  EXPECT_EQ(h.state(r.id), State::ending);
  h.world.fail_calls([](const std::string&) {});
  ASSERT_TRUE(h.reaches(r.id, State::ended));
  h.expect_clean(r.id);
}

TEST(Life, WithoutItsGatewayASessionEndsAllTheSame) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  h.connect(id);
  h.world.fail_calls([](const std::string& call) {
    if (call.starts_with("gateway.")) throw World::unreachable();
  });
  std::thread later([&] {
    h.until([&] {
      if (h.state(id) == State::ending) h.clock.advance(100);
      return is_over(h.state(id));
    });
  });
  EXPECT_NO_THROW(h.controller->act(id, "stop")) << "its server is stopped: no byte passes";
  later.join();
  ASSERT_TRUE(h.reaches(id, State::ended));
  h.world.fail_calls([](const std::string&) {});
  EXPECT_TRUE(h.until([&] { return h.world.with([&] { return h.world.connections.empty(); }); })) << "the relay of no session is killed";
}

TEST(Life, AServerManagerThatRefusesSaysWhy) {
  Harness h;
  h.world.on_call = [](const std::string& call) {
    if (call == "server.create") throw Error(ErrorKind::unavailable, "package_missing", "xrdp is not installed: apt install xrdp");
  };
  h.start();
  auto r = h.request();
  h.controller->create(r);
  ASSERT_TRUE(h.reaches(r.id, State::failed));
  EXPECT_EQ(h.controller->status(r.id).cause, "package_missing: xrdp is not installed: apt install xrdp");
}

TEST(Life, ADisplayThatNeverComesFailsTheSessionWithTheReason) {
  Harness h;
  h.world.displays_come = false;
  h.start();
  auto r = h.request();
  h.controller->create(r);
  ASSERT_TRUE(h.reaches(r.id, State::waiting_display));
  ASSERT_TRUE(h.reaches_in_time(r.id, State::failed));
  EXPECT_NE(h.controller->status(r.id).cause.find("no screens found"), std::string::npos);
  h.expect_clean(r.id);
}

TEST(Life, AnXServerThatFailedIsNotWaitedFor) {
  Harness h;
  h.world.displays_come = false;
  h.world.displays_fail = true;
  h.start();
  auto r = h.request();
  h.controller->create(r);
  ASSERT_TRUE(h.reaches(r.id, State::failed)) << "no time passes";
  EXPECT_NE(h.controller->status(r.id).cause.find("no screens found"), std::string::npos);
  h.expect_clean(r.id);
}

TEST(Life, WhatTheServerManagerTellsEndsTheSessionWithThatCause) {
  struct Case {
    ServerState state;
    const char* event;
    const char* cause;
    State end;
  };
  for (Case c : {Case{ServerState::failed, "crashed", "server_failed", State::failed},
                 Case{ServerState::stopped, "asked", "server_stopped", State::ended},
                 Case{ServerState::running, "display_lost", "display_lost", State::failed},
                 Case{ServerState::running, "logged_out", "client", State::ended}}) {
    Harness h;
    h.start();
    Id id = h.ready(h.request());
    h.world.with([&] {
      h.world.servers.at(id).status.state = c.state;
      if (c.state == ServerState::running) h.world.servers.at(id).status.display.reset();
    });
    h.world.event(id, c.state, c.event);
    ASSERT_TRUE(h.reaches(id, c.end)) << c.cause;
    EXPECT_EQ(h.controller->status(id).cause, c.cause);
  }
}

TEST(Life, AnEventOfThePastDoesNotEndWhatGoesOn) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  h.world.event(id, ServerState::failed, "crashed");  // restarted meanwhile
  h.world.event(id, ServerState::running, "display_lost");
  ASSERT_TRUE(h.until([&] {
    auto mark = h.documents->get("marks", "server_events");
    return mark && mark->json == "2";
  }));
  EXPECT_EQ(h.state(id), State::ready);
  h.world.with([&] { h.world.servers.erase(id); });  // its server is gone, and nobody said so
  h.start();
  ASSERT_TRUE(h.reaches(id, State::failed));
  EXPECT_EQ(h.controller->status(id).cause, "server_lost");
}
