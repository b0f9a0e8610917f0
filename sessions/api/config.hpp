// Settings of session-api. The common ones (port, host, log) are runtime's.
#pragma once

#include "lib/runtime/settings.hpp"

namespace lucid::api {

inline void declare_settings(runtime::Settings& settings) {
  settings.declare({.name = "session-api.worker_threads",
                    .environment = "API_WORKER_THREADS",
                    .fallback = "16",
                    .meaning = "Requests handled at the same time; more wait.",
                    .check = runtime::integer_between(1, 256)});
}

}  // namespace lucid::api
