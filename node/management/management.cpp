#include "node/management/management.hpp"

#include <fmt/format.h>

#include "lib/runtime/log.hpp"

namespace lucid::node_management {
namespace {

const runtime::Log kManagementLog("node-management");

}  // namespace

Management::Management(Parts parts)
    : time_(parts.clock),
      metrics_(parts.metrics),
      epochs_({.documents = parts.documents,
               .key = std::move(parts.key),
               .origin = fmt::format("lucid/{}/poot", parts.node),
               .measure = std::move(parts.measure),
               .nodes = [this] { return registry_.ordinals(); },
               .held =
                   [this] {
                     WorkDesk* desk = desk_;
                     return desk != nullptr ? desk->held() : std::map<Id, WorkDesk::Held>{};
                   },
               .metrics = metrics_}),
      registry_({.documents = parts.documents,
                 .clock = parts.clock,
                 .time = time_,
                 .random = parts.random,
                 .metrics = metrics_,
                 .up = [this](std::uint32_t ordinal, std::int64_t from, std::int64_t to) { epochs_.up(ordinal, from, to); }}) {}

Management::~Management() { stop(); }

void Management::open() {
  registry_.open();
  epochs_.open(time_.wall_ms());
}

void Management::start() {
  leases_ = std::thread([this] { loop(std::chrono::milliseconds(250), "leases", &Management::tend_leases); });
  epoch_thread_ = std::thread([this] { loop(std::chrono::milliseconds(1'000), "epochs", &Management::tend_epochs); });
}

void Management::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
  registry_.stop();
  if (leases_.joinable()) leases_.join();
  if (epoch_thread_.joinable()) epoch_thread_.join();
}

void Management::loop(std::chrono::milliseconds every, const char* what, void (Management::*step)()) {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    std::string problem;
    try {
      (this->*step)();
    } catch (const std::exception& e) { problem = e.what(); }
    lock.lock();
    std::string& known = problems_[what];
    if (!problem.empty() && known != problem)
      kManagementLog.error("a step failed and is tried again", {{"step", what}, {"error", problem}});
    known = problem;
    stopped_.wait_for(lock, every, [this] { return stopping_; });
  }
}

void Management::tend_leases() {
  time_.follow();
  registry_.expire();
  registry_.compact();
}

// Each part is tried whatever became of the others; the first failure is the one that is told.
void Management::tend_epochs() {
  std::exception_ptr first;
  auto tried = [&](auto step) {
    try {
      step();
    } catch (...) {
      if (!first) first = std::current_exception();
    }
  };
  tried([&] { epochs_.flush(); });
  tried([&] {
    try {
      registry_.forget(epochs_.measure(time_.wall_ms(), [this] { return registry_.placements(); }));
    } catch (...) {
      metrics_.measure_failures.add();
      throw;
    }
  });
  tried([&] { epochs_.turn(time_.wall_ms()); });
  metrics_.placements.set(static_cast<double>(registry_.totals().placements));
  if (first) std::rethrow_exception(first);
}

std::optional<std::string> Management::problem() {
  if (std::string p = epochs_.problem(); !p.empty()) return p;
  if (std::int64_t jump = time_.jump_ms(); jump != 0)
    return fmt::format(
        "the wall clock is {} s away from where it should be; slots go by the steady clock until that has lasted ten minutes",
        jump / 1'000);
  std::lock_guard lock(mutex_);
  for (const auto& [what, problem] : problems_)
    if (!problem.empty()) return fmt::format("{}: {}", what, problem);
  return std::nullopt;
}

std::map<Id, payouts::Standing> Management::standings() {
  std::map<Id, payouts::Standing> out;
  for (const auto& [id, s] : registry_.stands())
    out[id] = s.struck ? payouts::Standing::banned : s.left ? payouts::Standing::left : payouts::Standing::member;
  return out;
}

void Management::each_node(poot::Epoch first, poot::Epoch last, const EachNode& each) {
  for (const auto& [id, s] : registry_.stands()) {
    auto receipts = epochs_.receipts(id, first, last);
    if (!receipts.empty()) each(id, receipts);
  }
}

}  // namespace lucid::node_management
