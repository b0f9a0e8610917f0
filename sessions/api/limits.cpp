#include "sessions/api/limits.hpp"

#include <algorithm>
#include <chrono>
#include <vector>

#include <fmt/format.h>

namespace lucid::api {
namespace {

bool has_limit(const Policy& policy) { return policy.idle_timeout > 0 || policy.max_duration > 0; }

}  // namespace

std::optional<std::string> limit_reached(const Session& s, std::int64_t now) {
  if (s.stale || s.started_wall_ms == 0) return std::nullopt;
  if (s.status != Status::recording && s.status != Status::paused) return std::nullopt;
  if (s.policy.max_duration > 0 && now - s.started_wall_ms >= s.policy.max_duration * 1000)
    return fmt::format("max_duration of {} s reached", s.policy.max_duration);
  std::int64_t last = std::max(s.started_wall_ms, s.last_commit_wall_ms);
  if (s.status == Status::recording && s.policy.idle_timeout > 0 && now - last >= s.policy.idle_timeout * 1000)
    return fmt::format("idle_timeout of {} s reached", s.policy.idle_timeout);
  return std::nullopt;
}

LimitKeeper::LimitKeeper(Sessions& sessions, const Clock& clock, runtime::Log log)
    : sessions_(sessions), clock_(clock), log_(std::move(log)), thread_([this] { run(); }) {}

LimitKeeper::~LimitKeeper() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void LimitKeeper::watch(const Session& session) {
  if (session.rdp || !has_limit(session.policy)) return;  // the controller keeps those of RDP sessions: it knows when their user acts
  std::lock_guard lock(mutex_);
  watched_[session.id] = session.policy;
}

void LimitKeeper::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    try {
      look();
    } catch (const std::exception& e) { log_.warn("looking after session limits failed; trying again", {{"reason", e.what()}}); }
    lock.lock();
    wake_.wait_for(lock, std::chrono::seconds(1), [this] { return stopping_; });
  }
}

void LimitKeeper::look() {
  if (!loaded_) {
    for (const Session& session : sessions_.unsettled()) watch(session);
    loaded_ = true;
  }
  std::vector<Id> ids;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, policy] : watched_) ids.push_back(id);
  }
  for (const Id& id : ids) {
    Session session = sessions_.get(id);
    if (is_settled(session.status)) {
      std::lock_guard lock(mutex_);
      watched_.erase(id);
      continue;
    }
    auto reason = limit_reached(session, clock_.wall_ms());
    if (!reason) continue;
    try {
      sessions_.act(id, Action::stop, *reason);
      log_.info("session stopped by its policy", {{"session", id.text()}, {"reason", *reason}});
    } catch (const Error& e) {
      log_.warn("a session past its limit could not be stopped; trying again", {{"session", id.text()}, {"reason", e.what()}});
    }
  }
}

}  // namespace lucid::api
