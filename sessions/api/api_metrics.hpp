// The service's own metrics, by name, there before the first event so that their rise from 0 is seen. Any thread; lives as long as the Metrics
// it was made from.
#pragma once

#include "lib/runtime/metrics.hpp"

namespace lucid::api {

struct ApiMetrics {
  ApiMetrics(runtime::Metrics& m)  // NOLINT(google-explicit-constructor): Api is made from a Metrics
      : sessions_created(m.counter("lucid_api_sessions_created_total", "Sessions created")),
        sessions_deleted(m.counter("lucid_api_sessions_deleted_total", "Deletions answered with a receipt")),
        bundles(m.counter("lucid_api_bundles_total", "Bundles begun")),
        verified_good(m.counter("lucid_api_verifications_total", "Recordings verified", {{"verdict", "good"}})),
        verified_bad(m.counter("lucid_api_verifications_total", "Recordings verified", {{"verdict", "bad"}})) {}

  runtime::Counter &sessions_created, &sessions_deleted, &bundles, &verified_good, &verified_bad;
};

}  // namespace lucid::api
