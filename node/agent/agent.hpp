// A node: this machine as node-management sees it. join() registers with an invitation, or goes on as the node it already is; then beat() is
// called again and again. Main thread; work is done on a thread of its own. What it keeps (DIRECTORY: key, id, sequence, chunks) survives
// kill -9 and power loss. docs/services/node-management/agent.md.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "lib/runtime/data_lock.hpp"
#include "node/agent/chores.hpp"
#include "node/agent/machine.hpp"

namespace lucid::node_agent {

struct AgentConfig {
  std::string url;        // of node-management
  std::string directory;  // its own: one node, one directory
  std::string name;       // these two may be left out (empty, nothing) where the directory knows them
  std::optional<contracts::NodeType> type;
  std::uint64_t storage_bytes = 0;
  int session_slots = 0;
  std::optional<std::string> invitation;  // only the first start needs it
};

class Agent {
 public:
  struct World {
    const Clock& clock;
    RandomSource& random;
    FileOps& files;
    std::function<void(const std::string&)> say;  // one line for the operator; any thread
  };
  // Error{conflict, "already_running"} when another process runs on the directory.
  Agent(AgentConfig config, World world);
  ~Agent();

  // Throws what stands in the way: Error{invalid, "wrong_url"}, {forbidden, "invitation_invalid"}, {conflict, "key_in_use"|"name_in_use"} …
  // A node that is known already does not need the service to be there.
  void join();
  // One heartbeat; the time until the next is due. A service that is away only makes it longer. Throws when this node is no longer wanted:
  // Error{conflict, "node_banned"|"node_retired"}, {unauthorized}, {not_found}.
  std::chrono::milliseconds beat();
  const std::optional<Identity::Place>& place() const { return identity_.place(); }
  Chores& chores() { return *chores_; }

 private:
  void check_service();
  void register_node();
  bool accepted();  // whether the service knows this node as activated
  contracts::BeatReply send_beat();
  std::chrono::milliseconds next_try();

  AgentConfig config_;
  World world_;
  runtime::DataLock lock_;
  net::Client http_;
  Machine machine_;
  Identity identity_;
  Shelf shelf_;
  Link link_;
  std::unique_ptr<Chores> chores_;
  std::optional<contracts::NodeState> state_;
  std::chrono::milliseconds back_off_{0};  // not 0: the service is away
  std::chrono::milliseconds longest_{2'000};
};

}  // namespace lucid::node_agent
