// The admin API of the gateway (port 8089); the contract is lib/contracts/gateway.hpp. Handlers run on the server's worker threads.
#pragma once

#include "lib/net/http.hpp"
#include "rdp/gateway/gateway.hpp"

namespace lucid::gateway {

net::Router routes(Gateway& gateway);

}  // namespace lucid::gateway
