// What must happen once a state is reached, done by one thread and repeated with back-off until it succeeded: so a
// request never fails because another service is away for a moment, and a restart takes up where the last one ended.
#include <algorithm>

#include "sessions/pipeline/recording.hpp"

namespace lucid::pipeline {
namespace {

constexpr std::int64_t kFirstRetryMs = 100;
constexpr std::int64_t kLastRetryMs = 2'000;

}  // namespace

void Pipeline::wake(const Id& session) {
  {
    std::lock_guard lock(work_mutex_);
    work_[session] = {clock_.steady_ms(), 0};
  }
  work_changed_.notify_one();
}

void Pipeline::follow_up_loop() {
  std::unique_lock lock(work_mutex_);
  while (!stopping_) {
    if (work_.empty()) {
      work_changed_.wait(lock);
      continue;
    }
    auto due = std::min_element(work_.begin(), work_.end(), [](const auto& a, const auto& b) { return a.second.due_ms < b.second.due_ms; });
    std::int64_t wait = due->second.due_ms - clock_.steady_ms();
    if (wait > 0) {
      work_changed_.wait_for(lock, std::chrono::milliseconds(wait));
      continue;
    }
    Id session = due->first;
    int attempt = due->second.attempt;
    work_.erase(due);
    lock.unlock();
    bool done = follow_up(session);
    lock.lock();
    if (!done && !work_.contains(session))
      work_[session] = {clock_.steady_ms() + std::min(kFirstRetryMs << std::min(attempt, 10), kLastRetryMs), attempt + 1};
  }
}

bool Pipeline::follow_up(const Id& session) {
  try {
    auto r = find(session);
    std::unique_lock lock(r->mutex);
    if (r->removed) return true;
    switch (r->state) {
      case State::starting: lock.unlock(); return start(r).state != State::starting;
      case State::pausing:
        lock.unlock();
        outside_.pause(session);
        lock.lock();
        if (r->state == State::pausing) move(*r, Trigger::paused, "");
        return true;
      case State::stopping:
        if (r->ended) {  // the end chunk came before the stop was noted
          move(*r, Trigger::ended, "");
          return false;
        }
        lock.unlock();
        try {
          outside_.stop(session);
        } catch (const Error& e) {
          if (e.kind() != ErrorKind::not_found) throw;
          lock.lock();
          // The recorder knows nothing of it and nothing more can come: finish what there is.
          if (r->state == State::stopping && !r->ended) move(*r, Trigger::ended, "the recorder has no such recording");
          return false;
        }
        return true;  // the commit of the end chunk goes on from here
      case State::stopped:
        if (r->finalised) return true;
        if (r->next_sequence > 0) {
          lock.unlock();
          outside_.finish(session);
          lock.lock();
        }
        r->finalised = true;
        r->alarm.clear();
        save(*r);
        return true;
      default: return true;
    }
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::not_found && e.code() == "recording_not_found") return true;
    metrics_.follow_up_retries.add();
    return false;
  }
}

}  // namespace lucid::pipeline
