// Keeps gauges right that are only worth computing when somebody looks: `refresh` runs whenever the Metrics are exposed, from construction
// to the end of this object's life, never after it, although the Metrics live longer. Owned by whoever owns what `refresh` looks at, which
// must be destroyed after it. `refresh` runs on the asking thread and must be quick (no other service, no waiting for a request under way);
// an exception leaves the gauges as they were.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <mutex>

#include "lib/runtime/metrics.hpp"

namespace lucid::runtime {

class Exposure {
 public:
  Exposure(Metrics& metrics, std::function<void()> refresh) : shared_(std::make_shared<Shared>()) {
    shared_->refresh = std::move(refresh);
    metrics.on_expose([shared = shared_] {
      std::lock_guard lock(shared->mutex);
      if (!shared->refresh) return;
      try {
        shared->refresh();
      } catch (const std::exception&) {
        // /metrics must answer whatever else is broken; /health says what it is.
      }
    });
  }
  ~Exposure() {
    std::lock_guard lock(shared_->mutex);
    shared_->refresh = nullptr;
  }
  Exposure(const Exposure&) = delete;
  Exposure& operator=(const Exposure&) = delete;

 private:
  struct Shared {
    std::mutex mutex;
    std::function<void()> refresh;
  };
  std::shared_ptr<Shared> shared_;
};

}  // namespace lucid::runtime
