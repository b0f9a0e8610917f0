// kill -9 at every single change of what is kept, before it and after it: a new controller on the same documents brings every session
// where it was going, with nothing made twice and nothing left over.
#include "lib/store/memory_documents.hpp"
#include "lib/store/mortal_documents.hpp"
#include "rdp/controller/test_harness.hpp"

using namespace lucid;
using namespace lucid::controller;

namespace {

struct Killed {};

// One life, in stages that may be begun again after a kill.
class Story {
 public:
  Story(bool named, bool fail_open, int dies_at, bool after) : mortal_(*h_.documents, dies_at, after) {
    request_ = h_.request(named ? "bob" : "", fail_open);
    if (fail_open) h_.world.recorder_up = false;
    h_.world.nodes_registered = true;
    h_.config.quiet_ms = 200;  // what the killed one waits for in vain
    h_.start(&mortal_);
  }
  // False when nothing was killed: dies_at lies beyond the end of the story.
  bool tell() {
    for (auto stage : {&Story::becomes_ready, &Story::connects, &Story::pauses, &Story::resumes, &Story::ends}) {
      try {
        (this->*stage)();
      } catch (const Killed&) { again(stage); } catch (const Error&) {
        if (!mortal_.dead()) throw;
        again(stage);
      }
    }
    h_.expect_clean(request_.id);
    EXPECT_EQ(h_.world.servers_made, 1);
    EXPECT_EQ(h_.world.recordings.at(request_.id).starts, 1);
    EXPECT_TRUE(h_.world.recordings.at(request_.id).status.ended);
    EXPECT_EQ(h_.controller->status(request_.id).cause, "terminated");
    return killed_;
  }

 private:
  void again(void (Story::*stage)()) {
    killed_ = true;
    h_.start();
    (this->*stage)();
  }
  void reach(const std::function<bool()>& condition, const char* what) {
    bool reached = h_.until([&] {
      if (mortal_.dead() && !killed_) throw Killed{};
      return condition();
    });
    ASSERT_TRUE(reached) << what << ": " << contracts::name(state());
  }
  State state() { return h_.controller->status(request_.id).state; }
  void becomes_ready() {
    h_.controller->create(request_);
    if (request_.fail_open) {
      reach(
          [&] { return state() != State::starting_recording || h_.world.with([&] { return h_.world.recordings.contains(request_.id); }); },
          "recording");
      h_.world.with([&] { h_.world.recorder_up = true; });
    }
    reach([&] { return takes_clients(state()); }, "ready");
  }
  void connects() {
    if (state() != State::connected) {
      h_.world.with([&] { h_.world.connections.clear(); });  // a client whose connection broke off comes again
      h_.connect(request_.id);
    }
    if (is_named()) {
      h_.world.display_comes(request_.id);
      reach([&] { return h_.world.with([&] { return h_.world.servers.at(request_.id).decision == "go"; }); }, "desktop");
    }
    reach([&] { return state() == State::connected && recording_state() == contracts::PipelineState::active; }, "connected");
    reach([&] { return !h_.controller->status(request_.id).frozen; }, "recorded");
    // Kept, not only known: the next stage begins from a settled session.
    if (is_named()) reach([&] { return h_.controller->status(request_.id).display == ":10"; }, "display");
  }
  void pauses() {
    h_.controller->act(request_.id, "pause");
    reach([&] { return recording_state() == contracts::PipelineState::paused; }, "paused");
    EXPECT_TRUE(all_frozen(true));
  }
  void resumes() {
    h_.controller->act(request_.id, "resume");
    reach([&] { return recording_state() == contracts::PipelineState::active && all_frozen(false); }, "resumed");
  }
  void ends() {
    h_.controller->act(request_.id, "terminate");
    EXPECT_TRUE(h_.world.with([&] { return h_.world.connections.empty(); }));
    reach([&] { return is_over(state()) && !h_.documents->get("live", request_.id.text()); }, "ended");
  }
  bool is_named() const { return !request_.target.account.empty(); }
  contracts::PipelineState recording_state() {
    return h_.world.with([&] { return h_.world.recordings.at(request_.id).status.state; });
  }
  bool all_frozen(bool wanted) {
    return h_.until([&] {
      return h_.world.with([&] {
        for (const auto& [id, c] : h_.world.connections)
          if (c.frozen != wanted) return false;
        return true;
      });
    });
  }
  Harness h_{std::make_unique<store::MemoryDocuments>()};
  store::MortalDocuments mortal_;
  contracts::RdpSessionRequest request_;
  bool killed_ = false;
};

void kill_everywhere(bool named, bool fail_open) {
  for (bool after : {false, true}) {
    int n = 1;
    while (n < 200 && !testing::Test::HasFailure()) {
      SCOPED_TRACE(testing::Message() << "killed " << (after ? "after" : "before") << " change " << n);
      if (!Story(named, fail_open, n, after).tell()) break;
      ++n;
    }
    EXPECT_GT(n, 15) << "the story has that many changes at least";
    EXPECT_LT(n, 200);
  }
}

}  // namespace

TEST(Restart, KilledAtEveryChangeAnEphemeralSessionGoesOn) { kill_everywhere(false, false); }
TEST(Restart, KilledAtEveryChangeANamedSessionGoesOn) { kill_everywhere(true, false); }
TEST(Restart, KilledAtEveryChangeAFailOpenSessionGoesOn) { kill_everywhere(false, true); }

TEST(Restart, TouchesNoLiveSession) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  Id connection = h.connect(id);
  std::atomic<int> changes = 0;
  h.world.fail_calls([&](const std::string& call) {
    for (const char* quiet : {"gateway.connections", "recorder.held", "server.events", "server.status", "recording.status"})
      if (call == quiet) return;
    ++changes;
  });
  for (int i = 0; i < 3; ++i) {
    h.start();
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    EXPECT_EQ(h.state(id), State::connected);
  }
  EXPECT_EQ(changes, 0);
  EXPECT_TRUE(h.world.with([&] { return h.world.connections.contains(connection); }));
  EXPECT_EQ(h.controller->status(id).connections, 1u);
}
