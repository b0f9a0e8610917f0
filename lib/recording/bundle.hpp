// A bundle (.lucid): one file that holds a whole recording with its evidence: manifest, chunks, leaves, signed notes. It
// is verified without network and, for everything but playing, without a private key. docs/formats/bundle.md.
// Writing streams; verifying reads each chunk once. Owned by one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/crypto/hash.hpp"
#include "lib/crypto/signature.hpp"
#include "lib/evidence/tree.hpp"
#include "lib/recording/chunk.hpp"
#include "lib/recording/manifest.hpp"

namespace lucid::recording {

// Receives the bundle's bytes in order (a file, an HTTP body). May throw to stop.
using ByteSink = std::function<void(ByteView)>;

// Throws Error{malformed} when the manifest or a chunk is none, Error{invalid} when a chunk is of another session or out
// of order, or when their number is not chunk_count.
class BundleWriter {
 public:
  // `manifest_text`: the bytes that the manifest note signs.
  BundleWriter(ByteSink sink, std::string_view manifest_text, std::uint64_t chunk_count);
  BundleWriter(ByteSink sink, const Manifest& manifest, std::uint64_t chunk_count);  // its to_json_text
  void chunk(ByteView stored);                                                       // in sequence order, exactly chunk_count of them
  // `checkpoint`: the signed note whose size is chunk_count. `manifest_note`: sign_manifest of the manifest text;
  // without it a bundle never verifies as good.
  void finish(std::string_view checkpoint, std::string_view manifest_note);

 private:
  void put(ByteView bytes);  // covered by the trailer's hash
  ByteSink sink_;
  Id session_;
  std::uint64_t expected_, written_ = 0, size_ = 0;
  std::vector<Hash32> leaves_;
  crypto::Blake3Hasher digest_;
};

enum class Verdict { good = 0, altered = 1, unreadable = 2 };  // also the exit codes of `lucid verify`

struct Finding {
  std::string code;                             // "chunk_altered", "chunk_missing", "chunk_swapped", "chunk_replayed", "truncated",
                                                // "foreign_chunk", "checkpoint_mismatch", "old_checkpoint", "bad_signature", "wrong_key",
                                                // "manifest_altered", "malformed"
  std::string detail;                           // one sentence
  std::uint64_t first_byte = 0, last_byte = 0;  // range in the bundle file
  std::optional<std::uint64_t> sequence;
};

struct VerifyReport {
  Verdict verdict = Verdict::unreadable;
  Id session;
  std::uint64_t chunks = 0, stored_bytes = 0;
  Hash32 root{};
  bool complete = false;          // the last chunk carries the end flag
  std::vector<Finding> findings;  // by first byte, at most kMaxFindings
};
inline constexpr std::size_t kMaxFindings = 100;

// Reads `size` bytes through `read(offset, out)` (the count read). `key`: the deployment's checkpoint key, which the
// verifier brings along; a bundle signed by any other key is "wrong_key".
VerifyReport verify_bundle(std::uint64_t size, const std::function<std::size_t(std::uint64_t, std::span<std::uint8_t>)>& read,
                           const crypto::VerifyKey& key);
// Walks the chunks of a bundle already verified.
Expected<Manifest> read_bundle(std::uint64_t size, const std::function<std::size_t(std::uint64_t, std::span<std::uint8_t>)>& read,
                               const std::function<void(const ChunkHeader&, ByteView stored)>& each_chunk);

// The same checks over chunks that are not in a bundle (storage, API): feed the stored bytes in order. Byte ranges of its
// findings count the bytes fed so far, as if the chunks stood one after another.
class RecordingVerifier {
 public:
  explicit RecordingVerifier(Id session) : session_(session) {}
  // `blake3`: what the index says the chunk's hash is, where it is known; so an altered chunk is named.
  void chunk(std::uint64_t expected_sequence, ByteView stored, std::optional<Hash32> blake3 = std::nullopt);
  // Compares with the signed checkpoint. `origin`: lucid/<node>/session/<id>.
  VerifyReport finish(std::string_view checkpoint, const crypto::VerifyKey& key, const std::string& origin);

 private:
  void add(std::string code, std::string detail, std::size_t bytes, std::optional<std::uint64_t> sequence);
  Id session_;
  evidence::Tree tree_;
  std::vector<bool> seen_;  // sequences of this session met so far
  std::vector<Finding> findings_;
  std::uint64_t bytes_ = 0, next_ = 0, chunks_ = 0;
  bool ended_ = false;
};

}  // namespace lucid::recording
