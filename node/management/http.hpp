// The routes of node-management (lib/contracts/nodes.hpp names them). `management` outlives the router. Routes of nodes are open to whoever
// brings an invitation or a node's signature, which the handlers check; all others want a service token.
#pragma once

#include "lib/net/http.hpp"
#include "node/management/management.hpp"

namespace lucid::node_management {

net::Router routes(Management& management);

}  // namespace lucid::node_management
