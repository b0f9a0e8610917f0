// What the recorder writes to its spool and sends to the processor: batches of records, each sealed with the spool
// file's key, which itself is sealed to the processor's public key. So the recorder cannot read back what it wrote, and
// forwards a crashed predecessor's spool as it is. Byte layout: docs/formats/spool.md.
//   file    = SpoolHeader ‖ batch ‖ batch ‖ ...          batches of all sessions of a recorder process, interleaved
//   segment = SpoolHeader ‖ batches of one segment in order      (the body of POST /api/v1/segments)
// Batch headers are readable (they are associated data): session, segment, position, times, flags.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"
#include "lib/base/id.hpp"
#include "lib/base/random.hpp"
#include "lib/crypto/aead.hpp"
#include "lib/crypto/sealed_box.hpp"

namespace lucid::recording {

inline constexpr std::size_t kMaxBatchBytes = 16 << 20;  // plaintext of one batch

struct SpoolHeader {
  std::array<std::uint8_t, 16> spool_id{};
  Bytes sealed_key;  // 80 bytes: seal_to(processor, 32-byte spool key)
};
inline constexpr std::size_t kSpoolHeaderSize = 104;  // magic(4) version(2) reserved(2) spool_id(16) sealed_key(80)

struct BatchHeader {
  Id session;
  std::uint64_t sequence = 0;  // of the segment, thus of the chunk
  std::uint32_t index = 0;     // of the batch within its segment
  bool last = false;           // closes the segment
  std::uint16_t flags = 0;     // ChunkFlags seen in this batch
  std::int64_t first_ms = 0, last_ms = 0;
  std::uint64_t fencing_token = 0;  // of the lease under which it was recorded
  std::uint32_t sealed_size = 0;    // ciphertext + tag, after the nonce
};
inline constexpr std::size_t kBatchHeaderSize = 72;
inline std::size_t batch_size(const BatchHeader& h) { return kBatchHeaderSize + crypto::kNonceSize + h.sealed_size; }

// Writer's side. Holds the spool key in memory only; one per spool file.
class SpoolSealer {
 public:
  SpoolSealer(const crypto::BoxPublicKey& processor, RandomSource& random);
  Bytes header() const;  // the encoded SpoolHeader
  // Appends header, nonce and ciphertext of one batch to `out`. `header.sealed_size` is filled in.
  void seal(BatchHeader header, ByteView records, Bytes& out);

 private:
  SpoolHeader header_;
  crypto::Secret32 key_;
  RandomSource& random_;
};

// Reads the header of a spool or segment.
Expected<SpoolHeader> parse_spool_header(ByteView bytes);
// The batch at the start of `bytes` (nothing decrypted). Error{malformed}; its code is "torn_batch" when the batch is cut
// short or its tear check does not hold: a recorder forwarding a spool stops there, as at any other error.
Expected<BatchHeader> parse_batch_header(ByteView bytes);

// Processor's side: opens a whole segment body.
struct OpenedSegment {
  Id session;
  std::uint64_t sequence = 0;
  std::uint16_t flags = 0;
  std::int64_t first_ms = 0, last_ms = 0;
  std::uint64_t fencing_token = 0;
  bool closed = false;  // the last batch carries `last`; false: cut short by a crash
  Bytes records;
};
// The spool key of a header, once opened, may be kept by the caller (one sealed-box opening per spool, not per segment).
std::optional<crypto::Secret32> open_spool_key(const SpoolHeader& header, const crypto::BoxKey& processor);
// Batches must belong to one segment, with indexes 0, 1, 2, ...; errors: malformed, corrupt "segment_altered", too_large.
Expected<OpenedSegment> open_segment(ByteView body, const SpoolHeader& header, const crypto::Secret32& spool_key);

}  // namespace lucid::recording
