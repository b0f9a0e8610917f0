// Tells the session controller about connections that opened and closed, in order, repeating with back-off while it is away. A file per
// admitted connection (DIRECTORY/<id>) stands until its end was delivered: it survives a kill, and the next start reports those whose end
// nobody told. At most kMaxReports wait in memory; what does not fit is told by its file at the next start. Any thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/base/file_ops.hpp"
#include "lib/contracts/controller.hpp"
#include "lib/runtime/log.hpp"

namespace lucid::gateway {

class Reporter {
 public:
  using Send = std::function<void(const contracts::ConnectionReport&)>;
  static constexpr std::size_t kMaxReports = 10'000;

  Reporter(std::string directory, Send send, const Clock& clock, FileOps& files, const runtime::Log& log);
  ~Reporter();  // what was not delivered is left to the files
  void start();
  // Before start(): reports of a predecessor, and then an end for every file whose connection is not in `live`.
  void restore(std::vector<contracts::ConnectionReport> reports);
  void recover(const std::set<Id>& live);

  void admitted(const Id& connection, const Id& session, const std::string& client_address);
  void report(contracts::ConnectionReport report);
  // Stops delivering; answers what was not delivered.
  std::vector<contracts::ConnectionReport> hold();
  void go_on();
  void abandon();  // another process delivers them now
  // Waits until everything was delivered, or `grace` is over.
  void flush(std::chrono::milliseconds grace);
  std::size_t waiting() const;

 private:
  void run();
  bool deliver(const contracts::ConnectionReport& report);  // false: again later
  std::string path_of(const Id& connection) const { return directory_ + "/" + connection.text(); }

  const std::string directory_;
  const Send send_;
  const Clock& clock_;
  FileOps& files_;
  const runtime::Log& log_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<contracts::ConnectionReport> queue_;
  bool held_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace lucid::gateway
