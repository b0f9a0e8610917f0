#include "sessions/pipeline/pipeline.hpp"

#include <atomic>

#include <gtest/gtest.h>

#include "lib/base/file_ops.hpp"
#include "lib/recording/chunk.hpp"

using namespace lucid;
using namespace lucid::pipeline;

namespace {

// The pipeline on a real database; what it asks of others is noted and answered as each test needs.
struct Harness {
  TempDir dir;
  ManualClock clock;
  runtime::Metrics metrics;
  SeededRandom random{1};
  std::unique_ptr<store::Documents> documents = store::open_sqlite_documents(dir.path() + "/pipeline.db");
  std::unique_ptr<store::Leases> leases = std::make_unique<store::Leases>(*documents, clock, 5000);
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> calls;
  std::function<void(const std::string&)> on_call = [](const std::string&) {};
  std::unique_ptr<Pipeline> pipeline;
  contracts::RecordingPlan plan{.session = Id::make(clock, random), .name = "test", .target = {":1", ""}, .options = {}, .recipients = {}};

  Harness() { restart(); }
  void restart() {
    pipeline.reset();
    leases = std::make_unique<store::Leases>(*documents, clock, 5000);
    pipeline = std::make_unique<Pipeline>(*documents, *leases, clock, metrics,
                                          Outside{.start =
                                                      [this](const auto&, const auto&) {
                                                        note("start");
                                                        return contracts::Started{clock.wall_ms(), clock.steady_ms()};
                                                      },
                                                  .pause = [this](const Id&) { note("pause"); },
                                                  .resume = [this](const Id&) { note("resume"); },
                                                  .stop = [this](const Id&) { note("stop"); },
                                                  .finish = [this](const Id&) { note("finish"); }});
    pipeline->open();
  }
  bool shows(const std::string& series) { return metrics.expose().find("\n" + series + "\n") != std::string::npos; }
  void note(const std::string& call) {
    on_call(call);
    std::lock_guard lock(mutex);
    calls.push_back(call);
    changed.notify_all();
  }
  bool wait_for(const std::string& call) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(5), [&] { return std::find(calls.begin(), calls.end(), call) != calls.end(); });
  }
  bool wait_until(const std::function<bool()>& condition) {
    for (int i = 0; i < 500 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return condition();
  }
  contracts::RecordingStatus started() {
    pipeline->create(plan);
    return pipeline->act(plan.session, "start");
  }
  std::uint64_t token() { return leases->current(plan.session.text())->fencing_token; }
  contracts::Commit chunk(std::uint64_t sequence, std::uint16_t flags = 0) {
    contracts::Commit c;
    c.sequence = sequence;
    c.fencing_token = token();
    c.stored_size = 100;
    c.last_ms = static_cast<std::int64_t>(sequence) * 1000;
    c.flags = flags;
    return c;
  }
};

}  // namespace

TEST(Pipeline, RunsARecordingFromCreationToItsFinalCheckpoint) {
  Harness h;
  EXPECT_EQ(h.started().state, State::active);
  for (std::uint64_t i = 0; i < 3; ++i) h.pipeline->commit(h.plan.session, h.chunk(i));
  EXPECT_EQ(h.pipeline->act(h.plan.session, "stop").state, State::stopping);
  ASSERT_TRUE(h.wait_for("stop"));
  h.pipeline->commit(h.plan.session, h.chunk(3, recording::kEnd));
  ASSERT_TRUE(h.wait_for("finish"));
  ASSERT_TRUE(h.wait_until([&] { return h.pipeline->status(h.plan.session).finalised; }));
  auto status = h.pipeline->status(h.plan.session);
  EXPECT_EQ(status.state, State::stopped);
  EXPECT_EQ(status.committed_chunks, 4u);
  EXPECT_EQ(status.duration_ms, 3000);
}

TEST(Pipeline, CommitsAreIdempotentAndInOrder) {
  Harness h;
  h.started();
  h.pipeline->commit(h.plan.session, h.chunk(0));
  h.pipeline->commit(h.plan.session, h.chunk(0));
  EXPECT_EQ(h.pipeline->status(h.plan.session).committed_chunks, 1u);
  try {
    h.pipeline->commit(h.plan.session, h.chunk(2));
    FAIL();
  } catch (const Error& e) { EXPECT_EQ(e.code(), "out_of_order"); }
}

TEST(Pipeline, ARecorderThatWasReplacedIsRefusedAndARestartedOneIsNot) {
  Harness h;
  h.started();
  std::uint64_t first = h.token();
  h.pipeline->acquire(h.plan.session, "session-recorder");
  EXPECT_EQ(h.pipeline->begin(h.plan.session, 0, first), 0u);  // same holder: its spool still counts
  h.clock.advance(6000);
  auto taken = h.pipeline->acquire(h.plan.session, "another-recorder");
  EXPECT_THROW(h.pipeline->begin(h.plan.session, 0, first), Error);
  EXPECT_EQ(h.pipeline->begin(h.plan.session, 0, taken.fencing_token), 0u);
  EXPECT_EQ(h.pipeline->beat({{h.plan.session, first, 0, "recording", ""}}).lost.size(), 1u);
}

TEST(Pipeline, ASilentRecorderIsStalledUntilItSpeaks) {
  Harness h;
  h.started();
  EXPECT_FALSE(h.pipeline->status(h.plan.session).stalled);
  h.clock.advance(6000);
  EXPECT_TRUE(h.pipeline->status(h.plan.session).stalled);
}

TEST(Pipeline, ARestartTakesUpWhatWasUnfinished) {
  Harness h;
  h.started();
  h.pipeline->commit(h.plan.session, h.chunk(0));
  std::atomic<bool> away = true;
  h.on_call = [&](const std::string& call) {
    if (call == "stop" && away) throw Error(ErrorKind::unavailable, "unreachable", "recorder is away");
  };
  h.pipeline->act(h.plan.session, "stop");
  h.restart();
  EXPECT_EQ(h.pipeline->status(h.plan.session).state, State::stopping);
  EXPECT_EQ(h.pipeline->status(h.plan.session).committed_chunks, 1u);
  away = false;
  // Time goes on: an attempt that failed just before waits from the moment it is put off.
  EXPECT_TRUE(h.wait_until([&] {
    h.clock.advance(1000);
    std::lock_guard lock(h.mutex);
    return std::find(h.calls.begin(), h.calls.end(), "stop") != h.calls.end();
  }));
}

TEST(Pipeline, AFailedStartIsAnErrorThatRecovers) {
  Harness h;
  h.on_call = [](const std::string& call) {
    if (call == "start") throw Error(ErrorKind::unavailable, "display_unavailable", "no display :1");
  };
  h.pipeline->create(h.plan);
  EXPECT_THROW(h.pipeline->act(h.plan.session, "start"), Error);
  EXPECT_EQ(h.pipeline->status(h.plan.session).state, State::error);
  EXPECT_NE(h.pipeline->status(h.plan.session).cause.find("no display"), std::string::npos);
  h.on_call = [](const std::string&) {};
  h.pipeline->act(h.plan.session, "recover");
  EXPECT_EQ(h.pipeline->act(h.plan.session, "start").state, State::active);
}

TEST(Pipeline, ItsGaugesAreThoseOfTheMomentTheMetricsAreAskedFor) {
  Harness h;
  EXPECT_TRUE(h.shows("lucid_pipeline_live_recordings 0"));
  h.started();
  EXPECT_TRUE(h.shows("lucid_pipeline_live_recordings 1"));
  EXPECT_TRUE(h.shows("lucid_pipeline_stalled_recordings 0"));
  h.clock.advance(6000);  // nothing happens but that time passes
  EXPECT_TRUE(h.shows("lucid_pipeline_stalled_recordings 1"));
  h.pipeline->beat({{h.plan.session, h.pipeline->acquire(h.plan.session, "session-recorder").fencing_token, 7, "recording", "disk_full"}});
  EXPECT_TRUE(h.shows("lucid_pipeline_stalled_recordings 0"));
  EXPECT_TRUE(h.shows("lucid_pipeline_backlog_segments 7"));
  EXPECT_TRUE(h.shows("lucid_pipeline_alarmed_recordings 1"));
  h.pipeline.reset();
  EXPECT_TRUE(h.shows("lucid_pipeline_backlog_segments 7")) << "the metrics outlive the pipeline";
}

TEST(Pipeline, ItCountsTransitionsGapsAndRetries) {
  Harness h;
  EXPECT_TRUE(h.shows("lucid_pipeline_gaps_total 0")) << "there before the first";
  EXPECT_TRUE(h.shows("lucid_pipeline_retries_total{stage=\"stored\"} 0"));
  h.started();
  EXPECT_TRUE(h.shows("lucid_pipeline_transitions_total{to=\"starting\"} 1"));
  EXPECT_TRUE(h.shows("lucid_pipeline_transitions_total{to=\"active\"} 1"));
  h.pipeline->failure(h.plan.session, 0, Stage::stored, "disk");
  EXPECT_TRUE(h.shows("lucid_pipeline_retries_total{stage=\"stored\"} 1"));
  EXPECT_TRUE(h.shows("lucid_pipeline_retries_total{stage=\"hashed\"} 0"));
  h.pipeline->commit(h.plan.session, h.chunk(0, recording::kGap));
  h.pipeline->commit(h.plan.session, h.chunk(0, recording::kGap));  // told twice is told once
  EXPECT_TRUE(h.shows("lucid_pipeline_gaps_total 1"));
  EXPECT_TRUE(h.shows("lucid_pipeline_committed_chunks_total 1"));
  EXPECT_TRUE(h.shows("lucid_pipeline_committed_bytes_total 100"));
}

TEST(Pipeline, IllegalMovesAreRefusedAndChangeNothing) {
  Harness h;
  h.pipeline->create(h.plan);
  for (const char* action : {"pause", "resume", "stop", "recover"}) {
    try {
      h.pipeline->act(h.plan.session, action);
      FAIL() << action;
    } catch (const Error& e) { EXPECT_EQ(e.code(), "illegal_transition") << action; }
  }
  EXPECT_EQ(h.pipeline->status(h.plan.session).state, State::created);
}

TEST(Pipeline, ADisplayThatDiesEndsTheRecordingWithoutAStop) {
  Harness h;
  h.started();
  h.pipeline->commit(h.plan.session, h.chunk(0, recording::kEnd));
  EXPECT_EQ(h.pipeline->status(h.plan.session).state, State::stopped);
  EXPECT_TRUE(h.wait_for("finish"));
}
