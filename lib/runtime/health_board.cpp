#include "lib/runtime/health_board.hpp"

namespace lucid::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
constexpr milliseconds kFresh{500};
constexpr milliseconds kPatience{900};

}  // namespace

HealthBoard::HealthBoard(std::vector<HealthCheck> checks) : checks_(std::move(checks)) {
  if (!checks_.empty()) thread_ = std::thread([this] { run(); });
}

HealthBoard::~HealthBoard() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wanted_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::vector<HealthBoard::Result> HealthBoard::look() {
  if (checks_.empty()) return {};
  std::unique_lock lock(mutex_);
  if (answered_ > 0 && answered_ == asked_ && steady_clock::now() - finished_ < kFresh) return results_;
  // One round serves all who ask while it runs.
  if (asked_ == answered_) {
    ++asked_;
    wanted_.notify_all();
  }
  std::uint64_t round = asked_;
  if (done_.wait_for(lock, kPatience, [&] { return answered_ >= round; })) return results_;
  std::vector<Result> late;
  for (std::size_t i = 0; i < checks_.size(); ++i) {
    if (i < running_)
      late.push_back(results_[i]);
    else
      late.push_back({checks_[i].name, false, i == running_ ? "did not answer within 1 s" : "not checked: another check hangs"});
  }
  return late;
}

void HealthBoard::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wanted_.wait(lock, [this] { return stopping_ || asked_ > answered_; });
    if (stopping_) return;
    results_.assign(checks_.size(), {});
    for (running_ = 0; running_ < checks_.size() && !stopping_; ++running_) {
      Result result{checks_[running_].name, true, ""};
      lock.unlock();
      try {
        if (std::optional<std::string> problem = checks_[running_].problem()) {
          result.ok = false;
          result.detail = std::move(*problem);
        }
      } catch (const std::exception& e) {
        result.ok = false;
        result.detail = e.what();
      }
      lock.lock();
      results_[running_] = std::move(result);
    }
    answered_ = asked_;
    finished_ = steady_clock::now();
    done_.notify_all();
  }
}

}  // namespace lucid::runtime
