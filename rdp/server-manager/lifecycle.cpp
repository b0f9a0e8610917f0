// One server from its account to its removal. Every function here runs with Server::operation held.
#include <algorithm>

#include <fmt/format.h>

#include "rdp/server-manager/manager.hpp"

namespace lucid::server_manager {
namespace {

constexpr int kMaxFailures = 8;
constexpr std::int64_t kSteadyMs = 60'000;  // an xrdp that ran that long starts counting anew

}  // namespace

void Manager::require_ready() {
  if (auto error = host_.problem()) throw *error;
  std::lock_guard lock(mutex_);
  if (open_problem_) throw *open_problem_;
}

void Manager::build(const Ref& server) {
  try {
    save(server);  // from here on a crash leaves a document to clean up by
    Record made = look(server);
    std::uint16_t port = ports_.take();
    {
      std::lock_guard lock(mutex_);
      server->record.port = port;
    }
    if (made.ephemeral) {
      Account account = host_.accounts().create(made.slot.text());
      std::lock_guard lock(mutex_);
      Record& r = server->record;
      r.account = account.name, r.home = account.home, r.uid = account.uid, r.gid = account.gid;
    }
    Record r = look(server);
    host_.write_files(r);
    host_.cgroups().apply(r.slot.text(), {.cpu = r.cpu, .memory_mb = r.memory_mb});
    move(server, ServerState::configuring, "");
  } catch (...) {
    try {
      erase(server);
    } catch (const std::exception& e) {
      log_.error("a half-made server could not be removed; the next start tries again", {{"error", e.what()}});
    }
    throw;
  }
}

void Manager::launch(const Ref& server) {
  Record r = look(server);
  if (r.state == ServerState::running && r.xrdp) {
    if (r.ephemeral && !r.session) start_x_later(server);
    return;
  }
  if (r.state == ServerState::deleted) throw Error(ErrorKind::not_found, "server_not_found", "there is no server of that id");
  std::int64_t begun = clock_.steady_ms();
  if (r.state != ServerState::starting) {
    std::lock_guard lock(mutex_);
    server->failures = 0;
    server->x_problem.clear();
  }
  if (r.state != ServerState::starting) move(server, ServerState::starting, "");
  try {
    sesman_->ensure();
    if (r.ephemeral && !r.session) start_x_later(server);  // meanwhile: X takes longer than xrdp
    ProcessId process = host_.start_xrdp(r);
    {
      std::lock_guard lock(mutex_);
      server->record.xrdp = process;
    }
    watch_xrdp(server);
    save(server);
    r = look(server);
    if (auto why = host_.wait_until_ready(r))
      throw Error(ErrorKind::unavailable, "start_failed", fmt::format("start xrdp of server {}: {}", r.id.text(), *why));
  } catch (const Error& e) {
    end_processes(server);
    {
      std::lock_guard lock(mutex_);
      server->record.xrdp = {};
      server->record.session = std::nullopt;
    }
    move(server, ServerState::failed, e.what());
    throw;
  }
  {
    std::lock_guard lock(mutex_);
    server->running_ms = clock_.steady_ms();
  }
  move(server, ServerState::running, "");
  metrics_.start_seconds.observe(static_cast<double>(clock_.steady_ms() - begun) / 1000);
}

bool Manager::end_processes(const Ref& server) {
  // Not while a login of ours is under way: sesman would make a session for an account whose processes were just ended.
  std::lock_guard password(server->password);
  return host_.end(look(server), Host::Part::all);
}

void Manager::watch_xrdp(const Ref& server) {
  ProcessId process = look(server).xrdp;
  reactor_.watch(process, [this, server, process] { post([this, server, process] { xrdp_ended(server, process); }); });
}

void Manager::xrdp_ended(const Ref& server, const ProcessId& process) {
  Lock operation(server->operation);
  {
    std::lock_guard lock(mutex_);
    Record& r = server->record;
    if (r.xrdp != process || (r.state != ServerState::running && r.state != ServerState::starting)) return;
    r.xrdp = {};
    ++r.restarts;
    if (clock_.steady_ms() - server->running_ms >= kSteadyMs) server->failures = 0;
  }
  metrics_.xrdp_restarts.add();
  if (look(server).state == ServerState::running) move(server, ServerState::starting, "xrdp_ended");
  retry_later(server);
}

void Manager::retry_later(const Ref& server) {
  int failures = 0;
  {
    std::lock_guard lock(mutex_);
    failures = ++server->failures;
  }
  if (failures > kMaxFailures) {
    end_processes(server);
    {
      std::lock_guard lock(mutex_);
      server->record.session = std::nullopt;
    }
    move(server, ServerState::failed, "xrdp keeps ending");
    return;
  }
  auto pause = std::chrono::milliseconds(std::min(100 << failures, 10'000));
  reactor_.after(pause, [this, server] { post([this, server] { relaunch(server); }); });
}

void Manager::relaunch(const Ref& server) {
  Lock operation(server->operation);
  Record r = look(server);
  if (r.state != ServerState::starting || r.xrdp) return;
  try {
    ProcessId process = host_.start_xrdp(r);
    {
      std::lock_guard lock(mutex_);
      server->record.xrdp = process;
    }
    watch_xrdp(server);
    save(server);
    if (auto why = host_.wait_until_ready(look(server)))
      throw Error(ErrorKind::unavailable, "start_failed", fmt::format("start xrdp of server {} again: {}", r.id.text(), *why));
  } catch (const Error& e) {
    log_.warn("xrdp could not be started again", {{"id", r.id.text()}, {"error", e.what()}});
    Record now = look(server);
    // Only this xrdp: the desktop and connections that survived the old one stay.
    if (now.xrdp)
      host_.end_processes([&] {
        auto p = host_.table().one(now.xrdp.pid);
        return p && p->id == now.xrdp ? std::vector<Process>{*p} : std::vector<Process>{};
      });
    {
      std::lock_guard lock(mutex_);
      server->record.xrdp = {};
    }
    retry_later(server);
    return;
  }
  {
    std::lock_guard lock(mutex_);
    server->running_ms = clock_.steady_ms();
  }
  move(server, ServerState::running, "");
}

void Manager::end_all(const Ref& server, const std::string& cause) {
  Record r = look(server);
  if (r.state != ServerState::stopping) move(server, ServerState::stopping, cause);
  if (!end_processes(server)) {
    move(server, ServerState::failed, "some of its processes do not end");
    throw Error(ErrorKind::unavailable, "stop_failed",
                fmt::format("stop server {}: some of its processes do not end, not even when killed", r.id.text()));
  }
  {
    std::lock_guard lock(mutex_);
    server->record.xrdp = {};
    server->record.session = std::nullopt;
    server->record.decision = Decision::wait;
    server->x_problem.clear();
  }
  move(server, ServerState::stopped, cause);
}

// Safe to repeat: a crash in the middle is finished at the next start.
void Manager::erase(const Ref& server) {
  if (look(server).state != ServerState::deleted) {
    std::lock_guard lock(mutex_);
    server->record.state = ServerState::deleted;
  }
  save(server);
  Record r = look(server);
  if (!end_processes(server))
    throw Error(ErrorKind::unavailable, "stop_failed", fmt::format("delete server {}: some of its processes do not end", r.id.text()));
  host_.erase(r);
  if (r.port != 0) {
    ports_.give_back(r.port);
    json::object resting;
    for (auto [port, since] : ports_.returned()) resting[std::to_string(port)] = since;
    documents_.put("host", "ports", json::serialize(resting));
  }
  gone(server);
}

}  // namespace lucid::server_manager
