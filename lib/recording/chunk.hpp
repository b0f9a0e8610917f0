// A chunk: one sealed segment, the unit of encryption, of the Merkle tree, of storage and of loss.
//   header ‖ nonce(24) ‖ ciphertext+tag(16); the header is the associated data.
// Byte layout: docs/formats/chunk.md. parse/open take bytes nobody vouches for: every length is checked against the header
// and the limits before anything is allocated. Pure; any thread.
#pragma once

#include <cstdint>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"
#include "lib/base/id.hpp"
#include "lib/base/random.hpp"
#include "lib/crypto/secret.hpp"

namespace lucid::recording {

inline constexpr std::size_t kMaxChunkBytes = 16 << 20;  // stored, and plaintext of a segment
inline constexpr std::size_t kMaxExpansion = 64;         // plaintext / compressed, above 64 KiB of plaintext

enum class ChunkCodec : std::uint8_t { none = 0, zstd = 1 };
enum ChunkFlags : std::uint16_t {
  kHasFullKeyframe = 1,
  kHasDiffKeyframe = 2,
  kLossy = 4,
  kGap = 8,
  kEnd = 16,
  kHasEvents = 32,
};

struct ChunkHeader {
  ChunkCodec codec = ChunkCodec::none;
  Id session;
  std::uint64_t sequence = 0;  // 0, 1, 2, ... within the session
  std::uint32_t key_epoch = 0;
  std::uint32_t plain_size = 0;            // of the record stream
  std::uint32_t sealed_size = 0;           // ciphertext + tag
  std::int64_t first_ms = 0, last_ms = 0;  // since the session start
  std::uint16_t flags = 0;
};
inline constexpr std::size_t kChunkHeaderSize = 80;  // docs/formats/chunk.md
inline std::size_t stored_size(const ChunkHeader& header) { return kChunkHeaderSize + 24 + header.sealed_size; }

// What a segment says of itself; seal_chunk fills the rest.
struct SegmentInfo {
  Id session;
  std::uint64_t sequence = 0;
  std::uint32_t key_epoch = 0;
  std::int64_t first_ms = 0, last_ms = 0;
  std::uint16_t flags = 0;
};
struct StageTimes {
  std::int64_t compress_us = 0, encrypt_us = 0, hash_us = 0;
};

struct SealedChunk {
  ChunkHeader header;
  Bytes stored;     // the whole chunk as it is kept
  Hash32 blake3{};  // of `stored`
  StageTimes times;
};

// zstd level 3 (left out when it gains under 2 %), XChaCha20-Poly1305 with a random nonce, BLAKE3. `level` exists for tests.
// Keeps its zstd context: one sealer per thread.
class ChunkSealer {
 public:
  explicit ChunkSealer(int level = 3);
  ~ChunkSealer();
  SealedChunk seal(const SegmentInfo& info, ByteView records, const crypto::Secret32& chunk_key, RandomSource& random);

 private:
  struct State;
  State* state_;
};

Expected<ChunkHeader> parse_chunk_header(ByteView stored);
// The record stream. Errors: malformed; corrupt code "chunk_altered" when authentication fails.
Expected<Bytes> open_chunk(ByteView stored, const crypto::Secret32& chunk_key);
// Decrypted but still compressed (as header.codec says).
Expected<Bytes> decrypt_chunk(ByteView stored, const crypto::Secret32& chunk_key);
// Expands what decrypt_chunk gave.
Expected<Bytes> expand(ByteView compressed, ChunkCodec codec, std::size_t plain_size);

// ---- evidence leaf (docs/formats/evidence.md) -----------------------------------------------------------------------
struct Leaf {
  Id session;
  std::uint64_t sequence = 0;
  Hash32 blake3{};
  std::uint32_t stored_size = 0;
  std::int64_t first_ms = 0, last_ms = 0;
  std::uint16_t flags = 0;
};
Bytes encode_leaf(const Leaf& leaf);  // the RFC 9162 leaf data; hash it with evidence::leaf_hash
Leaf leaf_of(const ChunkHeader& header, const Hash32& blake3);

}  // namespace lucid::recording
