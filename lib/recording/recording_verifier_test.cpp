#include "lib/recording/container_fixture.hpp"

using namespace lucid;
using namespace lucid::recording;
using namespace lucid::recording::fixture;

namespace {

const SampleRecording& verified_sample() {
  static const SampleRecording recording({.seed = 61, .chunks = 6});
  return recording;
}

VerifyReport check(const std::vector<Bytes>& chunks, const std::string& checkpoint, bool with_hashes = false) {
  RecordingVerifier verifier(verified_sample().manifest.session);
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    if (chunks[i].empty()) continue;  // storage does not have it
    verifier.chunk(i, chunks[i], with_hashes ? std::optional(crypto::blake3(verified_sample().chunks[i])) : std::nullopt);
  }
  return verifier.finish(checkpoint, verified_sample().signing.verify_key(), verified_sample().origin());
}

std::string first_code(const VerifyReport& report) { return report.findings.empty() ? "" : report.findings[0].code; }

}  // namespace

TEST(RecordingVerifier, AnUntouchedRecordingIsGood) {
  auto report = check(verified_sample().chunks, verified_sample().checkpoint(6));
  EXPECT_EQ(report.verdict, Verdict::good);
  EXPECT_TRUE(report.complete);
  EXPECT_EQ(report.root, verified_sample().tree.root());
  EXPECT_EQ(report.chunks, 6u);
}

TEST(RecordingVerifier, NamesWhatWasDoneToStoredChunks) {
  auto with = [](auto change) {
    std::vector<Bytes> chunks = verified_sample().chunks;
    change(chunks);
    return chunks;
  };
  const std::string checkpoint = verified_sample().checkpoint(6);
  auto altered = with([](auto& c) { c[2].back() ^= 1; });
  EXPECT_EQ(first_code(check(altered, checkpoint)), "checkpoint_mismatch");
  EXPECT_EQ(first_code(check(altered, checkpoint, true)), "chunk_altered");
  EXPECT_EQ(*check(altered, checkpoint, true).findings[0].sequence, 2u);
  EXPECT_EQ(first_code(check(with([](auto& c) { c[2].pop_back(); }), checkpoint)), "chunk_altered");
  EXPECT_EQ(first_code(check(with([](auto& c) { c[2].clear(); }), checkpoint)), "chunk_missing");
  EXPECT_EQ(first_code(check(with([](auto& c) { c.pop_back(); }), checkpoint)), "chunk_missing");
  EXPECT_EQ(first_code(check(with([](auto& c) { std::swap(c[1], c[2]); }), checkpoint)), "chunk_swapped");
  EXPECT_EQ(first_code(check(with([](auto& c) { c[4] = c[1]; }), checkpoint)), "chunk_replayed");
  EXPECT_EQ(first_code(check(with([](auto& c) { c[4] = SampleRecording({.seed = 3}).chunks[4]; }), checkpoint)), "foreign_chunk");
}

TEST(RecordingVerifier, NamesWhatIsWrongWithTheCheckpoint) {
  EXPECT_EQ(first_code(check(verified_sample().chunks, verified_sample().checkpoint(3))), "old_checkpoint");
  EXPECT_EQ(first_code(check(verified_sample().chunks, "")), "malformed");
  std::string edited = verified_sample().checkpoint(6);
  edited.replace(edited.find("\n6\n"), 3, "\n5\n");
  EXPECT_EQ(first_code(check(verified_sample().chunks, edited)), "bad_signature");
  EXPECT_EQ(first_code(check(verified_sample().chunks, SampleRecording({.seed = 61, .chunks = 6}, 8).checkpoint(6))), "wrong_key");
  EXPECT_EQ(first_code(check(verified_sample().chunks, SampleRecording({.seed = 62, .chunks = 6}).checkpoint(6))), "checkpoint_mismatch");
}
