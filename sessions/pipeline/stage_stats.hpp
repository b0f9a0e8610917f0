// Items, errors and latencies of the stages a chunk passes: recorded, compressed, encrypted, hashed, stored, committed.
// Percentiles over the last 256 items. Guarded by its owner.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "lib/contracts/pipeline.hpp"

namespace lucid::pipeline {

enum class Stage : std::size_t { recorded, compressed, encrypted, hashed, stored, committed };
inline constexpr std::size_t kStages = 6;
const char* name(Stage stage);
std::optional<Stage> stage(std::string_view name);

class StageStats {
 public:
  void item(Stage stage, std::int64_t microseconds);
  void error(Stage stage);
  std::vector<contracts::StageCount> counts() const;
  std::uint64_t errors() const;

 private:
  struct One {
    std::uint64_t items = 0, errors = 0;
    std::vector<std::int64_t> recent;  // ring of at most 256 microseconds
  };
  std::array<One, kStages> stages_;
};

}  // namespace lucid::pipeline
