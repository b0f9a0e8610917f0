#include <gtest/gtest.h>

#include "lib/contracts/fields.hpp"
#include "lib/contracts/pipeline.hpp"
#include "lib/contracts/storage.hpp"

using namespace lucid;
using namespace lucid::contracts;

TEST(Contracts, EveryMessageSurvivesItsOwnJson) {
  ManualClock clock;
  SeededRandom random(1);
  RecordingPlan plan{
      .session = Id::make(clock, random),
      .name = "n",
      .target = {":10", "/home/u/.Xauthority"},
      .options = {.frame_rate = 30, .keystrokes = Keystrokes::metadata, .digests = Digests::all, .password_titles = {"Unlock"}},
      .recipients = {"lucid-box-pub:x"},
      .created_wall_ms = 1,
      .started_wall_ms = 2,
      .started_steady_ms = 3};
  EXPECT_EQ(json::serialize(to_json(read_recording_plan(to_json(plan)))), json::serialize(to_json(plan)));

  RecordingStatus status;
  status.session = plan.session;
  status.state = PipelineState::paused;
  status.stages = {{"stored", 7, 1, 0.5, 1.5, 2.5}};
  status.alarm = "disk_full";
  EXPECT_EQ(json::serialize(to_json(read_recording_status(to_json(status)))), json::serialize(to_json(status)));

  ChunkRow row{.sequence = 1ull << 63,
               .blake3 = random.array<32>(),
               .stored_size = 3,
               .plain_size = 9,
               .key_epoch = 2,
               .first_ms = 5,
               .last_ms = 6,
               .flags = 3,
               .codec = 1,
               .pack = 4,
               .offset = 1};
  EXPECT_EQ(json::serialize(to_json(read_chunk_row(to_json(row)).value())), json::serialize(to_json(row)));

  Commit commit{.sequence = 4,
                .fencing_token = 9,
                .stored_size = 1,
                .plain_size = 2,
                .first_ms = 3,
                .last_ms = 4,
                .flags = 5,
                .compress_us = 6,
                .encrypt_us = 7,
                .hash_us = 8,
                .store_us = 9,
                .total_us = 10};
  EXPECT_EQ(json::serialize(to_json(read_commit(to_json(commit)))), json::serialize(to_json(commit)));
}

TEST(Contracts, NumbersThatDoNotFitAreRefused) {
  json::value value = json::object{{"flags", 65536}, {"size", -1}};
  Fields a(value);
  a.number<std::uint16_t>("flags");
  EXPECT_FALSE(a.ok());
  Fields b(value);
  b.number<std::uint32_t>("size");
  EXPECT_FALSE(b.ok());
}

TEST(Contracts, DisplayNamesCannotCarryPathsOrOptions) {
  for (const char* bad : {"10", ":", ":1;reboot", "../x:1", "-x:1/..", ":１"}) {
    json::value value = json::object{{"display", bad}};
    FieldReader in(value);
    read_display_target(in);
    EXPECT_THROW(in.finish(), Error) << bad;
  }
}
