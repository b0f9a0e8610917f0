// Epochs: what is measured while one is open, and its close. Owned by the service. Thread-safe; turn(), measure() and flush() are called by one
// thread. Nothing here is declared by a node: uptime is heartbeats received, hosting is what session-pipeline saw committed, storage and
// validation are what the desk judged.
// While an epoch is open, durable: each slot's hosting when measured, each result when told, each slot's uptime within a second (flush()).
// Closing an epoch: 1. its receipts (each once; a repeated close keeps what is there), 2. leaves and signed checkpoint: with this document the
// epoch is closed, 3. its tally, 4. its leaders, 5. the measurements go. A crash between any two, or a failing disk, is made up for by doing the
// rest again. The log of an epoch is a tree of its own over its receipts by node id and kind; its checkpoint names the root of the epoch before
// ("previous …"), so the epochs are a chain.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <span>

#include "lib/crypto/signature.hpp"
#include "lib/evidence/tree.hpp"
#include "lib/store/documents.hpp"
#include "node/management/metrics.hpp"
#include "node/management/node.hpp"
#include "node/management/work_host.hpp"
#include "node/poot/leader.hpp"

namespace lucid::node_management {

// What session-pipeline says of a session's recording.
struct Committed {
  std::uint64_t bytes = 0;
  std::int64_t started_wall_ms = 0;
};
// Those of `sessions` it knows. Throws lucid::Error when it cannot be asked.
using MeasureHosting = std::function<std::map<Id, Committed>(const std::set<Id>& sessions)>;

// Measurements of an epoch's last slot may come this late (a lease of 20 000 nodes); then it closes.
inline constexpr std::int64_t kCloseDelayMs = 10 * poot::kSlotMs;

struct ClosedEpoch {
  poot::Epoch epoch = 0;
  Hash32 root{}, previous{};
  std::string checkpoint;  // signed note
  std::vector<Hash32> leaves;
};

class Epochs {
 public:
  struct Parts {
    store::Documents& documents;
    crypto::SigningKey key;
    std::string origin;  // "lucid/<node>/poot"
    MeasureHosting measure;
    // Every node that was ever active, by id, with its ordinal.
    std::function<std::vector<std::pair<Id, std::uint32_t>>()> nodes;
    std::function<std::map<Id, WorkDesk::Held>()> held;
    NodeMetrics& metrics;
  };
  explicit Epochs(Parts parts);
  void open(std::int64_t wall_ms);  // Error{corrupt} for a document that cannot be read

  void up(std::uint32_t ordinal, std::int64_t from_wall_ms, std::int64_t to_wall_ms);
  void flush();
  // Asks what was committed since the last time; it counts for the slot before that of `wall_ms`, once for a slot. The released sessions whose
  // last bytes are counted now.
  std::vector<Id> measure(std::int64_t wall_ms, const std::function<std::map<Id, Placed>()>& placed_now);
  void challenged(const Id& node, const Id& work, bool passed, std::int64_t wall_ms);
  void validated(const Id& node, const Id& work, const Id& session, std::int64_t wall_ms);
  // Closes what is over for kCloseDelayMs. Throws when a step fails; call it again.
  void turn(std::int64_t wall_ms);

  poot::Epoch open_epoch();                              // the first that is not closed
  std::optional<ClosedEpoch> closed(poot::Epoch epoch);  // nothing: not closed (yet, or by this deployment)
  std::optional<ClosedEpoch> newest();
  Hash32 log_root(poot::Epoch epoch);                 // 32 zero bytes where there is none
  std::string verifier_key(poot::Epoch epoch) const;  // of its checkpoint, as note verifiers read it
  std::vector<poot::Tally> tally(poot::Epoch epoch);
  // Of a closed epoch as stored; of the open one by what is measured so far, up to the slot before that of `wall_ms`. Error{not_found}.
  struct SlotLeader {
    poot::Leader leader;
    bool final = false;
  };
  SlotLeader leader(poot::Slot slot, std::int64_t wall_ms);
  // Of one node, ascending by epoch and kind.
  std::vector<poot::Receipt> receipts(const Id& node, poot::Epoch first, poot::Epoch last);
  struct Listed {
    std::uint64_t index = 0;  // leaf of the epoch's tree
    poot::Receipt receipt;
    Bytes bytes;
  };
  struct Page {
    std::vector<Listed> receipts;
    std::optional<Id> next;  // begin after this node
  };
  // Whole nodes, until there are `limit` receipts.
  Page list(poot::Epoch epoch, const std::optional<Id>& node, const std::optional<Id>& after, std::size_t limit);
  // Why the newest closed epoch is not what was signed; empty: it is.
  std::string problem();

 private:
  struct Base {
    std::uint64_t bytes = 0;
    Id node;
  };
  struct Tallied {
    std::uint32_t asked = 0, passed = 0;
    std::set<Id> validated;
  };
  using UptimeMaps = std::map<poot::Epoch, std::vector<poot::Uptime>>;  // by ordinal

  void load_uptime();
  void load_hosting();
  void adopt(const store::Document& hosting);
  void keep_result(const Id& node, const Id& work, std::int64_t wall_ms, const json::object& result);

  // epoch_close.cpp
  void close(poot::Epoch epoch);
  void finish(poot::Epoch epoch);  // what follows the closing document
  std::map<Id, poot::Hosting> hosting_of(poot::Epoch epoch);
  std::map<Id, Tallied> results_of(poot::Epoch epoch);
  void make_receipts(poot::Epoch epoch);
  void seal(poot::Epoch epoch);
  void make_tally(poot::Epoch epoch);
  void make_leaders(poot::Epoch epoch);
  std::vector<poot::Leader> leaders(poot::Epoch epoch);
  std::string receipt_key(const poot::Receipt& r) const;
  std::vector<std::pair<poot::Receipt, Bytes>> stored(const Id& node, poot::Epoch first, poot::Epoch last);

  Parts parts_;
  std::mutex mutex_;  // guards what follows; never held over a disk write or a call
  poot::Epoch open_ = 0;
  UptimeMaps uptime_;  // of epochs that are not closed
  std::set<poot::Slot> unsaved_;
  std::optional<ClosedEpoch> newest_;
  std::string problem_;
  // Of the one thread.
  std::map<Id, Base> base_;
  std::optional<poot::Slot> measured_;
  std::optional<poot::Epoch> unfinished_;  // sealed; its tally, leaders or cleaning up are not done
};

}  // namespace lucid::node_management
