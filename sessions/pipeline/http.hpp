// The routes of session-pipeline (lib/contracts/pipeline.hpp names them). `pipeline` outlives the router.
#pragma once

#include "lib/net/http.hpp"
#include "sessions/pipeline/pipeline.hpp"

namespace lucid::pipeline {

net::Router routes(Pipeline& pipeline);

}  // namespace lucid::pipeline
