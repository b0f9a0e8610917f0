// Settings of session-pipeline, declared in module.cpp and read once at start.
#pragma once

#include <cstdint>

namespace lucid::pipeline {

struct Config {
  std::int64_t lease_ms = 5'000;  // a recorder silent for longer is stalled
};

}  // namespace lucid::pipeline
