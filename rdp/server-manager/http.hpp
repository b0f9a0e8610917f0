// The HTTP routes of rdp-server-manager; the contract is lib/contracts/rdp_server.hpp.
#pragma once

#include "lib/net/http.hpp"
#include "rdp/server-manager/manager.hpp"

namespace lucid::server_manager {

net::Router routes(Manager& manager);

}  // namespace lucid::server_manager
