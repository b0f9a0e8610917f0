// What is looked at all the time: limits, and what other services change by themselves.
#include "rdp/controller/test_harness.hpp"

using namespace lucid;
using namespace lucid::controller;

TEST(Limits, IdleTimeCountsFromTheLastInput) {
  Harness h;
  h.config.connect_timeout_ms = h.config.disconnect_grace_ms = 1'000'000'000;
  h.start();
  auto r = h.request();
  r.idle_timeout = 60;
  Id id = h.ready(r);
  h.connect(id);
  h.clock.advance(50'000);
  h.world.with([&] { h.world.last_input_wall_ms = h.clock.wall_ms(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  h.clock.advance(50'000);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_EQ(h.state(id), State::connected);
  h.start();  // the recorder is asked before anything is called idle
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_EQ(h.state(id), State::connected);
  h.clock.advance(10'000);
  ASSERT_TRUE(h.reaches(id, State::ended));
  EXPECT_EQ(h.controller->status(id).cause, "idle_timeout");
  h.expect_clean(id);
}

TEST(Limits, DurationGraceAndAClientThatNeverCame) {
  Harness h;
  h.start();
  auto limited = h.request();
  limited.max_duration = 100;
  h.ready(limited);
  Id left = h.ready(h.request());
  Id never = h.ready(h.request());
  Id stays = h.ready(h.request());
  h.connect(limited.id);
  h.connect(stays);
  Id connection = h.connect(left);
  h.leave(left, connection);
  EXPECT_EQ(h.state(left), State::ready);
  h.clock.advance(59'000);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_EQ(h.state(left), State::ready);
  h.clock.advance(1'000);
  ASSERT_TRUE(h.reaches(left, State::ended));
  EXPECT_EQ(h.controller->status(left).cause, "client");
  EXPECT_EQ(h.controller->status(left).bytes_down, 20u);
  h.clock.advance(40'000);
  ASSERT_TRUE(h.reaches(limited.id, State::ended));
  EXPECT_EQ(h.controller->status(limited.id).cause, "max_duration");
  EXPECT_EQ(h.state(never), State::ready);
  h.clock.advance(200'000);
  ASSERT_TRUE(h.reaches(never, State::ended));
  EXPECT_EQ(h.controller->status(never).cause, "connect_timeout");
  EXPECT_EQ(h.state(stays), State::connected);
}

TEST(Limits, InputKeepsASessionOnlyAsLongAsItIsInput) {
  Harness h;
  h.start();
  auto r = h.request("", true);  // fail-open and unrecorded: the gateway's bytes from the client are what is known
  r.idle_timeout = 60;
  h.world.with([&] { h.world.recorder_refuses = true; });
  h.controller->create(r);
  ASSERT_TRUE(h.reaches_in_time(r.id, State::ready));
  Id connection = h.connect(r.id);
  for (int i = 0; i < 5; ++i) {
    h.world.with([&] { h.world.connections.at(connection).last_up_wall_ms = h.clock.wall_ms(); });
    h.world.with([&] { h.world.connections.at(connection).bytes_up = static_cast<std::uint64_t>(i + 1); });
    ASSERT_TRUE(h.until([&] { return h.controller->status(r.id).bytes_up == static_cast<std::uint64_t>(i + 1); }));
    h.clock.advance(30'000);
    EXPECT_EQ(h.state(r.id), State::connected);
  }
  h.clock.advance(60'000);
  ASSERT_TRUE(h.reaches(r.id, State::ended));
  EXPECT_EQ(h.controller->status(r.id).cause, "idle_timeout");
}

TEST(Watch, AFrozenSessionAlsoFreezesAClientThatComesThrough) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  auto asked = h.asking(h.controller->connection(id).token);
  h.controller->admit(asked);
  h.world.with([&] { h.world.recorder_up = false; });
  ASSERT_TRUE(h.until([&] { return h.controller->status(id).frozen; }));
  h.open(asked.connection, id, asked.client_address);  // admitted just before
  EXPECT_TRUE(h.until([&] { return h.frozen(asked.connection); }));
  h.world.with([&] { h.world.recorder_up = true; });
  EXPECT_TRUE(h.until([&] { return !h.frozen(asked.connection); }));
}

// A pause whose recording part is still under way is taken back: the recording must not stay paused.
TEST(Watch, AResumeRightAfterAPauseLeavesTheRecordingRunning) {
  for (int round = 0; round < 10; ++round) {
    Harness h;
    h.config.quiet_ms = 0;  // the pause does not wait for the recording
    h.start();
    Id id = h.ready(h.request());
    Id connection = h.connect(id);
    h.controller->act(id, "pause");
    while (true) {
      try {
        h.controller->act(id, "resume");
        break;
      } catch (const Error& e) { ASSERT_EQ(e.code(), "recording_pausing"); }
    }
    ASSERT_TRUE(h.until([&] { return h.world.with([&] { return h.world.recorded(id); }) && !h.controller->status(id).frozen; }));
    EXPECT_TRUE(h.until([&] { return !h.frozen(connection); }));
    EXPECT_EQ(h.state(id), State::connected);
  }
}

TEST(Watch, ARecordingPausedBehindOurBackIsTakenUpAgain) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  h.world.with([&] { h.world.recordings.at(id).status.state = contracts::PipelineState::paused; });
  ASSERT_TRUE(h.until([&] {
    h.clock.advance(100);
    return h.world.with([&] { return h.world.recorded(id); });
  }));
  EXPECT_TRUE(h.until([&] { return !h.controller->status(id).frozen; }));
}

TEST(Watch, TheDisplayOfANamedAccountIsTakenUpEvenWhenItsClientHasLeft) {
  Harness h;
  h.start();
  Id id = h.ready(h.request("bob"));
  h.leave(id, h.connect(id));
  h.world.display_comes(id, ":12");
  h.world.event(id, contracts::ServerState::running, "display_ready");
  EXPECT_TRUE(h.until([&] { return h.world.with([&] { return h.world.servers.at(id).decision == "go"; }); }));
  EXPECT_EQ(h.state(id), State::ready);
}

TEST(Watch, ASecondRelayOfOneSessionIsKilled) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  Id connection = h.connect(id);
  Id stray = Id::make(h.clock, h.random);
  h.open(stray, id, "203.0.113.9:1", false);
  EXPECT_TRUE(h.until([&] { return h.world.with([&] { return !h.world.connections.contains(stray); }); }));
  EXPECT_TRUE(h.world.with([&] { return h.world.connections.contains(connection); }));
  EXPECT_EQ(h.state(id), State::connected);
}

TEST(Watch, ManySessionsEndedAtAnyMomentLeaveNothing) {
  Harness h;
  h.config.max_sessions = h.config.max_sessions_per_user = 100;
  h.start();
  std::vector<std::thread> users;
  std::vector<contracts::RdpSessionRequest> requests;
  for (int i = 0; i < 40; ++i) requests.push_back(h.request());
  for (std::size_t u = 0; u < 4; ++u)
    users.emplace_back([&, u] {
      for (std::size_t i = u; i < requests.size(); i += 4) {
        h.controller->create(requests[i]);
        if (i % 3 == 1) h.until([&] { return h.state(requests[i].id) != State::requested; });
        if (i % 3 == 2) h.reaches(requests[i].id, State::ready);
        h.controller->act(requests[i].id, i % 2 == 0 ? "stop" : "terminate");
      }
    });
  for (auto& t : users) t.join();
  for (const auto& r : requests) {
    ASSERT_TRUE(h.reaches(r.id, State::ended)) << contracts::name(h.state(r.id));
    h.expect_clean(r.id);
  }
  EXPECT_TRUE(h.world.with([&] { return h.world.servers.empty(); }));
  EXPECT_EQ(h.controller->totals().live, 0u);
}
