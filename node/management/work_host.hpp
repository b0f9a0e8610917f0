// The seam between the service (nodes, leases, receipts) and the work it gives to nodes (hold, challenge, validate: work*.cpp). The service owns
// both sides: it implements WorkHost, is given a WorkDesk, and destroys the desk first. Any thread calls either.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/contracts/nodes.hpp"

namespace lucid::node_management {

// What the desk may ask and tell.
class WorkHost {
 public:
  virtual ~WorkHost() = default;
  // Nodes in state `active` that hold their lease, in the order of their ids.
  virtual std::vector<contracts::NodeStatus> active(contracts::NodeType type) = 0;
  virtual std::optional<contracts::NodeStatus> node(const Id& id) = 0;
  // Counted once by `work` however often it is told, durable when it returns. They enter the receipt of the epoch that is open now.
  virtual void challenged(const Id& node, const Id& work, bool passed) = 0;
  virtual void validated(const Id& node, const Id& work, const Id& session) = 0;
};

// What the service asks of the desk.
class WorkDesk {
 public:
  virtual ~WorkDesk() = default;
  // Handed out with the answer to every heartbeat: from memory, no call to another service.
  virtual std::vector<contracts::NodeWork> work_for(const Id& node) = 0;
  struct Answered {
    bool passed = false;
    std::string reason;  // why not
  };
  virtual Answered answer(const Id& node,
                          const contracts::WorkAnswer& answer) = 0;  // idempotent by work id; Error{not_found, "work_not_found"}
  virtual Bytes chunk(const Id& node, const Id& session, std::uint64_t sequence) = 0;  // Error{not_found, "chunk_not_asked"}
  struct Held {
    std::uint64_t bytes = 0, chunks = 0;
  };
  virtual std::map<Id, Held> held() = 0;  // of every node that holds chunks, at the close of an epoch
};

}  // namespace lucid::node_management
