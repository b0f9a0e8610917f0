#include "lib/recording/bundle.hpp"

#include "lib/recording/bundle_layout.hpp"
#include "lib/recording/container_fixture.hpp"

using namespace lucid;
using namespace lucid::recording;
using namespace lucid::recording::fixture;

namespace {

const SampleRecording& sample() {
  static const SampleRecording recording({.seed = 41, .chunks = 7, .epochs_at = {0, 4}});
  return recording;
}
const crypto::VerifyKey& key() { return sample().signing.verify_key(); }

std::vector<std::string> codes(const VerifyReport& report) {
  std::vector<std::string> out;
  for (const Finding& f : report.findings) out.push_back(f.code);
  return out;
}
using Codes = std::vector<std::string>;

// The parts of a bundle, taken apart, to be put together otherwise by somebody without the signing key.
struct Parts {
  std::string manifest = sample().manifest_text, checkpoint = sample().checkpoint(7), note = sample().manifest_note();
  std::vector<Bytes> chunks = sample().chunks;
  std::vector<Hash32> leaves;
  Parts() {
    for (std::uint64_t i = 0; i < 7; ++i) leaves.push_back(sample().tree.leaf(i));
  }
  // Counts, lengths and the trailer's hash always fit.
  Bytes file() const {
    Bytes out, plain;
    auto put = [&](ByteView bytes) {
      out.insert(out.end(), bytes.begin(), bytes.end()), plain.insert(plain.end(), bytes.begin(), bytes.end());
    };
    auto put_u32 = [&](std::size_t n) {
      Bytes b;
      ByteWriter(b).u32(static_cast<std::uint32_t>(n));
      put(b);
    };
    Bytes header;
    append(header, BundleHeader{static_cast<std::uint32_t>(manifest.size()), chunks.size()});
    put(header);
    put(as_bytes(manifest));
    for (const Bytes& chunk : chunks) put_u32(chunk.size()), out.insert(out.end(), chunk.begin(), chunk.end());
    for (const Hash32& leaf : leaves) put(leaf);
    put_u32(checkpoint.size()), put(as_bytes(checkpoint));
    put_u32(note.size()), put(as_bytes(note));
    Bytes trailer;
    append(trailer,
           BundleTrailer{
               static_cast<std::uint32_t>(checkpoint.size()), static_cast<std::uint32_t>(note.size()), leaves.size(), out.size() + 64, {}});
    put(ByteView(trailer).first(32));
    Hash32 digest = crypto::blake3(plain);
    out.insert(out.end(), digest.begin(), digest.end());
    return out;
  }
  std::uint64_t offset_of(std::size_t chunk) const {
    std::uint64_t at = 24 + manifest.size();
    for (std::size_t i = 0; i < chunk; ++i) at += 4 + chunks[i].size();
    return at;
  }
};

}  // namespace

TEST(Bundle, AnUntouchedOneIsGood) {
  const Bytes file = sample().bundle();
  EXPECT_EQ(Parts().file(), file);
  auto report = verify(file, key());
  EXPECT_EQ(report.verdict, Verdict::good) << (report.findings.empty() ? "" : report.findings[0].detail);
  EXPECT_TRUE(report.complete);
  EXPECT_EQ(report.session, sample().manifest.session);
  EXPECT_EQ(report.chunks, 7u);
  EXPECT_EQ(report.root, sample().tree.root());
}

TEST(Bundle, ARunningRecordingIsGoodButNotComplete) {
  const SampleRecording running({.seed = 42, .chunks = 4, .ended = false});
  auto report = verify(running.bundle(), key());
  EXPECT_EQ(report.verdict, Verdict::good);
  EXPECT_FALSE(report.complete);
  const SampleRecording empty({.seed = 43, .chunks = 0, .ended = false});
  EXPECT_EQ(verify(empty.bundle(), key()).verdict, Verdict::good);
}

TEST(Bundle, GivesBackManifestAndChunks) {
  const Bytes file = sample().bundle();
  std::vector<Bytes> plain;
  auto epoch_key = [&](const ChunkHeader& h) {
    return *recover_chunk_key(*find_epoch(sample().manifest, h.key_epoch), h.sequence, sample().auditor);
  };
  auto manifest = read_bundle(file.size(), reader_of(file), [&](const ChunkHeader& header, ByteView stored) {
    plain.push_back(open_chunk(stored, epoch_key(header)).value());
  });
  ASSERT_TRUE(manifest);
  EXPECT_EQ(to_json_text(*manifest), sample().manifest_text);
  EXPECT_EQ(plain, sample().plain);
}

TEST(Bundle, ReadsThroughAReaderThatGivesLittleAtATime) {
  const Bytes file = sample().bundle();
  auto all = reader_of(file);
  auto drip = [&](std::uint64_t offset, std::span<std::uint8_t> out) {
    return all(offset, out.first(std::min<std::size_t>(out.size(), 7)));
  };
  EXPECT_EQ(verify_bundle(file.size(), drip, key()).verdict, Verdict::good);
}

TEST(BundleWriter, RefusesWhatIsNotTheRecording) {
  auto nothing = [](ByteView) {};
  EXPECT_THROW(BundleWriter(nothing, std::string_view("{}"), 1), Error);
  BundleWriter writer(nothing, sample().manifest, 2);
  EXPECT_THROW(writer.chunk(sample().chunks[1]), Error);
  EXPECT_THROW(writer.chunk(SampleRecording({.seed = 2}).chunks[0]), Error);
  EXPECT_THROW(writer.chunk(Bytes(200)), Error);
  writer.chunk(sample().chunks[0]);
  EXPECT_THROW(writer.finish("", ""), Error);
  writer.chunk(sample().chunks[1]);
  EXPECT_THROW(writer.chunk(sample().chunks[2]), Error);
}

TEST(VerifyBundle, NamesAnAlteredChunkAndItsBytes) {
  Parts parts;
  parts.chunks[3][150] ^= 4;
  auto report = verify(parts.file(), key());
  EXPECT_EQ(report.verdict, Verdict::altered);
  ASSERT_EQ(codes(report), Codes{"chunk_altered"});
  EXPECT_EQ(report.findings[0].sequence, 3u);
  EXPECT_EQ(report.findings[0].first_byte, parts.offset_of(3));
  EXPECT_EQ(report.findings[0].last_byte, parts.offset_of(4) - 1);
}

TEST(VerifyBundle, NamesAMissingChunkAndItsPlace) {
  Parts parts;
  parts.chunks.erase(parts.chunks.begin() + 2);
  auto report = verify(parts.file(), key());
  ASSERT_EQ(codes(report), Codes{"chunk_missing"});
  EXPECT_EQ(report.findings[0].sequence, 2u);
  EXPECT_EQ(report.findings[0].first_byte, parts.offset_of(2));
  parts.leaves.erase(parts.leaves.begin() + 2);  // and nobody kept its leaf
  report = verify(parts.file(), key());
  ASSERT_EQ(codes(report), Codes{"chunk_missing"});
  EXPECT_EQ(report.findings[0].sequence, 2u);
}

TEST(VerifyBundle, NamesSwappedReplayedAndForeignChunks) {
  Parts swapped;
  std::swap(swapped.chunks[1], swapped.chunks[4]);
  EXPECT_EQ(codes(verify(swapped.file(), key()))[0], "chunk_swapped");
  std::swap(swapped.leaves[1], swapped.leaves[4]);
  EXPECT_EQ(codes(verify(swapped.file(), key()))[0], "chunk_swapped");
  Parts doubled;
  doubled.chunks.insert(doubled.chunks.begin() + 3, doubled.chunks[2]);
  EXPECT_EQ(codes(verify(doubled.file(), key())), Codes{"chunk_replayed"});
  Parts replayed;
  replayed.chunks[5] = replayed.chunks[2];
  EXPECT_EQ(codes(verify(replayed.file(), key())), (Codes{"chunk_replayed", "chunk_missing"}));
  Parts foreign;
  const SampleRecording other({.seed = 77, .chunks = 7});
  foreign.chunks[4] = other.chunks[4];
  auto report = verify(foreign.file(), key());
  ASSERT_EQ(codes(report), Codes{"foreign_chunk"});
  EXPECT_EQ(report.findings[0].first_byte, foreign.offset_of(4));
  foreign.leaves[4] = other.tree.leaf(4);
  EXPECT_EQ(codes(verify(foreign.file(), key())), Codes{"foreign_chunk"});
}

TEST(VerifyBundle, AnAlteredChunkWithAFittingLeafListIsStillNoticed) {
  Parts parts;
  parts.chunks[3][150] ^= 4;
  auto header = parse_chunk_header(parts.chunks[3]).value();
  parts.leaves[3] = evidence::leaf_hash(encode_leaf(leaf_of(header, crypto::blake3(parts.chunks[3]))));
  EXPECT_EQ(codes(verify(parts.file(), key())), Codes{"checkpoint_mismatch"});
}

TEST(VerifyBundle, AnAlteredLeafListAccusesNoChunk) {
  Parts parts;
  parts.leaves[3][0] ^= 1;
  auto report = verify(parts.file(), key());
  ASSERT_EQ(codes(report), Codes{"malformed"});
  EXPECT_EQ(report.findings[0].first_byte, parts.offset_of(7));
}

TEST(VerifyBundle, NamesAnOldCheckpointPutBack) {
  Parts parts;
  parts.checkpoint = sample().checkpoint(4);
  auto report = verify(parts.file(), key());
  EXPECT_EQ(report.verdict, Verdict::altered);
  ASSERT_FALSE(report.findings.empty());
  for (const auto& code : codes(report)) EXPECT_EQ(code, "old_checkpoint");
}

TEST(VerifyBundle, CuttingTheEndOffWithAnOldCheckpointIsTruncation) {
  Parts parts;
  parts.checkpoint = sample().checkpoint(4);
  parts.chunks.resize(4);
  parts.leaves.resize(4);
  auto report = verify(parts.file(), key());
  EXPECT_EQ(codes(report), Codes{"truncated"});
  EXPECT_FALSE(report.complete);
  // With the manifest of that time as well nothing contradicts; only the end is not there.
  parts.manifest = sample().running_manifest_text;
  parts.note = sign_manifest(parts.manifest, sample().signing);
  report = verify(parts.file(), key());
  EXPECT_EQ(report.verdict, Verdict::good);
  EXPECT_FALSE(report.complete);
}

TEST(VerifyBundle, AnOlderManifestThatLacksAnEpochIsNoticed) {
  Parts parts;
  Manifest older = sample().manifest;
  older.epochs.pop_back();
  older.final_checkpoint.clear();
  parts.manifest = to_json_text(older);
  parts.note = sign_manifest(parts.manifest, sample().signing);
  EXPECT_EQ(codes(verify(parts.file(), key())), Codes{"manifest_altered"});
}

TEST(VerifyBundle, NamesEveryWayTheEndCanBeCut) {
  const Bytes file = sample().bundle();
  for (std::size_t size = 0; size < file.size(); ++size) {
    auto report = verify(ByteView(file).first(size), key());
    ASSERT_NE(report.verdict, Verdict::good) << size;
    ASSERT_EQ(codes(report).size(), 1u) << size;
    ASSERT_EQ(report.findings[0].code, size == 0 ? "malformed" : "truncated") << size;
    ASSERT_LT(report.findings[0].first_byte, std::max<std::size_t>(size, 1));
  }
  Bytes longer = file;
  longer.push_back(0);
  EXPECT_EQ(codes(verify(longer, key())), Codes{"malformed"});
  EXPECT_EQ(verify(longer, key()).findings[0].first_byte, file.size());
}

TEST(VerifyBundle, NamesSignaturesThatDoNotHold) {
  crypto::SigningKey other(key_of(8));
  EXPECT_EQ(codes(verify(sample().bundle(), other.verify_key())), (Codes{"wrong_key", "wrong_key", "wrong_key", "wrong_key"}));
  Parts resigned;
  resigned.checkpoint = evidence::sign_checkpoint({sample().origin(), 7, sample().tree.root(), {}}, other);
  EXPECT_EQ(codes(verify(resigned.file(), key())), Codes{"wrong_key"});
  Parts edited;
  edited.checkpoint.replace(edited.checkpoint.find("\n7\n"), 3, "\n6\n");
  EXPECT_EQ(codes(verify(edited.file(), key())), Codes{"bad_signature"});
  Parts unsigned_manifest;
  unsigned_manifest.note.clear();
  EXPECT_EQ(codes(verify(unsigned_manifest.file(), key())), Codes{"bad_signature"});
  Parts foreign_checkpoint;
  foreign_checkpoint.checkpoint = SampleRecording({.seed = 5, .chunks = 7}).checkpoint(7);
  EXPECT_EQ(codes(verify(foreign_checkpoint.file(), key())), Codes{"checkpoint_mismatch"});
  Parts renamed;
  renamed.manifest.replace(renamed.manifest.find("pi-five"), 7, "pi-four");
  EXPECT_FALSE(codes(verify(renamed.file(), key())).empty());
}

TEST(VerifyBundle, OneDamagedLengthCostsOneChunk) {
  Bytes file = sample().bundle();
  std::uint64_t at = Parts().offset_of(2);
  file[at] ^= 1;
  auto report = verify(file, key());
  EXPECT_EQ(codes(report), Codes{"malformed"});
  EXPECT_EQ(report.findings[0].first_byte, at);
  EXPECT_EQ(report.chunks, 7u);
}

TEST(VerifyBundle, NotABundleIsUnreadable) {
  EXPECT_EQ(verify(Bytes(1000), key()).verdict, Verdict::unreadable);
  EXPECT_EQ(verify(as_bytes("LBDL"), key()).verdict, Verdict::unreadable);
  Bytes later = sample().bundle();
  later[4] = 2;
  EXPECT_EQ(verify(later, key()).verdict, Verdict::unreadable);
}

TEST(Bundle, GoldenBytes) {
  const SampleRecording recording({.seed = 51, .chunks = 3, .epochs_at = {0, 2}, .plain_size = 24, .compressible = false});
  const Bytes file = recording.bundle();
  expect_golden("bundle/v1/recording.lucid", file);
  expect_golden("bundle/v1/checkpoint.pub", as_bytes(recording.signing.verify_key().text() + "\n"));
  EXPECT_EQ(verify(golden("bundle/v1/recording.lucid"), recording.signing.verify_key()).verdict, Verdict::good);
}
