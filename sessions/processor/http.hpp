// The routes of chunk-processor (lib/contracts/processor.hpp names them). `processor` outlives the router.
#pragma once

#include "lib/net/http.hpp"
#include "sessions/processor/processor.hpp"

namespace lucid::processor {

net::Router routes(Processor& processor);

}  // namespace lucid::processor
