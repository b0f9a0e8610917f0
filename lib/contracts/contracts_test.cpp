#include <gtest/gtest.h>

#include "lib/contracts/fields.hpp"
#include "lib/contracts/nodes.hpp"
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

namespace {

NodeStatus some_node(ManualClock& clock, SeededRandom& random) {
  NodeStatus s;
  s.id = Id::make(clock, random);
  s.name = "node-1";
  s.type = NodeType::storage;
  s.state = NodeState::draining;
  s.cause = "asked for";
  s.key = crypto::SigningKey::make(random).verify_key();
  s.capacity = {4000, 8192, 8, 1 << 30};
  s.load = {100, 200, {Id::make(clock, random), Id::make(clock, random)}, 5};
  s.capabilities = {"xfce", "h264"};
  s.sessions = s.load.sessions;
  s.last_sequence = 1ull << 53;
  s.registered_wall_ms = 1;
  s.since_wall_ms = 2;
  s.last_beat_wall_ms = 3;
  s.lease_until_wall_ms = 4;
  return s;
}

std::vector<std::string> wrong_fields(const std::function<void()>& read) {
  std::vector<std::string> out;
  try {
    read();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::invalid);
    for (const FieldError& f : e.fields()) out.push_back(f.pointer);
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

TEST(NodeContracts, EveryMessageSurvivesItsOwnJson) {
  ManualClock clock;
  SeededRandom random(1);
  auto same = [](auto value, auto read) { EXPECT_EQ(json::serialize(to_json(read(to_json(value)))), json::serialize(to_json(value))); };
  NodeStatus status = some_node(clock, random);
  same(status, read_node_status);
  same(status.load, read_node_load);
  same(NodeRegistration{"lucid-invitation:x", status.key, "node_1", NodeType::validator, status.capacity, {"a-1"}}, read_node_registration);
  BeatReply reply{NodeState::active, 1000, 4000, {}};
  reply.work.push_back({status.id, NodeWork::Kind::challenge, status.sessions[0], 3, 100, 200, random.array<32>(), 7, 5000});
  same(reply, read_beat_reply);
  same(WorkAnswer{status.id, random.array<32>(), random.array<64>()}, read_work_answer);
  same(PlaceRequest{status.id, 1500, 1024}, read_place_request);
  same(Placement{status.id, status.sessions[0], "node-1"}, read_placement);
  same(NodeEvents{{{9, status.id, NodeState::active, NodeState::offline, "its lease ended", status.sessions}}, 9}, read_node_events);
}

TEST(NodeContracts, EveryWrongFieldIsNamed) {
  ManualClock clock;
  SeededRandom random(1);
  json::value registration =
      json::object{{"invitation", ""},
                   {"key", "lucid-sig-pub:short"},
                   {"name", "a/b"},
                   {"type", "king"},
                   {"capacity", json::object{{"cpu_millicores", 0}, {"memory_mb", 1e3}, {"session_slots", 10'001}, {"x", 1}}},
                   {"capabilities", json::array{"UP"}},
                   {"surplus", 1}};
  EXPECT_EQ(wrong_fields([&] { read_node_registration(registration); }),
            (std::vector<std::string>{"/capabilities", "/capacity/cpu_millicores", "/capacity/memory_mb", "/capacity/session_slots",
                                      "/capacity/storage_bytes", "/capacity/x", "/invitation", "/key", "/name", "/surplus", "/type"}));
  std::string id = Id::make(clock, random).text();
  json::value load = json::object{
      {"cpu_millicores_free", -1}, {"memory_mb_free", "1"}, {"sessions", json::array{id, id}}, {"storage_bytes_used", 1ull << 53}};
  EXPECT_EQ(wrong_fields([&] { read_node_load(load); }),
            (std::vector<std::string>{"/cpu_millicores_free", "/memory_mb_free", "/sessions", "/storage_bytes_used"}));
  json::value reply =
      json::object{{"state", "active"}, {"next_beat_ms", 0}, {"lease_ms", 1}, {"work", json::array{json::object{{"id", "x"}}}}};
  EXPECT_EQ(wrong_fields([&] { read_beat_reply(reply); }),
            (std::vector<std::string>{"/next_beat_ms", "/work/0/id", "/work/0/kind", "/work/0/session_id"}));
  EXPECT_EQ(wrong_fields([&] { read_place_request(json::object{{"session_id", id}, {"cpu_millicores", 0}, {"memory_mb", -5}}); }),
            (std::vector<std::string>{"/cpu_millicores", "/memory_mb"}));
}

TEST(NodeContracts, ASignatureHeaderHasOneSpelling) {
  ManualClock clock;
  SeededRandom random(1);
  NodeSignature s{Id::make(clock, random), 1ull << 53, random.array<64>()};
  std::string text = node_header(s);
  auto read = parse_node_header(text);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->node, s.node);
  EXPECT_EQ(read->sequence, s.sequence);
  EXPECT_EQ(read->signature, s.signature);
  std::string id = s.node.text(), tail = " " + to_base64url(s.signature);
  for (const std::string& bad :
       {std::string(), id, text + " ", " " + text, text.substr(0, text.size() - 1), id + " 0" + tail, id + " 01" + tail, id + " -1" + tail,
        id + " +1" + tail, id + " 9007199254740993" + tail, id + " 99999999999999999999" + tail, id + "  1" + tail, id + " 1 " + tail,
        id + " 1" + " " + std::string(86, '='), std::string(10'000, 'a')})
    EXPECT_FALSE(parse_node_header(bad)) << bad;
}

TEST(NodeContracts, AReplaySaysWhereToGoOn) {
  EXPECT_EQ(replayed_sequence(beat_replayed(41)), 41u);
  EXPECT_EQ(replayed_sequence(Error(ErrorKind::conflict, "beat_replayed", "x")), std::nullopt);
  EXPECT_EQ(replayed_sequence(Error(ErrorKind::conflict, "other", "x").with_fields({{"/sequence", "4"}})), std::nullopt);
}
