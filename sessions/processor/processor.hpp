// chunk-processor's logic: turns a sealed segment into a sealed chunk, has it stored, appends it to the session's tree
// under a freshly signed checkpoint, and tells the pipeline. Every step is idempotent by (session, sequence), so a crash
// anywhere is repaired by sending the segment again. Segments of one session are taken one at a time, in order; sessions
// run side by side. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "lib/base/random.hpp"
#include "lib/contracts/pipeline.hpp"
#include "lib/contracts/processor.hpp"
#include "lib/contracts/storage.hpp"
#include "lib/runtime/exposure.hpp"
#include "sessions/processor/config.hpp"
#include "sessions/processor/processor_metrics.hpp"
#include "sessions/processor/session.hpp"
#include "sessions/processor/spool_keys.hpp"

namespace lucid::processor {

// What the processor asks of other services. Each may throw lucid::Error.
struct Outside {
  std::function<contracts::RecordingPlan(const Id&)> plan;                                     // pipeline
  std::function<std::uint64_t(const Id&, std::uint64_t sequence, std::uint64_t token)> begin;  // pipeline
  std::function<void(const Id&, const contracts::Commit&)> commit;                             // pipeline
  std::function<void(const Id&, std::uint64_t sequence, const std::string& stage, const std::string& reason)> failure;
  std::function<contracts::StorageClient::Put(const Id&, std::uint64_t sequence, ByteView stored)> put_chunk;
  std::function<std::vector<contracts::ChunkRow>(const Id&, std::uint64_t from, std::size_t limit)> rows;
  std::function<void(const Id&, std::string_view manifest)> put_manifest;
};

class Processor {
 public:
  Processor(const Config& config, store::Documents& documents, const Clock& clock, RandomSource& random, crypto::BoxKey spool_key,
            crypto::SigningKey checkpoint_key, crypto::BoxPublicKey playback, runtime::Metrics& metrics, Outside outside);

  // Answers once the chunk is durable, in the tree, under a signed checkpoint and confirmed by the pipeline. Errors: malformed,
  // corrupt, conflict ("lease_lost", "out_of_order" with field /expected, "sequence_taken"), not_found, unavailable.
  contracts::Committed ingest(ByteView segment, contracts::SegmentPart part);

  contracts::ProcessorKeys keys() const;
  std::string checkpoint(const Id& session);
  json::value proof(const Id& session, std::uint64_t sequence, std::optional<std::uint64_t> size);
  json::value consistency(const Id& session, std::uint64_t from, std::optional<std::uint64_t> to);
  contracts::ProcessorClient::Snapshot snapshot(const Id& session);
  // Writes the final manifest; keys of the session are wiped. Idempotent.
  contracts::ProcessorClient::Final finish(const Id& session);
  void remove(const Id& session);

 private:
  std::shared_ptr<Session> find(const Id& id);  // Error{not_found, "session_not_found"}
  std::shared_ptr<Session> find_or_begin(const Id& id);
  recording::OpenedSegment open(ByteView segment, contracts::SegmentPart part);
  contracts::Committed already_committed(Session& s, const recording::OpenedSegment& segment, std::uint64_t expected);
  void ensure_epoch(Session& s);
  void write_manifest(const recording::Manifest& manifest);
  void evict();
  void update_gauges();

  Config config_;
  store::Documents& documents_;
  const Clock& clock_;
  RandomSource& random_;
  SpoolKeys spool_keys_;
  crypto::SigningKey checkpoint_key_;
  crypto::BoxPublicKey playback_;
  Outside outside_;
  std::mutex mutex_;  // guards sessions_
  std::unordered_map<Id, std::shared_ptr<Session>> sessions_;
  ProcessorMetrics metrics_;
  runtime::Exposure exposure_;  // last: ends before what it looks at
};

}  // namespace lucid::processor
