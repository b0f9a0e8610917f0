// Servers made ahead: account, xrdp and X are there and the hook waits for its decision, so a request that fits pays for none of it.
#include <algorithm>

#include "rdp/server-manager/manager.hpp"

namespace lucid::server_manager {

// With mutex_ held. Taking is the change of one document (its id), which the caller stores.
Manager::Ref Manager::take_warm(const contracts::ServerRequest& request, const std::string& desktop) {
  for (auto it = servers_.begin(); it != servers_.end(); ++it) {
    Ref server = it->second;
    Record& r = server->record;
    if (!r.pooled || r.state != ServerState::running || !r.session || r.decision != Decision::wait) continue;
    if (r.desktop != desktop || r.color_depth != request.color_depth || !host_.table().alive(r.session->x_server)) continue;
    servers_.erase(it);
    r.id = request.id;
    r.pooled = false;
    r.warm = true;
    r.keep_home = request.keep_home;
    r.width = request.width, r.height = request.height;  // the client's screen: xorgxrdp resizes when it connects
    r.cpu = request.cpu, r.memory_mb = request.memory_mb;
    r.created_wall_ms = r.since_wall_ms = clock_.wall_ms();
    server->asked_ms = clock_.steady_ms();
    servers_.emplace(request.id, server);
    return server;
  }
  return nullptr;
}

void Manager::refill_later(std::chrono::milliseconds delay) {
  if (config_.warm_servers == 0 || stopping_) return;
  reactor_.after(delay, [this] { post([this] { refill(); }); });
}

void Manager::refill() {
  if (host_.problem() || busy_ != 0) return;  // the last creation's end asks again
  Ref server = std::make_shared<Server>();
  Lock operation(server->operation);
  {
    std::lock_guard lock(mutex_);
    if (refilling_ || open_problem_) return;
    int pooled = static_cast<int>(std::ranges::count_if(servers_, [](const auto& s) { return s.second->record.pooled; }));
    if (pooled >= config_.warm_servers) return;
    refilling_ = true;
    Record& r = server->record;
    r.slot = r.id = Id::make(clock_, random_);
    r.pooled = true;
    r.created_wall_ms = r.since_wall_ms = clock_.wall_ms();
    server->asked_ms = clock_.steady_ms();
    servers_.emplace(r.id, server);
  }
  bool ok = false;
  try {
    server->record.desktop = host_.choose_desktop("");
    build(server);
    launch(server);
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(30), [&] { return stopping_ || server->record.session || !server->x_problem.empty(); });
    ok = server->record.session.has_value();
    if (!ok) log_.warn("a warm server got no display", {{"reason", server->x_problem}});
  } catch (const std::exception& e) { log_.warn("a warm server could not be made", {{"error", e.what()}}); }
  if (!ok && !stopping_) {
    try {
      recycle(server);
    } catch (const std::exception& e) { log_.error("a warm server could not be removed", {{"error", e.what()}}); }
  }
  int failures = 0;
  {
    std::lock_guard lock(mutex_);
    refilling_ = false;
    failures = refill_failures_ = ok ? 0 : std::min(refill_failures_ + 1, 5);
  }
  count();
  refill_later(std::chrono::milliseconds(ok ? 100 : 2000 << failures));
}

// With Server::operation held. A pooled server that is of no use any more goes; another takes its place.
void Manager::recycle(const Ref& server) {
  Record r = look(server);
  if (!r.pooled || r.state == ServerState::deleted) return;
  erase(server);
  refill_later(std::chrono::milliseconds(1000));
}

}  // namespace lucid::server_manager
