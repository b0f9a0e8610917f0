// The recorder's routes (lib/contracts/recorder.hpp) over a Recorder. Built at start; handlers run on worker threads.
#pragma once

#include <functional>

#include "lib/net/http.hpp"
#include "sessions/recorder/recorder.hpp"

namespace lucid::recorder {

// `recorder` answers the Recorder, or throws Error{unavailable, "no_spool_key"} while there is none.
net::Router routes(std::function<Recorder&()> recorder);

}  // namespace lucid::recorder
