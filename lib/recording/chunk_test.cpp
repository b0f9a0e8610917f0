#include "lib/recording/chunk.hpp"

#include <cstdio>

#include <sodium.h>

#include "lib/crypto/hash.hpp"
#include "lib/evidence/tree.hpp"
#include "lib/recording/container_fixture.hpp"

using namespace lucid;
using namespace lucid::recording;
using namespace lucid::recording::fixture;

namespace {

const SegmentInfo kInfo{
    Id({0x01, 0x93, 0, 0, 0, 0, 0x70, 0, 0x80, 1, 2, 3, 4, 5, 6, 7}), 3, 1, 12'000, 16'999, kHasFullKeyframe | kHasEvents};

SealedChunk seal(ByteView records, std::uint64_t seed = 5) {
  SeededRandom random(seed);
  return ChunkSealer().seal(kInfo, records, key_of(0x42), random);
}

// A header's field as little-endian bytes at `offset`.
Bytes with_u32(Bytes stored, std::size_t offset, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) stored[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
  return stored;
}

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return out;
  char buffer[65536];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
  return ::pclose(pipe) == 0 ? out : std::string();
}

}  // namespace

TEST(Chunk, OpensToTheRecordsThatWereSealed) {
  for (std::size_t size : {0u, 1u, 100u, 65'536u, 1'000'000u})
    for (const Bytes& plain : {text_like(size, size), random_bytes(size, size), Bytes(size, 0x20)}) {
      SealedChunk chunk = seal(plain);
      auto opened = open_chunk(chunk.stored, key_of(0x42));
      ASSERT_TRUE(opened) << opened.error().what();
      EXPECT_TRUE(*opened == plain) << size;
      EXPECT_EQ(chunk.stored.size(), stored_size(chunk.header));
      EXPECT_EQ(chunk.blake3, crypto::blake3(chunk.stored));
      auto header = parse_chunk_header(chunk.stored).value();
      EXPECT_EQ(header.session, kInfo.session);
      EXPECT_EQ(header.sequence, kInfo.sequence);
      EXPECT_EQ(header.key_epoch, kInfo.key_epoch);
      EXPECT_EQ(header.plain_size, size);
      EXPECT_EQ(header.first_ms, kInfo.first_ms);
      EXPECT_EQ(header.last_ms, kInfo.last_ms);
      EXPECT_EQ(header.flags, kInfo.flags);
    }
}

TEST(Chunk, OneSealerSealsManySegmentsAlike) {
  ChunkSealer sealer;
  for (std::uint64_t i = 0; i < 20; ++i) {
    Bytes plain = text_like(1 + i * 777, i);
    SeededRandom random(i), again(i);
    EXPECT_EQ(sealer.seal(kInfo, plain, key_of(1), random).stored, ChunkSealer().seal(kInfo, plain, key_of(1), again).stored);
  }
}

TEST(Chunk, LeavesOutCompressionThatGainsLessThanTwoPercent) {
  EXPECT_EQ(seal(random_bytes(10'000, 1)).header.codec, ChunkCodec::none);
  EXPECT_EQ(seal(text_like(10'000, 1)).header.codec, ChunkCodec::zstd);
  Bytes slightly = random_bytes(10'000, 1);  // 1 % of it compresses: not worth it
  std::fill_n(slightly.begin(), 100, std::uint8_t{0});
  EXPECT_EQ(seal(slightly).header.codec, ChunkCodec::none);
  std::fill_n(slightly.begin(), 400, std::uint8_t{0});
  EXPECT_EQ(seal(slightly).header.codec, ChunkCodec::zstd);
}

TEST(Chunk, ExtremeCompressionStaysWithinTheExpansionLimit) {
  for (std::size_t size : {65'537u, 1'000'001u, 16'000'000u}) {
    SealedChunk chunk = seal(Bytes(size));
    std::size_t compressed = chunk.header.sealed_size - 16;
    EXPECT_LE(size, compressed * kMaxExpansion);
    EXPECT_LE(compressed, (size + kMaxExpansion - 1) / kMaxExpansion + 64);
    EXPECT_TRUE(open_chunk(chunk.stored, key_of(0x42)).value() == Bytes(size));
  }
}

TEST(Chunk, RefusesToSealMoreThanAChunkMayHold) {
  SeededRandom random(1);
  EXPECT_THROW(ChunkSealer().seal(kInfo, Bytes(kMaxChunkBytes + 1), key_of(1), random), Error);
  EXPECT_THROW(ChunkSealer().seal(kInfo, random_bytes(kMaxChunkBytes, 1), key_of(1), random), Error);  // header and tag do not fit
}

TEST(Chunk, EveryAlteredByteIsRefused) {
  for (const Bytes& plain : {text_like(200, 1), random_bytes(40, 2)}) {
    const Bytes stored = seal(plain).stored;
    for (std::size_t i = 0; i < stored.size(); ++i)
      for (int bit = 0; bit < 8; ++bit) {
        Bytes altered = stored;
        altered[i] ^= static_cast<std::uint8_t>(1 << bit);
        EXPECT_FALSE(open_chunk(altered, key_of(0x42))) << "byte " << i << " bit " << bit;
      }
  }
}

TEST(Chunk, SaysWhetherItIsMalformedOrAltered) {
  Bytes stored = seal(text_like(200, 1)).stored;
  stored.back() ^= 1;
  EXPECT_EQ(open_chunk(stored, key_of(0x42)).error().code(), "chunk_altered");
  EXPECT_EQ(open_chunk(stored, key_of(0x42)).error().kind(), ErrorKind::corrupt);
  stored.back() ^= 1;
  EXPECT_EQ(open_chunk(stored, key_of(0x43)).error().code(), "chunk_altered");
  stored.push_back(0);
  EXPECT_EQ(open_chunk(stored, key_of(0x42)).error().kind(), ErrorKind::malformed);
}

TEST(Chunk, EveryTruncationIsMalformed) {
  const Bytes stored = seal(text_like(200, 1)).stored;
  for (std::size_t size = 0; size < stored.size(); ++size)
    EXPECT_EQ(open_chunk(ByteView(stored).first(size), key_of(0x42)).error().kind(), ErrorKind::malformed) << size;
}

TEST(ChunkHeader, RefusesSizesThatNoChunkHas) {
  const Bytes zstd = seal(text_like(100'000, 1)).stored, none = seal(random_bytes(100, 1)).stored;
  ASSERT_TRUE(parse_chunk_header(zstd));
  EXPECT_FALSE(parse_chunk_header(with_u32(zstd, 36, kMaxChunkBytes + 1)));  // plain
  EXPECT_FALSE(parse_chunk_header(with_u32(zstd, 40, 0)));                   // sealed: less than a tag
  EXPECT_FALSE(parse_chunk_header(with_u32(zstd, 40, 16)));                  // nothing compressed
  EXPECT_FALSE(parse_chunk_header(with_u32(zstd, 40, kMaxChunkBytes)));
  EXPECT_FALSE(parse_chunk_header(with_u32(zstd, 40, 0xffffffff)));
  EXPECT_FALSE(parse_chunk_header(with_u32(zstd, 40, 16 + 100'000 / 64)));  // more than 64-fold
  EXPECT_TRUE(parse_chunk_header(with_u32(zstd, 40, 16 + 100'000 / 64 + 1)));
  EXPECT_FALSE(parse_chunk_header(with_u32(none, 36, 101)));  // uncompressed sizes disagree
  Bytes early = none;
  early[55] = 0x80;  // first_ms below zero
  EXPECT_FALSE(parse_chunk_header(early));
}

TEST(Expand, RefusesFramesThatDisagreeWithTheHeader) {
  const Bytes plain = text_like(5000, 1);
  const SealedChunk chunk = seal(plain);
  const Bytes frame = decrypt_chunk(chunk.stored, key_of(0x42)).value();
  EXPECT_TRUE(expand(frame, ChunkCodec::zstd, 5000).value() == plain);
  EXPECT_FALSE(expand(frame, ChunkCodec::zstd, 4999));
  EXPECT_FALSE(expand(frame, ChunkCodec::zstd, 5001));
  EXPECT_FALSE(expand(frame, ChunkCodec::zstd, std::size_t{1} << 40));
  EXPECT_FALSE(expand(frame, ChunkCodec::none, 5000));
  EXPECT_FALSE(expand(ByteView(frame).first(frame.size() - 1), ChunkCodec::zstd, 5000));
  EXPECT_FALSE(expand(Bytes{}, ChunkCodec::zstd, 1));
  Bytes twice = frame;
  twice.insert(twice.end(), frame.begin(), frame.end());
  EXPECT_FALSE(expand(twice, ChunkCodec::zstd, 5000));
}

TEST(Chunk, OpensWithLibsodiumZstdAndB3sum) {
  if (std::system("command -v zstd >/dev/null && command -v b3sum >/dev/null") != 0) {
    std::puts("not run: the programs zstd and b3sum are absent");
    const char* ci = std::getenv("CI");
    if (ci != nullptr && std::string_view(ci) == "true") FAIL() << "zstd and b3sum must be there in CI";
    GTEST_SKIP();
  }
  TempDir dir;
  for (const Bytes& plain : {text_like(300'000, 1), Bytes(300'000, 7), random_bytes(1000, 3)}) {
    SealedChunk chunk = seal(plain, plain.size());
    ByteView stored = chunk.stored;
    Bytes compressed(chunk.header.sealed_size);
    unsigned long long size = 0;
    ASSERT_EQ(crypto_aead_xchacha20poly1305_ietf_decrypt(compressed.data(), &size, nullptr, stored.data() + 104, stored.size() - 104,
                                                         stored.data(), 80, stored.data() + 80, key_of(0x42).bytes().data()),
              0);
    compressed.resize(size);
    const std::string file = dir.path() + "/chunk", frame = dir.path() + "/frame.zst";
    system_files().replace_file(file, stored);
    system_files().replace_file(frame, compressed);
    if (chunk.header.codec == ChunkCodec::zstd)
      EXPECT_TRUE(output_of("zstd -d -c -q " + frame) == as_text(plain));
    else
      EXPECT_TRUE(compressed == plain);
    EXPECT_EQ(output_of("b3sum --no-names " + file), to_hex(chunk.blake3) + "\n");
  }
}

TEST(Chunk, GoldenBytes) {
  const Bytes text = text_like(600, 11), noise = random_bytes(32, 12);
  expect_golden("chunk/v1/uncompressed.chunk", seal(noise).stored);
  if (std::getenv("LUCID_WRITE_GOLDEN") != nullptr) {
    expect_golden("chunk/v1/compressed.chunk", seal(text).stored);
    expect_golden("chunk/v1/padded.chunk", seal(Bytes(70'000)).stored);
  }
  // Another zstd may compress otherwise, but must read what this one wrote.
  EXPECT_TRUE(open_chunk(golden("chunk/v1/compressed.chunk"), key_of(0x42)).value() == text);
  EXPECT_TRUE(open_chunk(golden("chunk/v1/padded.chunk"), key_of(0x42)).value() == Bytes(70'000));
}

TEST(Leaf, GoldenBytes) {
  SealedChunk chunk = seal(random_bytes(32, 12));
  Bytes leaf = encode_leaf(leaf_of(chunk.header, chunk.blake3));
  EXPECT_EQ(leaf.size(), 84u);
  expect_golden("leaf/v1/leaf.bin", leaf);
  expect_golden("leaf/v1/leaf_hash.bin", evidence::leaf_hash(leaf));
}

TEST(Leaf, DependsOnEveryField) {
  const Leaf base{kInfo.session, 1, crypto::blake3(as_bytes("x")), 2, 3, 4, 5};
  std::vector<Leaf> others(7, base);
  others[0].session = Id();
  others[1].sequence = 9;
  others[2].blake3[31] ^= 1;
  others[3].stored_size = 9;
  others[4].first_ms = 0;
  others[5].last_ms = 9;
  others[6].flags = 0;
  for (const Leaf& other : others) EXPECT_NE(encode_leaf(other), encode_leaf(base));
}
