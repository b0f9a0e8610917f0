#include "rdp/monitor/monitor.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace lucid::monitor {
namespace {

// What a service has to answer in. A recorder that is stopped (SIGSTOP) costs this once a look.
std::chrono::milliseconds deadline(std::chrono::milliseconds interval) { return std::min(interval / 2, std::chrono::milliseconds(2'000)); }

}  // namespace

Monitor::Monitor(Config config, Parts parts)
    : config_(std::move(config)),
      parts_(std::move(parts)),
      host_(config_.places, parts_.clock),
      containers_(config_.cgroups, config_.places.proc, parts_.clock),
      processes_(config_.places.proc, parts_.clock),
      gauges_(parts_.metrics),
      seconds_(parts_.metrics.histogram("lucid_monitor_look_seconds", "How long a look at everything took")) {}

Monitor::~Monitor() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Monitor::start() {
  looked_steady_ms_ = parts_.clock.steady_ms();
  thread_ = std::thread([this] { run(); });
}

std::shared_ptr<const Snapshot> Monitor::latest() const {
  std::lock_guard lock(mutex_);
  return latest_;
}

std::optional<std::string> Monitor::problem() const {
  std::lock_guard lock(mutex_);
  if (!failure_.empty()) return failure_;
  std::int64_t silent = parts_.clock.steady_ms() - looked_steady_ms_;
  if (silent > 3 * config_.interval.count() + 2'000) return fmt::format("the last look was {} s ago", silent / 1'000);
  return std::nullopt;
}

// Looks come at multiples of the interval, so a slow one does not shift those after it.
void Monitor::run() {
  auto next = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    std::string failure;
    try {
      look();
    } catch (const std::exception& e) { failure = e.what(); }
    lock.lock();
    if (!failure.empty() && failure != failure_) log_.error("a look at the system failed", {{"error", failure}});
    failure_ = failure;
    looked_steady_ms_ = parts_.clock.steady_ms();
    auto now = std::chrono::steady_clock::now();
    do next += config_.interval;
    while (next <= now);
    changed_.wait_until(lock, next, [this] { return stopping_; });
  }
}

ServiceReader& Monitor::services() {
  if (!services_) services_ = std::make_unique<ServiceReader>(parts_.peers(), parts_.clock, deadline(config_.interval));
  return *services_;
}

void Monitor::look() {
  auto began = std::chrono::steady_clock::now();
  auto now = std::make_shared<Snapshot>();
  now->at_wall_ms = parts_.clock.wall_ms();

  ServiceLook said = services().look();
  ProcessReader::Look used = processes_.look(said.roots);
  services_->with_use(said.sessions, used.sessions);
  now->host = host_.look();
  now->host.processes = used.processes;
  now->containers = containers_.look();
  now->services = std::move(said.services);
  now->sessions = std::move(said.sessions);

  readings_.clear();
  append_readings(now->host, readings_);
  for (const Container& container : now->containers) append_readings(container, readings_);
  for (const Service& service : now->services) append_readings(service, readings_);
  for (const Session& session : now->sessions) append_readings(session, readings_);
  readings_.insert(readings_.end(), std::make_move_iterator(said.recording.begin()), std::make_move_iterator(said.recording.end()));

  {
    std::lock_guard lock(mutex_);
    latest_ = now;
  }
  gauges_.show(readings_);
  // Alerts come before the history: a full disk must not keep anyone from hearing of it.
  parts_.alerts.judge(readings_);
  parts_.history.append(now->at_wall_ms, readings_);
  seconds_.observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
}

}  // namespace lucid::monitor
