// Stops sessions that outlive their policy: `max_duration` seconds after the first frame, or `idle_timeout` seconds after
// the last chunk (a desktop where nothing happens makes none). Looks once a second at the live sessions that have a
// limit, on a thread of its own, from construction to destruction. A restart takes up where it left off.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "lib/base/clock.hpp"
#include "lib/runtime/log.hpp"
#include "sessions/api/sessions.hpp"

namespace lucid::api {

// Why `session` must be stopped now, or nullopt. Pure.
std::optional<std::string> limit_reached(const Session& session, std::int64_t now_wall_ms);

class LimitKeeper {
 public:
  LimitKeeper(Sessions& sessions, const Clock& clock, runtime::Log log);
  ~LimitKeeper();
  // A session was started: watch it if it has a limit.
  void watch(const Session& session);

 private:
  void run();
  void look();
  Sessions& sessions_;
  const Clock& clock_;
  runtime::Log log_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false, loaded_ = false;
  std::map<Id, Policy> watched_;
  std::thread thread_;
};

}  // namespace lucid::api
