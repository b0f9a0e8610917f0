#include "rdp/gateway/reporter.hpp"

#include <algorithm>

#include "lib/contracts/fields.hpp"

namespace lucid::gateway {
namespace {

constexpr std::chrono::milliseconds kFirstPause{200}, kLongestPause{10'000};

}  // namespace

Reporter::Reporter(std::string directory, Send send, const Clock& clock, FileOps& files, const runtime::Log& log)
    : directory_(std::move(directory)), send_(std::move(send)), clock_(clock), files_(files), log_(log) {
  files_.make_directories(directory_);
}

Reporter::~Reporter() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Reporter::start() {
  thread_ = std::thread([this] { run(); });
}

void Reporter::restore(std::vector<contracts::ConnectionReport> reports) {
  std::lock_guard lock(mutex_);
  for (auto& report : reports) queue_.push_back(std::move(report));
}

void Reporter::recover(const std::set<Id>& live) {
  std::set<Id> told;
  for (const auto& report : queue_)
    if (report.event == "closed") told.insert(report.connection);
  for (const std::string& name : files_.list(directory_)) {
    std::string path = directory_ + "/" + name;
    auto id = Id::parse(name);
    if (id && (live.contains(*id) || told.contains(*id))) continue;
    try {
      json::value value = parse_json(as_text(files_.read_file(path, 4'096))).value_or(json::value());
      contracts::Fields in(value);
      contracts::ConnectionReport report{.connection = id.value_or(Id()), .session = in.id("session"), .event = "closed"};
      report.cause = "gateway_stopped";
      report.client_address = in.text("client_address");
      report.duration_ms = std::max<std::int64_t>(0, clock_.wall_ms() - in.number<std::int64_t>("admitted_wall_ms"));
      if (id && in.ok() && queue_.size() < kMaxReports)
        queue_.push_back(std::move(report));
      else if (!id || !in.ok())
        files_.remove(path);  // cut short by a crash: the session it belonged to is not known
    } catch (const Error& e) { log_.warn("cannot read a connection's file", {{"file", path}, {"error", e.what()}}); }
  }
}

void Reporter::admitted(const Id& connection, const Id& session, const std::string& client_address) {
  std::string path = path_of(connection);
  try {
    File file = files_.open(path, OpenMode::create_new);
    json::object body{{"session", session.text()}, {"client_address", client_address}, {"admitted_wall_ms", clock_.wall_ms()}};
    files_.write(file, as_bytes(json::serialize(body)), path);
  } catch (const Error& e) {
    log_.warn("cannot note a connection: its end will not be told if this process is killed", {{"file", path}, {"error", e.what()}});
  }
}

void Reporter::report(contracts::ConnectionReport report) {
  {
    std::lock_guard lock(mutex_);
    if (queue_.size() >= kMaxReports) {
      log_.error("the controller has been away too long: a report is dropped",
                 {{"connection", report.connection.text()}, {"event", report.event}});
      return;
    }
    queue_.push_back(std::move(report));
  }
  changed_.notify_all();
}

std::vector<contracts::ConnectionReport> Reporter::hold() {
  std::unique_lock lock(mutex_);
  held_ = true;
  return {queue_.begin(), queue_.end()};  // one under way is among them: told twice is told once
}

void Reporter::go_on() {
  {
    std::lock_guard lock(mutex_);
    held_ = false;
  }
  changed_.notify_all();
}

void Reporter::abandon() {
  std::lock_guard lock(mutex_);
  queue_.clear();
}

void Reporter::flush(std::chrono::milliseconds grace) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, grace, [this] { return queue_.empty() || held_; });
}

std::size_t Reporter::waiting() const {
  std::lock_guard lock(mutex_);
  return queue_.size();
}

bool Reporter::deliver(const contracts::ConnectionReport& report) {
  try {
    send_(report);
  } catch (const Error& e) {
    bool refused = http_status(e.kind()) < 500 && e.kind() != ErrorKind::timeout && e.kind() != ErrorKind::rate_limited &&
                   e.kind() != ErrorKind::unauthorized;
    if (!refused) return false;
    log_.warn("the controller refuses a report", {{"connection", report.connection.text()}, {"event", report.event}, {"error", e.what()}});
  } catch (const std::exception& e) {
    log_.error("a report failed unexpectedly", {{"connection", report.connection.text()}, {"error", e.what()}});
  }
  if (report.event == "closed") try {
      files_.remove(path_of(report.connection));
    } catch (const Error& e) { log_.warn("cannot remove a connection's file", {{"error", e.what()}}); }
  return true;
}

void Reporter::run() {
  std::chrono::milliseconds pause = kFirstPause;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || (!held_ && !queue_.empty()); });
    if (stopping_) return;
    contracts::ConnectionReport next = queue_.front();
    lock.unlock();
    bool done = deliver(next);
    lock.lock();
    if (done) {
      // Only this thread takes reports away, except for abandon().
      if (!queue_.empty()) queue_.pop_front();
      pause = kFirstPause;
      changed_.notify_all();
    } else {
      changed_.wait_for(lock, pause, [this] { return stopping_; });
      pause = std::min(pause * 2, kLongestPause);
    }
  }
}

}  // namespace lucid::gateway
