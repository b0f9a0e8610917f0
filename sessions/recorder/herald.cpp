#include "sessions/recorder/herald.hpp"

namespace lucid::recorder {

Herald::Herald(std::shared_ptr<net::Client> pipeline, runtime::Log log, Hooks hooks, std::chrono::milliseconds interval)
    : pipeline_(std::move(pipeline)), log_(std::move(log)), hooks_(std::move(hooks)), interval_(interval), thread_([this] { work(); }) {}

Herald::~Herald() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Herald::report(const Id& session, std::string event, std::string detail) {
  std::lock_guard lock(mutex_);
  if (reports_.size() == 1000) reports_.pop_front();
  reports_.push_back({session, std::move(event), std::move(detail)});
  wake_.notify_all();
}

void Herald::wake() {
  std::lock_guard lock(mutex_);
  beating_ = true;
  wake_.notify_all();
}

// True when all reports were taken or refused; false: the pipeline is away.
bool Herald::tell_reports() {
  for (;;) {
    Report report;
    {
      std::lock_guard lock(mutex_);
      if (reports_.empty() || stop_) return true;
      report = reports_.front();
    }
    try {
      pipeline_.report(report.session, report.event, report.detail);
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::unavailable || e.kind() == ErrorKind::timeout) return false;
      log_.warn("the pipeline refused a report", {{"session_id", report.session.text()}, {"event", report.event}, {"reason", e.what()}});
    }
    std::lock_guard lock(mutex_);
    if (!reports_.empty()) reports_.pop_front();
  }
}

void Herald::work() {
  auto next_beat = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (!beating_ && reports_.empty()) {
      wake_.wait(lock, [&] { return stop_ || beating_ || !reports_.empty(); });
      if (stop_) return;
    }
    lock.unlock();
    bool told = tell_reports();
    auto now = std::chrono::steady_clock::now();
    bool beating = true;
    if (now >= next_beat) {
      next_beat = now + interval_;
      auto beats = hooks_.beats();
      beating = !beats.empty();
      if (beating) {
        try {
          hooks_.answered(pipeline_.beat(kHolder, beats));
          if (away_) log_.info("the pipeline answers again", {});
          away_ = false;
        } catch (const Error& e) {
          if (!away_) log_.warn("heartbeat not taken; recording goes on", {{"reason", e.what()}});
          away_ = true;
        }
      }
    }
    lock.lock();
    if (!beating) beating_ = false;
    if (stop_) return;
    if (told && !beating_) continue;
    wake_.wait_until(lock, next_beat, [&] { return stop_ || (told && !reports_.empty()); });
  }
}

}  // namespace lucid::recorder
