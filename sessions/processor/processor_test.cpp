#include "sessions/processor/processor.hpp"

#include <future>
#include <map>
#include <thread>

#include <gtest/gtest.h>

#include "lib/base/file_ops.hpp"
#include "lib/crypto/hash.hpp"
#include "lib/evidence/checkpoint.hpp"

using namespace lucid;
using namespace lucid::processor;

namespace {

// A real database whose writing of leaves a test can watch.
class WatchedLeaves final : public store::Documents {
 public:
  WatchedLeaves(store::Documents& real, std::function<void()>& before_leaf) : real_(real), before_leaf_(before_leaf) {}
  bool insert(const std::string& c, const std::string& key, const std::string& json) override { return real_.insert(c, key, json); }
  std::vector<bool> insert_many(std::span<const Insert> inserts) override { return real_.insert_many(inserts); }
  std::optional<store::Document> get(const std::string& c, const std::string& key) override { return real_.get(c, key); }
  bool replace(const std::string& c, const std::string& key, const std::string& json, std::int64_t version) override {
    return real_.replace(c, key, json, version);
  }
  void put(const std::string& c, const std::string& key, const std::string& json) override {
    if (c == "leaves" && before_leaf_) before_leaf_();
    real_.put(c, key, json);
  }
  bool remove(const std::string& c, const std::string& key) override { return real_.remove(c, key); }
  std::uint64_t remove_range(const std::string& c, const std::string& from, const std::string& to) override {
    return real_.remove_range(c, from, to);
  }
  std::vector<store::Document> scan(const std::string& c, const store::Scan& scan) override { return real_.scan(c, scan); }
  std::uint64_t count(const std::string& c, const std::string& from, const std::string& to) override { return real_.count(c, from, to); }

 private:
  store::Documents& real_;
  std::function<void()>& before_leaf_;
};

// The processor with a real database, real keys and sealed segments; storage and pipeline answer as each test needs.
struct Harness {
  TempDir dir;
  ManualClock clock;
  runtime::Metrics metrics;
  SeededRandom random{7};
  std::unique_ptr<store::Documents> database = store::open_sqlite_documents(dir.path() + "/processor.db");
  std::function<void()> before_leaf;
  std::unique_ptr<store::Documents> documents = std::make_unique<WatchedLeaves>(*database, before_leaf);
  crypto::BoxKey spool_key = crypto::BoxKey::make(random), playback = crypto::BoxKey::make(random), auditor = crypto::BoxKey::make(random);
  crypto::SigningKey signing = crypto::SigningKey::make(random);
  Id session = Id::make(clock, random);
  recording::SpoolSealer sealer{spool_key.public_key(), random};

  std::map<std::uint64_t, Bytes> stored;
  std::string manifest;
  std::uint64_t told = 0;  // chunks the pipeline knows of
  std::uint64_t valid_token = 5;
  std::function<void()> after_store = [] {};
  std::function<void()> before_commit = [] {};
  std::unique_ptr<Processor> processor;

  Harness() { restart(); }
  void restart() {
    processor.reset();
    processor =
        std::make_unique<Processor>(Config{.node = "test"}, *documents, clock, random, crypto::BoxKey(spool_key.secret().clone()),
                                    *crypto::SigningKey::parse(signing.text()), playback.public_key(), metrics,
                                    Outside{.plan =
                                                [this](const Id& id) {
                                                  if (id != session) throw Error(ErrorKind::not_found, "recording_not_found", "none");
                                                  return contracts::RecordingPlan{.session = id,
                                                                                  .name = "n",
                                                                                  .target = {":1", ""},
                                                                                  .options = {},
                                                                                  .recipients = {auditor.public_key().text()},
                                                                                  .started_wall_ms = 42};
                                                },
                                            .begin =
                                                [this](const Id&, std::uint64_t, std::uint64_t token) {
                                                  if (token != valid_token) throw Error(ErrorKind::conflict, "lease_lost", "lost");
                                                  return told;
                                                },
                                            .commit =
                                                [this](const Id&, const contracts::Commit& commit) {
                                                  before_commit();
                                                  if (commit.sequence == told) ++told;
                                                },
                                            .failure = [](const Id&, std::uint64_t, const std::string&, const std::string&) {},
                                            .put_chunk =
                                                [this](const Id&, std::uint64_t sequence, ByteView bytes) {
                                                  bool created = stored.emplace(sequence, Bytes(bytes.begin(), bytes.end())).second;
                                                  after_store();
                                                  return contracts::StorageClient::Put{row(sequence), created};
                                                },
                                            .rows = [this](const Id&, std::uint64_t from, std::size_t) { return std::vector{row(from)}; },
                                            .put_manifest = [this](const Id&, std::string_view text) { manifest = text; }});
  }
  contracts::ChunkRow row(std::uint64_t sequence) {
    const Bytes& bytes = stored.at(sequence);
    auto h = recording::parse_chunk_header(bytes).value();
    return {.sequence = sequence,
            .blake3 = crypto::blake3(bytes),
            .stored_size = static_cast<std::uint32_t>(bytes.size()),
            .plain_size = h.plain_size,
            .key_epoch = h.key_epoch,
            .first_ms = h.first_ms,
            .last_ms = h.last_ms,
            .flags = h.flags};
  }
  std::string records(std::uint64_t sequence) { return "records of segment " + std::to_string(sequence); }
  Bytes segment(std::uint64_t sequence, bool closed = true, std::uint64_t token = 5) {
    Bytes body = sealer.header();
    std::string text = records(sequence);
    std::int64_t ms = static_cast<std::int64_t>(sequence) * 1000;
    sealer.seal({.session = session,
                 .sequence = sequence,
                 .index = 0,
                 .last = false,
                 .flags = 0,
                 .first_ms = ms,
                 .last_ms = ms + 1,
                 .fencing_token = token},
                as_bytes(text).first(10), body);
    sealer.seal({.session = session,
                 .sequence = sequence,
                 .index = 1,
                 .last = closed,
                 .flags = 0,
                 .first_ms = ms + 2,
                 .last_ms = ms + 3,
                 .fencing_token = token},
                as_bytes(text).subspan(10), body);
    return body;
  }
  void ingest(std::uint64_t sequence) { processor->ingest(segment(sequence), contracts::SegmentPart::closed); }
  void expect_playable(std::uint64_t count, const crypto::BoxKey& key) {
    auto m = recording::parse_manifest(manifest);
    ASSERT_TRUE(m) << m.error().what();
    for (std::uint64_t i = 0; i < count; ++i) {
      auto header = recording::parse_chunk_header(stored.at(i)).value();
      const recording::KeyEpoch* epoch = recording::find_epoch(*m, header.key_epoch);
      ASSERT_NE(epoch, nullptr);
      auto chunk_key = recording::recover_chunk_key(*epoch, i, key);
      ASSERT_TRUE(chunk_key);
      auto plain = recording::open_chunk(stored.at(i), *chunk_key);
      ASSERT_TRUE(plain) << plain.error().what();
      EXPECT_EQ(as_text(*plain), records(i));
    }
  }
  void expect_signed(std::uint64_t count) {
    auto checkpoint = evidence::open_checkpoint(processor->checkpoint(session), signing.verify_key());
    ASSERT_TRUE(checkpoint) << checkpoint.error().what();
    EXPECT_EQ(checkpoint->size, count);
    EXPECT_EQ(checkpoint->origin, "lucid/test/session/" + session.text());
    evidence::Tree tree;
    for (std::uint64_t i = 0; i < count; ++i)
      tree.append(evidence::leaf_hash(
          recording::encode_leaf(recording::leaf_of(recording::parse_chunk_header(stored.at(i)).value(), crypto::blake3(stored.at(i))))));
    EXPECT_EQ(checkpoint->root, tree.root());
  }
  double value(const std::string& series) {
    std::string text = metrics.expose(), line = "\n" + series + " ";
    auto at = text.find(line);
    return at == std::string::npos ? -1 : std::stod(text.substr(at + line.size()));
  }
  std::string code_of(const Bytes& body, contracts::SegmentPart part = contracts::SegmentPart::closed) {
    try {
      processor->ingest(body, part);
      return "taken";
    } catch (const Error& e) { return e.code(); }
  }
};

}  // namespace

TEST(Processor, SealsSegmentsThatEveryRecipientCanOpenUnderASignedCheckpoint) {
  Harness h;
  for (std::uint64_t i = 0; i < 5; ++i) h.ingest(i);
  h.expect_playable(5, h.playback);
  h.expect_playable(5, h.auditor);
  h.expect_signed(5);
  EXPECT_EQ(h.told, 5u);
}

TEST(Processor, ARestartStartsANewKeyEpochAndGoesOnInTheSameTree) {
  Harness h;
  h.ingest(0);
  h.ingest(1);
  h.restart();
  h.ingest(2);
  EXPECT_EQ(recording::parse_manifest(h.manifest)->epochs.size(), 2u);
  h.expect_playable(3, h.playback);
  h.expect_signed(3);
}

TEST(Processor, ASegmentSentAgainChangesNothing) {
  Harness h;
  h.ingest(0);
  Bytes before = h.stored.at(0);
  h.ingest(0);
  EXPECT_EQ(h.stored.at(0), before);
  h.expect_signed(1);
}

TEST(Processor, ACrashAfterStoringIsRepairedBySendingAgain) {
  Harness h;
  h.ingest(0);
  h.after_store = [] { throw Error(ErrorKind::unavailable, "unreachable", "died"); };
  EXPECT_EQ(h.code_of(h.segment(1)), "unreachable");
  h.after_store = [] {};
  h.restart();  // the chunk in storage is of an epoch whose key is gone from memory
  h.ingest(1);
  h.ingest(2);
  h.expect_playable(3, h.playback);
  h.expect_signed(3);
}

TEST(Processor, ACrashBeforeThePipelineKnewIsRepairedBySendingAgain) {
  Harness h;
  h.before_commit = [] { throw Error(ErrorKind::unavailable, "unreachable", "died"); };
  EXPECT_EQ(h.code_of(h.segment(0)), "unreachable");
  h.before_commit = [] {};
  h.restart();
  h.ingest(0);
  EXPECT_EQ(h.told, 1u);
  h.ingest(1);
  h.expect_playable(2, h.playback);
  h.expect_signed(2);
}

TEST(Processor, RefusesWhatIsNotTheNextWholeUnalteredSegmentOfTheLeaseHolder) {
  Harness h;
  h.ingest(0);
  EXPECT_EQ(h.code_of(h.segment(2)), "out_of_order");
  EXPECT_EQ(h.code_of(h.segment(1, true, 4)), "lease_lost");
  EXPECT_EQ(h.code_of(h.segment(1, false)), "segment_cut");
  Bytes altered = h.segment(1);
  altered.back() ^= 1;
  EXPECT_EQ(h.code_of(altered), "segment_altered");
  Bytes truncated = h.segment(1);
  truncated.resize(truncated.size() - 5);
  EXPECT_NE(h.code_of(truncated), "taken");
  EXPECT_NE(h.code_of({}), "taken");
  Bytes foreign = recording::SpoolSealer(h.auditor.public_key(), h.random).header();
  EXPECT_EQ(h.code_of(foreign), "spool_key");
  h.stored[1] = h.stored[0];  // storage holds something else under that number
  EXPECT_EQ(h.code_of(h.segment(1)), "sequence_taken");
  EXPECT_EQ(h.told, 1u);
  h.expect_signed(1);
}

TEST(Processor, TheCheckpointAgeIsThatOfTheOldestStoredChunkWithoutOne) {
  Harness h;
  EXPECT_EQ(h.value("lucid_processor_checkpoint_age_seconds"), 0);
  h.ingest(0);
  h.clock.advance(60'000);
  EXPECT_EQ(h.value("lucid_processor_checkpoint_age_seconds"), 0) << "its leaf is signed";
  h.before_leaf = [] { throw Error(ErrorKind::unavailable, "database_unavailable", "the disk fails"); };
  EXPECT_EQ(h.code_of(h.segment(1)), "database_unavailable");
  EXPECT_EQ(h.stored.count(1), 1u);
  h.clock.advance(2'500);
  EXPECT_EQ(h.value("lucid_processor_checkpoint_age_seconds"), 2.5);
  EXPECT_EQ(h.code_of(h.segment(1)), "database_unavailable");
  h.clock.advance(1'000);
  EXPECT_EQ(h.value("lucid_processor_checkpoint_age_seconds"), 3.5) << "sending it again makes it no younger";
  h.before_leaf = {};
  h.ingest(1);
  EXPECT_EQ(h.value("lucid_processor_checkpoint_age_seconds"), 0);
  h.expect_signed(2);
}

TEST(Processor, TheCheckpointAgeGrowsWhileACommitHangs) {
  Harness h;
  h.ingest(0);
  std::promise<void> reached, go_on;
  h.before_leaf = [&] {
    reached.set_value();
    go_on.get_future().wait();
  };
  std::thread sender([&] { h.ingest(1); });
  reached.get_future().wait();
  h.clock.advance(4'000);
  EXPECT_EQ(h.value("lucid_processor_checkpoint_age_seconds"), 4) << "asked while the session's lock is held";
  go_on.set_value();
  sender.join();
  EXPECT_EQ(h.value("lucid_processor_checkpoint_age_seconds"), 0);
}

TEST(Processor, ItCountsChunksAndErrorsByStageAndTheSessionsItSeals) {
  Harness h;
  EXPECT_EQ(h.value("lucid_processor_errors_total{stage=\"stored\"}"), 0) << "there before the first";
  EXPECT_EQ(h.value("lucid_processor_sessions"), 0);
  h.ingest(0);
  h.ingest(0);
  EXPECT_EQ(h.value("lucid_processor_chunks_total"), 1);
  EXPECT_EQ(h.value("lucid_processor_stored_bytes_total"), static_cast<double>(h.stored.at(0).size()));
  EXPECT_EQ(h.value("lucid_processor_stage_seconds_count{stage=\"stored\"}"), 1);
  EXPECT_EQ(h.value("lucid_processor_segment_seconds_count"), 1);
  EXPECT_EQ(h.value("lucid_processor_sessions"), 1);
  Bytes altered = h.segment(1);
  altered.back() ^= 1;
  EXPECT_EQ(h.code_of(altered), "segment_altered");
  EXPECT_EQ(h.value("lucid_processor_errors_total{stage=\"opened\"}"), 1);
  h.after_store = [] { throw Error(ErrorKind::unavailable, "unreachable", "away"); };
  h.code_of(h.segment(1));
  EXPECT_EQ(h.value("lucid_processor_errors_total{stage=\"stored\"}"), 1);
  EXPECT_EQ(h.value("lucid_processor_checkpoint_age_seconds"), 0) << "whether it is stored is not known";
  h.after_store = [] {};
  h.processor->finish(h.session);
  EXPECT_EQ(h.value("lucid_processor_sessions"), 0);
}

TEST(Processor, TakesTheUnclosedLastSegmentOfACrashedRecorderAsItIs) {
  Harness h;
  EXPECT_EQ(h.code_of(h.segment(0, false), contracts::SegmentPart::cut_by_crash), "taken");
  h.expect_playable(1, h.playback);
}

TEST(Processor, FinishWritesTheFinalCheckpointIntoASignedManifest) {
  Harness h;
  h.ingest(0);
  auto final = h.processor->finish(h.session);
  EXPECT_EQ(recording::parse_manifest(h.manifest)->final_checkpoint, final.checkpoint);
  EXPECT_TRUE(recording::verify_manifest(h.manifest, final.manifest_note, h.signing.verify_key()));
  auto again = h.processor->finish(h.session);
  EXPECT_EQ(again.manifest_note, final.manifest_note);
}
