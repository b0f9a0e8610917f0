#include "sessions/pipeline/stage_stats.hpp"

#include <algorithm>

namespace lucid::pipeline {
namespace {

constexpr std::size_t kRing = 256;
constexpr const char* kNames[kStages] = {"recorded", "compressed", "encrypted", "hashed", "stored", "committed"};

}  // namespace

const char* name(Stage stage) { return kNames[static_cast<std::size_t>(stage)]; }

std::optional<Stage> stage(std::string_view text) {
  for (std::size_t i = 0; i < kStages; ++i)
    if (text == kNames[i]) return static_cast<Stage>(i);
  return std::nullopt;
}

void StageStats::item(Stage stage, std::int64_t microseconds) {
  One& one = stages_[static_cast<std::size_t>(stage)];
  if (one.recent.size() < kRing)
    one.recent.push_back(microseconds);
  else
    one.recent[one.items % kRing] = microseconds;
  ++one.items;
}

void StageStats::error(Stage stage) { ++stages_[static_cast<std::size_t>(stage)].errors; }

std::uint64_t StageStats::errors() const {
  std::uint64_t n = 0;
  for (const One& one : stages_) n += one.errors;
  return n;
}

std::vector<contracts::StageCount> StageStats::counts() const {
  std::vector<contracts::StageCount> out;
  for (std::size_t i = 0; i < kStages; ++i) {
    std::vector<std::int64_t> sorted = stages_[i].recent;
    std::sort(sorted.begin(), sorted.end());
    auto at = [&](double q) {
      return sorted.empty() ? 0.0
                            : static_cast<double>(sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1))]) / 1000;
    };
    out.push_back({kNames[i], stages_[i].items, stages_[i].errors, at(0.5), at(0.95), at(0.99)});
  }
  return out;
}

}  // namespace lucid::pipeline
