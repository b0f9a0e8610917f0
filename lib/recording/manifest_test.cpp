#include "lib/recording/manifest.hpp"

#include "lib/recording/container_fixture.hpp"

using namespace lucid;
using namespace lucid::recording;
using namespace lucid::recording::fixture;

namespace {

const SampleRecording& small_sample() {
  static const SampleRecording recording({.seed = 21, .chunks = 3, .epochs_at = {0, 2}, .plain_size = 16, .compressible = false});
  return recording;
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

}  // namespace

TEST(Manifest, SurvivesTheRoundTrip) {
  auto parsed = parse_manifest(small_sample().manifest_text);
  ASSERT_TRUE(parsed) << parsed.error().what();
  EXPECT_EQ(to_json_text(*parsed), small_sample().manifest_text);
  EXPECT_EQ(parsed->session, small_sample().manifest.session);
  EXPECT_EQ(parsed->name, "Büro \"3\"");
  EXPECT_EQ(parsed->options, small_sample().manifest.options);
  ASSERT_EQ(parsed->epochs.size(), 2u);
  EXPECT_EQ(parsed->epochs[1].keys[0].sealed_k0, small_sample().manifest.epochs[1].keys[0].sealed_k0);
  EXPECT_EQ(parsed->final_checkpoint, small_sample().manifest.final_checkpoint);
}

TEST(Manifest, IgnoresMembersOfLaterWriters) {
  std::string text = replaced(small_sample().manifest_text, "{\"format\"", R"({"legal_hold":{"by":"x"},"format")");
  text = replaced(text, "{\"epoch\":0", R"({"shredded_at":5,"epoch":0)");
  text = replaced(text, "{\"recipient\"", R"({"role":"auditor","recipient")");
  auto parsed = parse_manifest(text);
  ASSERT_TRUE(parsed) << parsed.error().what();
  EXPECT_EQ(to_json_text(*parsed), small_sample().manifest_text);
}

TEST(Manifest, RefusesWhatItCannotTrust) {
  const std::string& good = small_sample().manifest_text;
  const std::pair<const char*, const char*> wrong[] = {{"lucid-manifest", "other-manifest"},
                                                       {"\"version\":1", "\"version\":2"},
                                                       {"\"version\":1,", ""},
                                                       {"\"node\":\"pi-five\"", "\"node\":\"pi five\""},
                                                       {"\"node\":\"pi-five\"", "\"node\":\"a+b\""},
                                                       {"\"node\":\"pi-five\"", "\"node\":\"../x\""},
                                                       {"\"node\":\"pi-five\"", "\"node\":\"\""},
                                                       {"\"started_wall_ms\":1700000000000", "\"started_wall_ms\":-1"},
                                                       {"\"started_wall_ms\":1700000000000", "\"started_wall_ms\":\"x\""},
                                                       {"\"options\":{", "\"options\":[],\"x\":{"},
                                                       {"\"epoch\":1", "\"epoch\":0"},
                                                       {"\"first_sequence\":2", "\"first_sequence\":-2"},
                                                       {"\"first_sequence\":0", "\"first_sequence\":3"},
                                                       {"\"sealed_k0\":\"", "\"sealed_k0\":\"!"},
                                                       {"\"sealed_k0\":\"", "\"sealed_k0\":\"AAAA"},
                                                       {"lucid-sig-pub:", "lucid-box-pub:"},
                                                       {"\"epochs\":[", "\"epochs\":7,\"y\":["}};
  for (auto [what, with] : wrong) {
    auto parsed = parse_manifest(replaced(good, what, with));
    ASSERT_FALSE(parsed) << what << " -> " << with;
    EXPECT_EQ(parsed.error().kind(), ErrorKind::malformed);
  }
  EXPECT_FALSE(parse_manifest(""));
  EXPECT_FALSE(parse_manifest("[]"));
  EXPECT_EQ(parse_manifest(std::string(kMaxManifestBytes + 1, ' ')).error().kind(), ErrorKind::too_large);
}

TEST(Manifest, FindsTheEpochOfAChunk) {
  Manifest m = small_sample().manifest;
  EXPECT_EQ(epoch_of(m, 0)->epoch, 0u);
  EXPECT_EQ(epoch_of(m, 1)->epoch, 0u);
  EXPECT_EQ(epoch_of(m, 2)->epoch, 1u);
  EXPECT_EQ(epoch_of(m, 1'000'000)->epoch, 1u);
  EXPECT_EQ(find_epoch(m, 1)->first_sequence, 2u);
  EXPECT_EQ(find_epoch(m, 2), nullptr);
  m.epochs.erase(m.epochs.begin());
  EXPECT_EQ(epoch_of(m, 1), nullptr);
}

TEST(ManifestNote, BindsEveryByte) {
  const std::string& text = small_sample().manifest_text;
  const std::string note = small_sample().manifest_note();
  const auto& key = small_sample().signing.verify_key();
  EXPECT_TRUE(verify_manifest(text, note, key));
  auto renamed = verify_manifest(replaced(text, "Büro", "Buro"), note, key);
  EXPECT_EQ(renamed.error().code(), "manifest_altered");
  EXPECT_EQ(verify_manifest(text + " ", note, key).error().code(), "manifest_altered");
  EXPECT_EQ(verify_manifest(text, replaced(note, "sha256 ", "sha256 0"), key).error().code(), "bad_signature");
  EXPECT_EQ(verify_manifest(text, note, crypto::SigningKey(key_of(8)).verify_key()).error().code(), "wrong_key");
  EXPECT_EQ(verify_manifest(text, sign_manifest(text, crypto::SigningKey(key_of(8))), key).error().code(), "wrong_key");
  EXPECT_EQ(verify_manifest(text, "", key).error().kind(), ErrorKind::malformed);
  // Neither a session's checkpoint nor another session's manifest note stands in for it.
  EXPECT_EQ(verify_manifest(text, small_sample().checkpoint(1), key).error().code(), "manifest_altered");
  const SampleRecording other({.seed = 22, .chunks = 1});
  EXPECT_EQ(verify_manifest(text, other.manifest_note(), key).error().code(), "manifest_altered");
  EXPECT_THROW(sign_manifest("{}", small_sample().signing), Error);
}

TEST(Manifest, GoldenBytes) {
  expect_golden("manifest/v1/manifest.json", as_bytes(small_sample().manifest_text));
  expect_golden("manifest/v1/manifest.note", as_bytes(small_sample().manifest_note()));
}
