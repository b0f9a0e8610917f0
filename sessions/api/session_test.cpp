#include "sessions/api/session.hpp"

#include <gtest/gtest.h>

#include "lib/crypto/sealed_box.hpp"

namespace lucid::api {
namespace {

json::value parsed(std::string_view text) { return parse_json(text).value(); }
Session create(std::string_view text) { return read_create(parsed(text)); }

std::vector<std::string> refused(std::string_view text) {
  try {
    create(text);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::invalid);
    std::vector<std::string> pointers;
    for (const FieldError& f : e.fields()) pointers.push_back(f.pointer);
    return pointers;
  }
  return {};
}
using Pointers = std::vector<std::string>;

const char* kSmall = R"({"name":"n","target":{"kind":"display","display":":7"}})";

TEST(CreateSession, FillsInTheDocumentedDefaults) {
  Session s = create(kSmall);
  EXPECT_EQ(s.name, "n");
  EXPECT_EQ(s.target.display, ":7");
  EXPECT_EQ(s.recording.frame_rate, 15);
  EXPECT_EQ(s.recording.keystrokes, contracts::Keystrokes::full);
  EXPECT_EQ(s.recording.max_rate, 200'000);
  EXPECT_EQ(s.policy.fail_mode, FailMode::closed);
  EXPECT_EQ(s.policy.max_duration, 0);
  EXPECT_EQ(s.storage.retention_days, 30);
  EXPECT_EQ(s.status, Status::created);
}

TEST(CreateSession, NamesEveryRefusedField) {
  EXPECT_EQ(refused("{}"), (Pointers{"/name", "/target/kind"}));
  EXPECT_EQ(refused(R"({"name":"","target":{"kind":"display","display":"no"},"recording":{"frame_rate":61,"keystrokes":"some"},)"
                    R"("storage":{"retention_days":0},"metadata":{"tags":["ok",""]},"extra":1})"),
            (Pointers{"/name", "/target/display", "/recording/frame_rate", "/recording/keystrokes", "/storage/retention_days",
                      "/metadata/tags/1", "/extra"}));
}

TEST(CreateSession, RefusesWhatThisVersionCannotDoWithTheReason) {
  EXPECT_EQ(refused(R"({"name":"n","target":{"kind":"display","display":":1"},"recording":{"codec":"h264"}})"),
            (Pointers{"/recording/codec"}));
  EXPECT_EQ(refused(R"({"name":"n","target":{"kind":"vnc"}})"), (Pointers{"/target/kind"}));
  EXPECT_TRUE(refused(R"({"name":"n","target":{"kind":"display","display":":1"},"recording":{"codec":"tiles"}})").empty());
}

TEST(CreateSession, TakesADesktopOverRdpAndNamesWhatIsWrongWithIt) {
  Session s = create(R"({"name":"n","target":{"kind":"rdp","account":"ann","resolution":"1280x800","color_depth":32}})");
  ASSERT_TRUE(s.rdp);
  EXPECT_EQ(s.rdp->account, "ann");
  EXPECT_EQ(s.rdp->width, 1280);
  EXPECT_EQ(s.rdp->height, 800);
  EXPECT_EQ(s.rdp->color_depth, 32);
  EXPECT_EQ(
      refused(
          R"({"name":"n","target":{"kind":"rdp","account":"../x","desktop":"/bin/sh","resolution":"1x1","color_depth":8,"display":":1"}})"),
      (Pointers{"/target/account", "/target/desktop", "/target/resolution", "/target/color_depth", "/target/display"}));
}

TEST(CreateSession, HoldsTheLimitsOfEveryText) {
  auto with = [](const std::string& member) { return R"({"name":"n","target":{"kind":"display","display":":1"},)" + member + "}"; };
  std::string x100(100, 'x'), x500(500, 'x');
  EXPECT_TRUE(refused(with(R"("metadata":{"project":")" + x100 + R"(","description":")" + x500 + R"("})")).empty());
  EXPECT_EQ(refused(with(R"("metadata":{"project":")" + x100 + R"(x"})")), (Pointers{"/metadata/project"}));
  EXPECT_EQ(refused(with(R"("metadata":{"description":")" + x500 + R"(x"})")), (Pointers{"/metadata/description"}));
  EXPECT_EQ(refused(with(R"("metadata":{"tags":["1","2","3","4","5","6","7","8","9","10","11"]})")), (Pointers{"/metadata/tags"}));
  EXPECT_EQ(refused(R"({"name":")" + std::string(256, 'x') + R"(","target":{"kind":"display","display":":1"}})"), (Pointers{"/name"}));
  // 255 characters, not bytes.
  std::string umlauts;
  for (int i = 0; i < 255; ++i) umlauts += "ü";
  EXPECT_TRUE(refused(R"({"name":")" + umlauts + R"(","target":{"kind":"display","display":":1"}})").empty());
  EXPECT_EQ(refused(R"({"name":"a\u0000b","target":{"kind":"display","display":":1"}})"), (Pointers{"/name"}));
}

TEST(CreateSession, TakesOnlyPublicKeysAsRecipientsAndEachOnce) {
  SeededRandom random(1);
  std::string key = crypto::BoxKey::make(random).public_key().text();
  auto with = [](const std::string& list) {
    return R"({"name":"n","target":{"kind":"display","display":":1"},"storage":{"recipients":[)" + list + "]}}";
  };
  EXPECT_EQ(create(with('"' + key + '"')).storage.recipients, std::vector<std::string>{key});
  EXPECT_EQ(refused(with(R"("lucid-box-pub:AAAA")")), (Pointers{"/storage/recipients/0"}));
  EXPECT_EQ(refused(with('"' + key + "\",\"" + key + '"')), (Pointers{"/storage/recipients/1"}));
}

TEST(CreateSession, RefusesJsonThatIsNoObjectAnywhere) {
  for (const char* text : {"[]", "null", "\"x\"", "1"}) EXPECT_FALSE(refused(text).empty()) << text;
  EXPECT_FALSE(refused(R"({"name":"n","target":[]})").empty());
  EXPECT_FALSE(refused(R"({"name":"n","target":{"kind":"display","display":":1"},"metadata":"x"})").empty());
}

TEST(PatchSession, ChangesOnlyWhatItNames) {
  Session s = create(R"({"name":"n","target":{"kind":"display","display":":1"},"metadata":{"project":"p","tags":["a"]}})");
  apply_patch(parsed(R"({"metadata":{"owner":"ann"}})"), s);
  EXPECT_EQ(s.name, "n");
  EXPECT_EQ(s.metadata.project, "p");
  EXPECT_EQ(s.metadata.owner, "ann");
  EXPECT_EQ(s.metadata.tags, std::vector<std::string>{"a"});
  apply_patch(parsed(R"({"name":"m","metadata":{"tags":[],"project":""}})"), s);
  EXPECT_EQ(s.name, "m");
  EXPECT_TRUE(s.metadata.tags.empty());
  EXPECT_EQ(s.metadata.project, "");
}

TEST(PatchSession, LeavesTheSessionAloneWhenRefused) {
  Session s = create(kSmall);
  EXPECT_THROW(apply_patch(parsed(R"({"name":"m","target":{}})"), s), Error);
  EXPECT_THROW(apply_patch(parsed(R"({"name":""})"), s), Error);
  EXPECT_EQ(s.name, "n");
}

Session full() {
  Session s = create(R"({"name":"n","target":{"kind":"display","display":":1","xauthority":"/x"},"recording":{"digests":"all"},)"
                     R"("policy":{"fail_mode":"open","max_duration":9},"metadata":{"tags":["a","b"]}})");
  ManualClock clock;
  SeededRandom random(7);
  s.id = Id::make(clock, random);
  s.created_wall_ms = s.updated_wall_ms = clock.wall_ms();
  s.status = Status::failed;
  s.cause = "the display went away";
  s.terminate_asked = true;
  s.chunks = 7;
  s.stored_bytes = 5'000'000'000;
  s.alarm = "disk_full";
  s.receipt =
      Receipt{.asked_wall_ms = 1, .deleted_wall_ms = 2, .chunks = 3, .stored_bytes = 4, .tree_size = 5, .root = "ab", .checkpoint = "c\n"};
  return s;
}

TEST(StoredSession, ReadsBackAsItWasWritten) {
  Session s = full();
  Session back = from_stored(to_stored(s));
  EXPECT_EQ(to_stored(back), to_stored(s));
  EXPECT_EQ(json::serialize(to_public(back)), json::serialize(to_public(s)));
}

TEST(StoredSession, KeepsWhatTheControllerSaid) {
  Session s = create(R"({"name":"n","target":{"kind":"rdp"}})");
  s.id = full().id;
  s.rdp_state = "connected";
  s.client_address = "192.0.2.7:50312";
  s.node = "0190b2f0-0000-7000-8000-000000000001";
  s.frozen = true;
  Session back = from_stored(to_stored(s));
  EXPECT_EQ(to_stored(back), to_stored(s));
  EXPECT_EQ(json::serialize(to_public(back)), json::serialize(to_public(s)));
}

TEST(StoredSession, RefusesDocumentsThatAreDamaged) {
  std::string good = to_stored(full());
  for (std::string bad : {std::string("{}"), std::string("x"), good.substr(0, good.size() / 2), "[" + good + "]"}) {
    try {
      from_stored(bad);
      FAIL() << bad;
    } catch (const Error& e) { EXPECT_EQ(e.kind(), ErrorKind::corrupt); }
  }
}

TEST(SessionStatus, FollowsThePipeline) {
  using contracts::PipelineState;
  struct Row {
    PipelineState state;
    bool finalised, terminate;
    Status shown;
  };
  for (const Row& row :
       {Row{PipelineState::created, false, false, Status::created}, Row{PipelineState::starting, false, false, Status::starting},
        Row{PipelineState::active, false, false, Status::recording}, Row{PipelineState::pausing, false, false, Status::paused},
        Row{PipelineState::paused, false, true, Status::paused}, Row{PipelineState::stopping, false, true, Status::stopping},
        Row{PipelineState::stopped, false, false, Status::processing}, Row{PipelineState::stopped, true, false, Status::completed},
        Row{PipelineState::stopped, true, true, Status::terminated}, Row{PipelineState::error, false, true, Status::failed}}) {
    Session s = create(kSmall);
    s.terminate_asked = row.terminate;
    contracts::RecordingStatus from;
    from.state = row.state;
    from.finalised = row.finalised;
    apply_status(from, s);
    EXPECT_EQ(s.status, row.shown) << name(row.shown);
    EXPECT_FALSE(apply_status(from, s)) << "the same again is no change";
  }
}

TEST(SessionStatus, FollowsTheControllerOfAnRdpSession) {
  using contracts::PipelineState;
  using contracts::RdpState;
  struct Row {
    RdpState state;
    std::optional<PipelineState> recording;
    Status shown;
  };
  for (const Row& row :
       {Row{RdpState::requested, std::nullopt, Status::starting},
        Row{RdpState::starting_recording, PipelineState::starting, Status::starting}, Row{RdpState::ready, std::nullopt, Status::starting},
        Row{RdpState::ready, PipelineState::active, Status::recording}, Row{RdpState::connected, PipelineState::active, Status::recording},
        Row{RdpState::paused, PipelineState::paused, Status::paused}, Row{RdpState::ending, PipelineState::stopped, Status::stopping},
        Row{RdpState::ended, PipelineState::stopped, Status::completed}, Row{RdpState::ended, std::nullopt, Status::completed},
        Row{RdpState::failed, std::nullopt, Status::failed}}) {
    Session s = create(R"({"name":"n","target":{"kind":"rdp"}})");
    contracts::RdpSession rdp;
    rdp.state = row.state;
    rdp.cause = "why";
    std::optional<contracts::RecordingStatus> recording;
    if (row.recording) {
      recording.emplace();
      recording->state = *row.recording;
      recording->finalised = true;
    }
    apply_status(rdp, recording, s);
    EXPECT_EQ(s.status, row.shown) << contracts::name(row.state);
    EXPECT_EQ(s.cause, "why");
    EXPECT_FALSE(apply_status(rdp, recording, s)) << "the same again is no change";
  }
}

TEST(SessionStatus, KnowsItsWords) {
  for (std::size_t i = 0; i < kStatusCount; ++i) EXPECT_EQ(status_named(name(static_cast<Status>(i))), static_cast<Status>(i));
  EXPECT_EQ(status_named("nothing"), std::nullopt);
}

}  // namespace
}  // namespace lucid::api
