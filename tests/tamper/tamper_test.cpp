// The tampering suite: thousands of random changes to recordings, by accident and by somebody who repairs every length,
// count, leaf and hash but has no signing key. Every one must be detected and named; no untouched recording accused.
// Prints its figures. LUCID_TAMPER_SEED chooses other changes.
#include <algorithm>
#include <cstdio>
#include <deque>
#include <map>

#include "lib/recording/bundle_layout.hpp"
#include "lib/recording/container_fixture.hpp"

using namespace lucid;
using namespace lucid::recording;
using namespace lucid::recording::fixture;

namespace {

constexpr std::size_t kTamperings = 12'000;
constexpr std::size_t kUntouched = 1'000;

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  std::size_t below(std::size_t n) {
    auto b = random_.array<8>();
    std::uint64_t v = 0;
    for (std::uint8_t byte : b) v = v << 8 | byte;
    return static_cast<std::size_t>(v % n);
  }
  bool coin() { return below(2) == 0; }

 private:
  SeededRandom random_;
};

Hash32 leaf_hash_of(const Bytes& chunk) {
  auto header = parse_chunk_header(chunk);
  return header ? evidence::leaf_hash(encode_leaf(leaf_of(*header, crypto::blake3(chunk)))) : Hash32{};
}

// A bundle in its parts; file() puts it together with every length, count and hash as it ought to be.
struct Parts {
  std::string manifest, checkpoint, note;
  std::vector<Bytes> chunks;
  std::vector<Hash32> leaves;

  explicit Parts(const SampleRecording& r)
      : manifest(r.manifest_text), checkpoint(r.checkpoint(r.chunks.size())), note(r.manifest_note()), chunks(r.chunks) {
    for (const Bytes& chunk : chunks) leaves.push_back(leaf_hash_of(chunk));
  }
  void fit_leaves() {
    leaves.clear();
    for (const Bytes& chunk : chunks) leaves.push_back(leaf_hash_of(chunk));
  }
  Bytes file() const {
    Bytes out, outside;
    auto raw = [&](ByteView bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); };
    auto put = [&](ByteView bytes) { raw(bytes), outside.insert(outside.end(), bytes.begin(), bytes.end()); };
    auto length = [&](std::size_t n) {
      Bytes b;
      ByteWriter(b).u32(static_cast<std::uint32_t>(n));
      put(b);
    };
    Bytes header, trailer;
    append(header, BundleHeader{static_cast<std::uint32_t>(manifest.size()), chunks.size()});
    put(header), put(as_bytes(manifest));
    for (const Bytes& chunk : chunks) length(chunk.size()), raw(chunk);
    for (const Hash32& leaf : leaves) put(leaf);
    length(checkpoint.size()), put(as_bytes(checkpoint));
    length(note.size()), put(as_bytes(note));
    append(trailer, BundleTrailer{static_cast<std::uint32_t>(checkpoint.size()),
                                  static_cast<std::uint32_t>(note.size()),
                                  leaves.size(),
                                  out.size() + kBundleTrailerSize,
                                  {}});
    put(ByteView(trailer).first(kBundleDigestOffset));
    raw(crypto::blake3(outside));
    return out;
  }
};

// Gives a file whose bytes outside the chunks were changed the hash that fits them, as a knowing attacker would.
void fit_digest(Bytes& file, const SampleRecording& r) {
  crypto::Blake3Hasher hasher;
  std::size_t at = kBundleHeaderSize + r.manifest_text.size();
  hasher.update(ByteView(file).first(at));
  for (const Bytes& chunk : r.chunks) {
    hasher.update(ByteView(file).subspan(at, 4));
    at += 4 + chunk.size();
  }
  hasher.update(ByteView(file).subspan(at, file.size() - 32 - at));
  Hash32 digest = hasher.finish();
  std::copy(digest.begin(), digest.end(), file.end() - 32);
}

struct Tampering {
  std::string kind;
  Bytes file;
};

class Tamperer {
 public:
  explicit Tamperer(std::uint64_t seed) : dice_(seed) {
    std::uint64_t n = 1000 * seed;
    for (RecordingShape shape :
         {RecordingShape{.seed = n + 1, .chunks = 1, .plain_size = 50}, RecordingShape{.seed = n + 2, .chunks = 2, .plain_size = 200},
          RecordingShape{.seed = n + 3, .chunks = 9, .epochs_at = {0, 4, 5}, .plain_size = 120},
          RecordingShape{.seed = n + 4, .chunks = 33, .epochs_at = {0, 16}, .plain_size = 300},
          RecordingShape{.seed = n + 5, .chunks = 12, .ended = false, .plain_size = 90, .compressible = false}})
      recordings_.emplace_back(shape);
    for (const auto& r : recordings_) bundles_.push_back(r.bundle());
  }

  const crypto::VerifyKey& key() const { return recordings_[0].signing.verify_key(); }
  const std::vector<Bytes>& bundles() const { return bundles_; }

  Tampering next() {
    for (;;) {
      std::size_t which = dice_.below(recordings_.size());
      Tampering t = tamper(recordings_[which], bundles_[which]);
      if (t.file != bundles_[which]) return t;  // a swap of a chunk with itself is no tampering
    }
  }

 private:
  Tampering tamper(const SampleRecording& r, const Bytes& good) {
    switch (dice_.below(17)) {
      case 0:
      case 1: return flip_bits(good, 1);
      case 2: return flip_bits(good, 1 + dice_.below(8));
      case 3: return flip_bit_and_fit_hash(r, good);
      case 4: return overwrite(good);
      case 5: return {"truncated", Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(dice_.below(good.size())))};
      case 6: return insert_or_erase(good);
      case 7: return edit_chunks("dropped", r, [&](auto& c) { c.erase(c.begin() + pick(c)); });
      case 8: return edit_chunks("swapped", r, [&](auto& c) { std::swap(c[dice_.below(c.size())], c[dice_.below(c.size())]); });
      case 9:
        return edit_chunks("duplicated", r, [&](auto& c) {
          Bytes copy = c[dice_.below(c.size())];
          c.insert(c.begin() + pick(c), copy);
        });
      case 10:
        return edit_chunks("replayed", r, [&](auto& c) {
          Bytes copy = c[dice_.below(c.size())];
          c[dice_.below(c.size())] = copy;
        });
      case 11: return edit_chunks("moved between sessions", r, [&](auto& c) { c[dice_.below(c.size())] = stranger(r); });
      case 12:
        return edit_chunks("altered, everything refitted", r, [&](auto& c) {
          Bytes& one = c[dice_.below(c.size())];
          one[dice_.below(one.size())] ^= bit();
        });
      case 13: return old_checkpoint(r);
      case 14: return resigned(r);
      case 15: return edit_manifest(r);
      default: return mixed_notes(r);
    }
  }

  std::uint8_t bit() { return static_cast<std::uint8_t>(1 << dice_.below(8)); }
  std::ptrdiff_t pick(const std::vector<Bytes>& chunks) { return static_cast<std::ptrdiff_t>(dice_.below(chunks.size())); }
  const SampleRecording& other_than(const SampleRecording& r) {
    for (;;)
      if (const auto& other = recordings_[dice_.below(recordings_.size())]; &other != &r) return other;
  }
  Bytes stranger(const SampleRecording& r) {
    const auto& chunks = other_than(r).chunks;
    return chunks[dice_.below(chunks.size())];
  }

  Tampering flip_bits(Bytes file, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) file[dice_.below(file.size())] ^= bit();
    return {count == 1 ? "one bit" : "several bits", std::move(file)};
  }
  // Outside the chunks, where only the trailer's hash would notice an accident.
  Tampering flip_bit_and_fit_hash(const SampleRecording& r, Bytes file) {
    std::size_t chunks = 0;
    for (const Bytes& chunk : r.chunks) chunks += 4 + chunk.size();
    std::size_t before = kBundleHeaderSize + r.manifest_text.size(), at = dice_.below(file.size() - 32 - chunks);
    file[at < before ? at : at + chunks] ^= bit();
    fit_digest(file, r);
    return {"one bit outside chunks, hash refitted", std::move(file)};
  }
  Tampering overwrite(Bytes file) {
    std::size_t at = dice_.below(file.size()), n = std::min(1 + dice_.below(300), file.size() - at);
    for (std::size_t i = 0; i < n; ++i) file[at + i] = static_cast<std::uint8_t>(dice_.below(256));
    return {"overwritten", std::move(file)};
  }
  Tampering insert_or_erase(Bytes file) {
    auto at = static_cast<std::ptrdiff_t>(dice_.below(file.size()));
    std::size_t n = 1 + dice_.below(64);
    if (dice_.coin())
      file.insert(file.begin() + at, n, static_cast<std::uint8_t>(dice_.below(256)));
    else
      file.erase(file.begin() + at, file.begin() + std::min(at + static_cast<std::ptrdiff_t>(n), static_cast<std::ptrdiff_t>(file.size())));
    return {"bytes inserted or erased", std::move(file)};
  }
  template <class Edit>
  Tampering edit_chunks(const std::string& kind, const SampleRecording& r, Edit edit) {
    Parts parts(r);
    edit(parts.chunks);
    if (dice_.coin()) parts.fit_leaves();
    return {kind, parts.file()};
  }
  Tampering old_checkpoint(const SampleRecording& r) {
    Parts parts(r);
    std::size_t size = dice_.below(r.chunks.size());
    parts.checkpoint = r.checkpoint(size);
    // Cutting the chunks to fit is only certain to be noticed where the manifest knows the end.
    if (!r.manifest.final_checkpoint.empty() && dice_.coin()) {
      parts.chunks.resize(size);
      if (dice_.coin()) parts.leaves.resize(size);
      return {"cut to an old checkpoint", parts.file()};
    }
    return {"old checkpoint put back", parts.file()};
  }
  Tampering resigned(const SampleRecording& r) {
    crypto::SigningKey thief(key_of(0x66));
    Parts parts(r);
    Bytes& one = parts.chunks[dice_.below(parts.chunks.size())];
    if (dice_.coin()) one[kChunkHeaderSize + dice_.below(one.size() - kChunkHeaderSize)] ^= bit();
    parts.fit_leaves();
    evidence::Tree tree;
    for (const Hash32& leaf : parts.leaves) tree.append(leaf);
    parts.checkpoint = evidence::sign_checkpoint({r.origin(), tree.size(), tree.root(), {}}, thief);
    if (dice_.coin()) {
      Manifest manifest = r.manifest;
      manifest.final_checkpoint = parts.checkpoint;
      if (dice_.coin()) manifest.checkpoint_key = thief.verify_key().text();
      parts.manifest = to_json_text(manifest);
      parts.note = sign_manifest(parts.manifest, thief);
    }
    return {"signed by another key", parts.file()};
  }
  Tampering edit_manifest(const SampleRecording& r) {
    const SampleRecording& other = other_than(r);
    Manifest manifest = r.manifest;
    switch (dice_.below(7)) {
      case 0: manifest.name += "!"; break;
      case 1: manifest.options["keystrokes"] = "metadata"; break;
      case 2: manifest.started_wall_ms += 1 + static_cast<std::int64_t>(dice_.below(100'000)); break;
      case 3: manifest.epochs = other.manifest.epochs; break;
      case 4: manifest.epochs[dice_.below(manifest.epochs.size())].keys = other.manifest.epochs[0].keys; break;
      case 5: manifest.epochs.pop_back(); break;
      default: manifest.session = other.manifest.session; break;
    }
    Parts parts(r);
    parts.manifest = to_json_text(manifest);
    return {"manifest edited, epochs spliced", parts.file()};
  }
  Tampering mixed_notes(const SampleRecording& r) {
    const SampleRecording& other = other_than(r);
    Parts parts(r);
    switch (dice_.below(5)) {
      case 0: parts.checkpoint = other.checkpoint(other.chunks.size()); break;
      case 1: parts.note = other.manifest_note(); break;
      case 2: std::swap(parts.checkpoint, parts.note); break;
      case 3: parts.manifest = other.manifest_text, parts.note = other.manifest_note(); break;
      default: parts.chunks = other.chunks, parts.fit_leaves(); break;
    }
    return {"notes and parts of another session", parts.file()};
  }

  Dice dice_;
  std::deque<SampleRecording> recordings_;
  std::vector<Bytes> bundles_;
};

std::uint64_t seed() {
  const char* text = std::getenv("LUCID_TAMPER_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 1;
}

}  // namespace

TEST(Tamper, EveryTamperingIsDetectedAndNamed) {
  Tamperer tamperer(seed());
  struct Count {
    std::size_t tried = 0, detected = 0;
    std::map<std::string, std::size_t> codes;
  };
  std::map<std::string, Count> counts;
  std::size_t detected = 0;
  for (std::size_t i = 0; i < kTamperings; ++i) {
    Tampering t = tamperer.next();
    auto report = verify(t.file, tamperer.key());
    Count& count = counts[t.kind];
    ++count.tried;
    bool named = !report.findings.empty() && std::all_of(report.findings.begin(), report.findings.end(),
                                                         [](const Finding& f) { return !f.code.empty() && !f.detail.empty(); });
    bool found = report.verdict != Verdict::good && named;
    ASSERT_TRUE(found) << "tampering " << i << " (" << t.kind << ") was not detected";
    ASSERT_LE(report.findings[0].first_byte, report.findings[0].last_byte);
    ++count.detected, ++detected;
    ++count.codes[report.findings[0].code];
  }
  for (const auto& [kind, count] : counts) {
    std::printf("%-40s %5zu of %5zu:", kind.c_str(), count.detected, count.tried);
    for (const auto& [code, n] : count.codes) std::printf(" %s %zu", code.c_str(), n);
    std::printf("\n");
  }
  std::printf("tamperings: %zu, detected: %zu (%.2f %%)\n", kTamperings, detected, 100.0 * static_cast<double>(detected) / kTamperings);
  EXPECT_EQ(detected, kTamperings);
}

TEST(Tamper, TheFirstAlteredByteLiesInTheFirstRangeNamed) {
  Tamperer tamperer(seed() + 1);
  Dice dice(seed() + 2);
  std::size_t tried = 0;
  for (const Bytes& good : tamperer.bundles())
    for (int i = 0; i < 300; ++i) {
      Bytes file = good;
      std::size_t at = dice.below(file.size());
      file[at] ^= static_cast<std::uint8_t>(1 << dice.below(8));
      auto report = verify(file, tamperer.key());
      ASSERT_FALSE(report.findings.empty());
      const Finding& first = report.findings[0];
      // A damaged length of a part shows where that part ends; the trailer's hash covers many bytes.
      bool located = at >= first.first_byte && at <= first.last_byte;
      bool header_or_trailer = at < kBundleHeaderSize || at >= file.size() - kBundleTrailerSize;
      EXPECT_TRUE(located || header_or_trailer)
          << "byte " << at << " of " << file.size() << ", named " << first.code << " " << first.first_byte << "-" << first.last_byte;
      ++tried;
    }
  std::printf("single altered bits located: %zu\n", tried);
}

TEST(Tamper, NoUntouchedRecordingIsAccused) {
  Dice dice(seed() + 3);
  std::size_t accused = 0;
  for (std::size_t i = 0; i < kUntouched; ++i) {
    RecordingShape shape{.seed = 5'000'000 + seed() * kUntouched + i,
                         .chunks = dice.below(20),
                         .ended = dice.coin(),
                         .plain_size = dice.below(400),
                         .compressible = dice.coin()};
    if (shape.chunks == 0) shape.ended = false;
    if (shape.chunks > 3) shape.epochs_at.push_back(1 + dice.below(shape.chunks - 2));
    const SampleRecording recording(shape);
    auto report = verify(recording.bundle(), recording.signing.verify_key());
    bool good = report.verdict == Verdict::good && report.findings.empty() && report.complete == shape.ended;
    RecordingVerifier stored(recording.manifest.session);
    for (std::size_t k = 0; k < recording.chunks.size(); ++k) stored.chunk(k, recording.chunks[k], crypto::blake3(recording.chunks[k]));
    good =
        good && stored.finish(recording.checkpoint(recording.chunks.size()), recording.signing.verify_key(), recording.origin()).verdict ==
                    Verdict::good;
    if (!good) ++accused;
  }
  std::printf("untouched recordings: %zu, accused: %zu\n", kUntouched, accused);
  EXPECT_EQ(accused, 0u);
}
