// Recordings for tests: small, reproducible, with every key at hand. Test code only; header only, one thread.
#pragma once

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lib/base/file_ops.hpp"
#include "lib/evidence/checkpoint.hpp"
#include "lib/recording/bundle.hpp"

namespace lucid::recording::fixture {

// Data that zstd gains a lot on, as record streams are.
inline Bytes text_like(std::size_t size, std::uint64_t seed) {
  SeededRandom random(seed);
  Bytes out;
  while (out.size() < size) {
    auto word = random.array<8>();
    for (int i = 0; i < 6; ++i) out.insert(out.end(), word.begin(), word.begin() + 4 + word[7] % 4);
  }
  out.resize(size);
  return out;
}

inline Bytes random_bytes(std::size_t size, std::uint64_t seed) {
  Bytes out(size);
  SeededRandom(seed).fill(out);
  return out;
}

inline crypto::Secret32 key_of(std::uint8_t byte) {
  std::array<std::uint8_t, 32> bytes;
  bytes.fill(byte);
  return crypto::Secret32(bytes);
}

struct RecordingShape {
  std::uint64_t seed = 1;
  std::size_t chunks = 5;
  std::vector<std::uint64_t> epochs_at{0};  // first sequences
  bool ended = true;                        // the last chunk has the end flag, the manifest a final checkpoint
  std::size_t plain_size = 300;
  bool compressible = true;
};

// A recording as the processor leaves it in storage.
class SampleRecording {
 public:
  explicit SampleRecording(const RecordingShape& shape, std::uint8_t signer = 7)
      : signing(key_of(signer)), auditor(key_of(9)), random_(shape.seed) {
    manifest.session = Id(random_.array<16>());
    manifest.node = "pi-five";
    manifest.started_wall_ms = 1'700'000'000'000;
    manifest.name = "Büro \"3\"";
    manifest.options = {{"frame_rate", 15}, {"keystrokes", "full"}};
    manifest.checkpoint_key = signing.verify_key().text();
    ChunkSealer sealer;
    std::optional<Ratchet> ratchet;
    for (std::uint64_t i = 0; i < shape.chunks; ++i) {
      if (manifest.epochs.size() < shape.epochs_at.size() && shape.epochs_at[manifest.epochs.size()] == i) {
        auto fresh = start_epoch(static_cast<std::uint32_t>(manifest.epochs.size()), i, {auditor.public_key()}, random_);
        manifest.epochs.push_back(std::move(fresh.epoch));
        ratchet.emplace(std::move(fresh.ratchet));
      }
      plain.push_back(shape.compressible ? text_like(shape.plain_size, shape.seed * 1000 + i)
                                         : random_bytes(shape.plain_size, shape.seed * 1000 + i));
      SegmentInfo info{
          manifest.session,
          i,
          manifest.epochs.back().epoch,
          static_cast<std::int64_t>(i) * 1000,
          static_cast<std::int64_t>(i) * 1000 + 999,
          static_cast<std::uint16_t>(kHasEvents | (i == 0 ? kHasFullKeyframe : 0) | (shape.ended && i + 1 == shape.chunks ? kEnd : 0))};
      auto key = ratchet->chunk_key(i - manifest.epochs.back().first_sequence);
      SealedChunk sealed = sealer.seal(info, plain.back(), key, random_);
      tree.append(evidence::leaf_hash(encode_leaf(leaf_of(sealed.header, sealed.blake3))));
      chunks.push_back(std::move(sealed.stored));
    }
    running_manifest_text = to_json_text(manifest);
    if (shape.ended) manifest.final_checkpoint = checkpoint(shape.chunks);
    manifest_text = to_json_text(manifest);
  }

  std::string origin() const { return origin_of(manifest); }
  std::string checkpoint(std::uint64_t size) const { return evidence::sign_checkpoint({origin(), size, tree.root_at(size), {}}, signing); }
  std::string manifest_note() const { return sign_manifest(manifest_text, signing); }

  Bytes bundle() const { return bundle_of(manifest_text, chunks, checkpoint(chunks.size()), manifest_note()); }
  static Bytes bundle_of(std::string_view manifest_text, const std::vector<Bytes>& chunks, std::string_view checkpoint,
                         std::string_view note) {
    Bytes out;
    BundleWriter writer([&](ByteView bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }, manifest_text, chunks.size());
    for (const Bytes& chunk : chunks) writer.chunk(chunk);
    writer.finish(checkpoint, note);
    return out;
  }

  crypto::SigningKey signing;
  crypto::BoxKey auditor;
  Manifest manifest;
  std::string running_manifest_text;  // as it was before the end
  std::string manifest_text;
  std::vector<Bytes> plain, chunks;
  evidence::Tree tree;

 private:
  SeededRandom random_;
};

inline auto reader_of(ByteView file) {
  return [file](std::uint64_t offset, std::span<std::uint8_t> out) -> std::size_t {
    if (offset >= file.size()) return 0;
    std::size_t n = std::min<std::size_t>(out.size(), file.size() - offset);
    std::copy_n(file.begin() + static_cast<std::ptrdiff_t>(offset), n, out.begin());
    return n;
  };
}

inline VerifyReport verify(ByteView file, const crypto::VerifyKey& key) { return verify_bundle(file.size(), reader_of(file), key); }

// Compares with a golden file; writes it when LUCID_WRITE_GOLDEN=1.
inline void expect_golden(const std::string& path, ByteView bytes) {
  const std::string full = "tests/golden/" + path;
  if (const char* write = std::getenv("LUCID_WRITE_GOLDEN"); write != nullptr && std::string_view(write) == "1") {
    std::ofstream out(full, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(out.flush()) << full;
  }
  std::ifstream in(full, std::ios::binary);
  ASSERT_TRUE(in) << full << " is missing";
  Bytes golden((std::istreambuf_iterator<char>(in)), {});
  EXPECT_EQ(to_hex(golden), to_hex(bytes)) << full;
}

inline Bytes golden(const std::string& path) {
  std::ifstream in("tests/golden/" + path, std::ios::binary);
  EXPECT_TRUE(in) << path << " is missing";
  return Bytes((std::istreambuf_iterator<char>(in)), {});
}

}  // namespace lucid::recording::fixture
