// fsck of one session. Used by fsck only, on its thread.
#pragma once

#include <map>
#include <set>

#include "lib/contracts/storage.hpp"
#include "lib/store/documents.hpp"
#include "lib/store/packs.hpp"
#include "sessions/storage/fsck.hpp"

namespace lucid::storage {

struct FsckScene {
  store::Documents& documents;
  store::Packs& packs;
  bool repair = false;
  bool live = false;  // session-storage runs: what is being written now is not wrong
  FsckReport& report;
  std::function<void(std::uint64_t bytes)> read;
};

class SessionCheck {
 public:
  SessionCheck(FsckScene& scene, const Id& session) : scene_(scene), session_(session) {}
  void run();

 private:
  enum class Verdict { good, seal_damaged, bad };
  void read_rows();
  void check_packs();
  void check_rows();
  Verdict check_bytes(const contracts::ChunkRow& row);
  void check_fields(contracts::ChunkRow& row, ByteView stored);
  void look_between();
  void walk(std::uint32_t pack, std::uint64_t from, std::uint64_t to, bool tail);
  void take_unindexed(const store::PackEntry& entry);
  void check_sequences();
  void check_manifest();
  void check_state();
  void mend_seals();
  void cut_tail(std::uint32_t pack, std::uint64_t end);
  bool still_there(std::uint64_t sequence);
  Finding& add(const char* code, std::string detail);
  Finding& add(const char* code, const contracts::ChunkRow& row, std::string detail);

  FsckScene& scene_;
  const Id session_;
  std::map<std::uint64_t, contracts::ChunkRow> rows_;
  std::set<std::uint64_t> damaged_;                  // sequences whose bytes are not there
  std::map<std::uint64_t, std::size_t> unreadable_;  // sequences of unreadable rows → index of the finding
  std::vector<std::uint32_t> packs_;
  std::set<std::uint32_t> missing_packs_;
  std::map<std::uint32_t, std::vector<contracts::ChunkRow>> broken_seals_;
  contracts::StorageSummary summary_;
  bool known_ = false;  // the index had something of this session
};

}  // namespace lucid::storage
