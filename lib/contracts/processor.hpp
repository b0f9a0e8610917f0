// Edge recorder/api → chunk-processor (8085). Thread-safe client; calls block and throw lucid::Error.
//   GET  /api/v1/key                                   {"spool_public":"lucid-box-pub:…","checkpoint_public":"lucid-sig-pub:…","node":"…"}
//   POST /api/v1/segments   (sealed segment body, recording/spool_format.hpp; application/octet-stream)
//          → 200 Committed. Answers only when the chunk is durable, indexed, in the tree, under a signed checkpoint and the
//          pipeline has confirmed it. Idempotent by (session, sequence). 409 "lease_lost" when the fencing token is not current,
//          409 "out_of_order" {expected} when an earlier segment is missing, 404 "recording_not_found", 503/507 retry later.
//   GET  /api/v1/sessions/{id}/checkpoint              text/plain signed note (the newest)
//   GET  /api/v1/sessions/{id}/proof/{seq}?size=       {"index","size","leaf_hash","leaf","proof":[hex…],"checkpoint"}
//   GET  /api/v1/sessions/{id}/consistency?from=&to=   {"from","to","proof":[hex…],"root_from","root_to"}
//   GET  /api/v1/sessions/{id}/snapshot                 {"manifest","manifest_note","checkpoint","tree_size"} that belong together (what a bundle needs)
//   POST /api/v1/sessions/{id}/finish                  writes the final checkpoint and manifest; {"checkpoint","manifest_note"}; idempotent
//   DELETE /api/v1/sessions/{id}                       forgets tree and keys of a session
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "lib/base/bytes.hpp"
#include "lib/base/id.hpp"
#include "lib/base/json.hpp"
#include "lib/net/client.hpp"

namespace lucid::contracts {

struct Committed {
  Id session;
  std::uint64_t sequence = 0;
  std::uint64_t tree_size = 0;
};

enum class SegmentPart { closed, cut_by_crash };

struct ProcessorKeys {
  std::string spool_public, checkpoint_public, node;
};

class ProcessorClient {
 public:
  explicit ProcessorClient(std::shared_ptr<net::Client> http) : http_(std::move(http)) {}
  ProcessorKeys keys();
  // `part` cut_by_crash (header X-Lucid-Final-Part: crash): the recorder died before it closed this segment, take it as far as it goes.
  Committed commit_segment(ByteView sealed_segment, SegmentPart part = SegmentPart::closed);
  std::string checkpoint(const Id& session);
  json::value proof(const Id& session, std::uint64_t sequence, std::optional<std::uint64_t> size);
  json::value consistency(const Id& session, std::uint64_t from, std::optional<std::uint64_t> to);
  struct Final {
    std::string checkpoint, manifest_note;
  };
  Final finish(const Id& session);
  struct Snapshot {
    std::string manifest, manifest_note, checkpoint;
    std::uint64_t tree_size = 0;
  };
  Snapshot snapshot(const Id& session);
  void remove(const Id& session);

 private:
  std::shared_ptr<net::Client> http_;
};

}  // namespace lucid::contracts
