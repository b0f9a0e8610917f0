// Keys, byte ranges and limits: what playback needs beside storage.
#include <algorithm>

#include <gtest/gtest.h>

#include "lib/recording/records.hpp"
#include "sessions/api/limits.hpp"
#include "sessions/api/playback_keys.hpp"
#include "sessions/api/recordings.hpp"

namespace lucid::api {
namespace {

class PlaybackKeysTest : public testing::Test {
 protected:
  PlaybackKeysTest() {
    manifest_.session = session_;
    add_epoch(0, 0);
  }
  void add_epoch(std::uint32_t number, std::uint64_t first) {
    auto epoch = recording::start_epoch(number, first, {playback_.public_key()}, random_);
    manifest_.epochs.push_back(std::move(epoch.epoch));
    ratchets_.push_back(std::move(epoch.ratchet));
  }
  PlaybackKeys keys() {
    return PlaybackKeys(crypto::BoxKey(playback_.secret().clone()), [this](const Id&) {
      ++manifest_reads_;
      return manifest_;
    });
  }
  recording::ChunkHeader header(std::uint64_t sequence, std::uint32_t epoch) {
    recording::ChunkHeader h;
    h.session = session_;
    h.sequence = sequence;
    h.key_epoch = epoch;
    return h;
  }
  crypto::Secret32 expected(std::size_t epoch, std::uint64_t sequence) {
    return recording::recover_chunk_key(manifest_.epochs[epoch], sequence, playback_).value();
  }
  ManualClock clock_;
  SeededRandom random_{42};
  crypto::BoxKey playback_ = crypto::BoxKey::make(random_);
  Id session_ = Id::make(clock_, random_);
  recording::Manifest manifest_;
  std::vector<recording::Ratchet> ratchets_;
  int manifest_reads_ = 0;
};

TEST_F(PlaybackKeysTest, OpensEveryChunkForwardsBackwardsAndAtRandom) {
  add_epoch(1, 10);
  PlaybackKeys keys = this->keys();
  for (std::uint64_t sequence : {0, 1, 2, 9, 3, 0, 10, 11, 20, 10, 5})
    EXPECT_TRUE(keys.chunk_key(header(sequence, sequence >= 10 ? 1 : 0)).equals(expected(sequence >= 10 ? 1 : 0, sequence))) << sequence;
  EXPECT_EQ(manifest_reads_, 2) << "one per epoch";
}

TEST_F(PlaybackKeysTest, FindsAnEpochThatWasAddedLater) {
  PlaybackKeys keys = this->keys();
  keys.chunk_key(header(3, 0));
  add_epoch(1, 4);
  EXPECT_TRUE(keys.chunk_key(header(4, 1)).equals(expected(1, 4)));
}

TEST_F(PlaybackKeysTest, SaysWhyAChunkHasNoKey) {
  PlaybackKeys keys = this->keys();
  auto code = [&](const recording::ChunkHeader& h) -> std::string {
    try {
      keys.chunk_key(h);
    } catch (const Error& e) { return e.code(); }
    return "";
  };
  EXPECT_EQ(code(header(0, 7)), "unknown_epoch");
  manifest_.epochs.push_back(recording::start_epoch(1, 5, {crypto::BoxKey::make(random_).public_key()}, random_).epoch);
  EXPECT_EQ(code(header(5, 1)), "not_a_recipient");
  add_epoch(2, 50);
  EXPECT_EQ(code(header(49, 2)), "unknown_epoch") << "before its epoch began";
  EXPECT_EQ(code(header(50 + recording::Ratchet::kMaxSteps + 1, 2)), "ratchet_gap") << "a hostile sequence number costs nothing";
}

TEST_F(PlaybackKeysTest, ForgetsADeletedSession) {
  PlaybackKeys keys = this->keys();
  keys.chunk_key(header(0, 0));
  keys.forget(session_);
  manifest_.epochs.clear();
  EXPECT_THROW(keys.chunk_key(header(1, 0)), Error);
}

TEST(Limits, AreReachedOnlyByLiveSessions) {
  Session s;
  s.status = Status::recording;
  s.started_wall_ms = 1'000'000;
  s.last_commit_wall_ms = 1'000'000;
  EXPECT_EQ(limit_reached(s, INT64_MAX / 2), std::nullopt) << "no limits";
  s.policy.max_duration = 60;
  EXPECT_EQ(limit_reached(s, 1'059'999), std::nullopt);
  EXPECT_TRUE(limit_reached(s, 1'060'000));
  s.stale = true;
  EXPECT_EQ(limit_reached(s, 1'060'000), std::nullopt) << "what is not known is not acted on";
  s.stale = false;
  s.policy = {.fail_mode = FailMode::closed, .idle_timeout = 10, .max_duration = 0};
  s.last_commit_wall_ms = 1'100'000;
  EXPECT_EQ(limit_reached(s, 1'109'000), std::nullopt);
  EXPECT_TRUE(limit_reached(s, 1'110'000));
  s.status = Status::paused;
  EXPECT_EQ(limit_reached(s, 1'110'000), std::nullopt) << "a pause is not idleness";
  s.status = Status::completed;
  s.policy.max_duration = 1;
  EXPECT_EQ(limit_reached(s, 1'110'000), std::nullopt);
}

TEST(EventKinds, AreThoseOfTheRecordStream) {
  const auto& kinds = event_kinds();
  for (const char* kind : {"key", "pointer_button", "window", "clipboard", "gap", "end"})
    EXPECT_NE(std::find(kinds.begin(), kinds.end(), kind), kinds.end()) << kind;
  EXPECT_EQ(std::find(kinds.begin(), kinds.end(), "tile"), kinds.end());
}

}  // namespace
}  // namespace lucid::api
