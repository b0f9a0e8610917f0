// What is kept of the work given to nodes: JSON documents, written and read back by this service only. Values; pure; any thread.
//   node_work        key work id             WorkItem: open work
//   node_work_ended  key work id             WorkItem with its WorkResult, for a day
//   node_holdings    key node id/session id  HoldingRecord
//   node_recordings  key session id          RecordingRecord: finalised recordings that were taken up
// Ending a piece of work: its result is inserted (the first one counts), then what follows from it is done, then the open document goes. A
// restart between any two does the rest again.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "lib/base/id.hpp"
#include "lib/contracts/nodes.hpp"

namespace lucid::node_management {

inline constexpr const char* kWorkOpen = "node_work";
inline constexpr const char* kWorkEnded = "node_work_ended";
inline constexpr const char* kHoldings = "node_holdings";
inline constexpr const char* kRecordings = "node_recordings";

struct WorkItem {
  contracts::NodeWork work;
  Id node;
  std::uint64_t bytes = 0;  // of the chunk (hold, challenge) or the recording (validate)
  Hash32 expected{};        // digest that passes
};
enum class WorkEnd { passed, wrong, late };
struct WorkResult {
  WorkEnd end = WorkEnd::passed;
  std::string reason;
};
// One node's part of one recording. Sequences below `next` are held, except those missing.
struct HoldingRecord {
  std::uint64_t chunks = 0, total_bytes = 0;  // of the recording: what is assigned
  std::uint64_t next = 0, bytes = 0;          // bytes held
  std::set<std::uint64_t> missing;
  std::uint64_t held() const { return next - missing.size(); }
  bool holds(std::uint64_t sequence) const { return sequence < next && !missing.contains(sequence); }
};
struct RecordingRecord {
  std::uint64_t chunks = 0, bytes = 0;
  Hash32 root{};
  std::set<Id> validators;             // that recomputed it rightly
  std::map<Id, std::uint64_t> failed;  // validator → tries that came to nothing
};

std::string to_text(const WorkItem& item);
std::string to_text(const WorkItem& item, const WorkResult& result);
WorkItem read_work_item(const std::string& text);  // of either; all these throw Error{corrupt}
WorkResult read_work_result(const std::string& text);
std::string to_text(const HoldingRecord& holding);
HoldingRecord read_holding(const std::string& text);
std::string to_text(const RecordingRecord& recording);
RecordingRecord read_recording(const std::string& text);

}  // namespace lucid::node_management
