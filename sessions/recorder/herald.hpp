// Tells the pipeline how the recordings are: a heartbeat every second while there are any, and reports as they come.
// One thread, asleep while there is nothing to tell; a pipeline that is away delays nothing but the news. Reports wait
// for it, at most 1000 of them, and do not survive a crash. Any thread; owned by the Recorder.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "lib/contracts/pipeline.hpp"
#include "lib/runtime/log.hpp"

namespace lucid::recorder {

// How the recorder is named as a lease holder.
inline constexpr const char* kHolder = "session-recorder";

class Herald {
 public:
  struct Hooks {
    std::function<std::vector<contracts::Beat>()> beats;  // empty: nothing to tell
    std::function<void(const contracts::BeatAnswer&)> answered;
  };
  Herald(std::shared_ptr<net::Client> pipeline, runtime::Log log, Hooks hooks,
         std::chrono::milliseconds interval = std::chrono::seconds(1));
  ~Herald();

  void report(const Id& session, std::string event, std::string detail);
  // A recording has begun: beats begin (again).
  void wake();

 private:
  struct Report {
    Id session;
    std::string event, detail;
  };
  void work();
  bool tell_reports();

  contracts::PipelineClient pipeline_;
  runtime::Log log_;
  Hooks hooks_;
  std::chrono::milliseconds interval_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Report> reports_;
  bool beating_ = true, stop_ = false, away_ = false;
  std::thread thread_;
};

}  // namespace lucid::recorder
