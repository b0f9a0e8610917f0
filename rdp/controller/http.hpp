// The routes of session-controller (lib/contracts/controller.hpp names them). `controller` outlives the router.
#pragma once

#include "lib/net/http.hpp"
#include "rdp/controller/controller.hpp"

namespace lucid::controller {

net::Router routes(Controller& controller);

}  // namespace lucid::controller
