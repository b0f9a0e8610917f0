// The collections of the service in its Documents, and reading them. Any thread.
#pragma once

#include <functional>

#include "lib/base/json.hpp"
#include "lib/store/documents.hpp"

namespace lucid::node_management {

inline constexpr const char* kInvitations = "node_invitations";  // hash → uses, end
inline constexpr const char* kNodes = "nodes";                   // id → what was registered, and its state up to an event
inline constexpr const char* kCeilings = "node_ceilings";        // id → no sequence above it has been accepted
inline constexpr const char* kEvents = "node_events";            // sequence → change of state
inline constexpr const char* kPools = "node_pools";              // id → pool with its members
inline constexpr const char* kPlacements = "node_placements";    // session → node
inline constexpr const char* kUptime = "poot_uptime";            // slot → bit map of ordinals
inline constexpr const char* kHosting = "poot_hosting";          // slot → bytes of sessions
inline constexpr const char* kMarks = "poot_marks";              // what is measured up to where
inline constexpr const char* kResults = "poot_results";          // epoch/node/work → passed, or the session validated
inline constexpr const char* kReceipts = "poot_receipts";        // node/epoch/kind → canonical bytes
inline constexpr const char* kEpochs = "poot_epochs";            // epoch → leaves and signed checkpoint: with it the epoch is closed
inline constexpr const char* kTallies = "poot_tallies";          // epoch → tally
inline constexpr const char* kLeaders = "poot_leaders";          // epoch → leaders of its slots

inline Error unreadable(const std::string& collection, const std::string& key, const std::exception& why) {
  return Error(ErrorKind::corrupt, "document_corrupt",
               "nodes.db: " + collection + " " + key + ": " + why.what() + "; restore the file from a backup");
}

// Every document with a key in [from, to), in order.
inline void for_each_document(store::Documents& documents, const std::string& collection, std::string from, const std::string& to,
                              const std::function<void(const store::Document&, const json::value&)>& use) {
  constexpr std::size_t kDocumentsAtOnce = 1'000;
  for (;;) {
    auto page = documents.scan(collection, {.from = from, .to = to, .limit = kDocumentsAtOnce, .order = store::Order::ascending});
    for (const store::Document& d : page) {
      auto value = parse_json(d.json, std::size_t{64} << 20);
      if (!value) throw unreadable(collection, d.key, value.error());
      use(d, *value);
    }
    if (page.size() < kDocumentsAtOnce) return;
    from = page.back().key + '\0';
  }
}

}  // namespace lucid::node_management
