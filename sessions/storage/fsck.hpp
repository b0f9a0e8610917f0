// Checks everything session-storage keeps against everything else: every chunk's bytes against its row, its header and
// the hash behind it in the pack; what the packs hold against what the index says; sequences; manifests; summaries.
// Repairs what follows from what is there (rows from packs, row fields from headers, summaries, torn tails) and reports
// the rest. It decides nothing that evidence must decide: a chunk whose hash is not its row's is reported, never adopted.
// Runs in the caller's thread. Repairing needs the data directory for itself: Error{conflict, "already_running"} while
// session-storage runs. Checking may run beside it and then overlooks what is being written at that moment.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/json.hpp"

namespace lucid::storage {

struct FsckOptions {
  bool repair = false;
};

struct FsckProgress {
  std::uint64_t sessions_done = 0, sessions_total = 0, bytes_read = 0;
};

// `code` is a stable word:
//   chunk_corrupt      the bytes are not what was stored              pack_missing     a pack with indexed chunks is gone
//   chunk_truncated    the pack ends before the chunk does            torn_tail        bytes behind the last whole chunk [r]
//   row_missing        a whole chunk without index row [r]            unknown_bytes    bytes in a pack that are no whole chunk
//   row_unreadable     an index row does not read [r: from the pack]  foreign_chunk    another session's chunk in a pack
//   row_mismatch       a row's fields are not the chunk's [r]         orphan_pack      a pack of a session nobody knows [r]
//   seal_damaged       the hash behind a good chunk is wrong [r]      unknown_file     a file that is none of ours
//   hash_mismatch      pack and row disagree, the pack with itself not
//   sequence_gap       sequences are missing in between               manifest_missing chunks without a manifest
//   summary_wrong      the summary of a closed session [r]            manifest_invalid a manifest that does not parse or fit
//   index_corrupt      the database does not read [r: built anew from the packs; manifests are lost]
//   index_missing      there are packs and no database [r]            [r]: can be repaired
struct Finding {
  std::string code;
  std::string session;
  std::optional<std::uint64_t> sequence;
  std::optional<std::uint32_t> pack;
  std::optional<std::uint64_t> offset;
  std::string detail;
  bool repaired = false;
};

struct FsckReport {
  std::uint64_t sessions = 0, chunks = 0, packs = 0, bytes = 0;
  std::vector<Finding> findings;
  std::uint64_t repaired() const;
  // Nothing found that still stands.
  bool clean() const { return repaired() == findings.size(); }
};
json::value to_json(const FsckReport& report);

FsckReport fsck(const std::string& data_dir, const FsckOptions& options, const std::function<void(const FsckProgress&)>& progress = {});

}  // namespace lucid::storage
