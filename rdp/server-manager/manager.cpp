#include "rdp/server-manager/manager.hpp"

#include <fmt/format.h>
#include <unistd.h>

namespace lucid::server_manager {

using contracts::ServerRequest;
using contracts::ServerStatus;

namespace {

constexpr std::array kShown{ServerState::creating, ServerState::configuring, ServerState::starting, ServerState::running,
                            ServerState::stopping, ServerState::stopped,     ServerState::failed};

bool lives(ServerState state) { return state == ServerState::starting || state == ServerState::running || state == ServerState::stopping; }

}  // namespace

Manager::Manager(Config config, store::Documents& documents, const Clock& clock, RandomSource& random, runtime::Metrics& metrics)
    : config_(std::move(config)),
      documents_(documents),
      clock_(clock),
      random_(random),
      metrics_(metrics),
      events_(documents),
      ports_(config_.first_port, config_.last_port, clock, can_listen),
      host_(config_, random),
      workers_(8) {}

Manager::~Manager() { finish_work(); }

void Manager::finish_work() {
  stopping_ = true;
  events_.stop();
  {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  }
  workers_.stop();
}

void Manager::close() {
  finish_work();
  std::vector<Ref> pooled;
  bool needed = false;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, server] : servers_) {
      if (server->record.pooled)
        pooled.push_back(server);
      else
        needed = needed || lives(server->record.state);
    }
  }
  for (const Ref& server : pooled) try {
      Lock operation(server->operation);
      erase(server);
    } catch (const std::exception& e) {
      log_.error("a warm server could not be removed; the next start tries again", {{"error", e.what()}});
    }
  if (needed || !sesman_) return;
  ProcessId sesman = sesman_->current();
  host_.end_processes([&] {
    auto p = host_.table().one(sesman.pid);
    return p && p->id == sesman ? std::vector<Process>{*p} : std::vector<Process>{};
  });
  // No hook waits any more that would look for us there.
  for (const std::string& directory : {config_.paths.run, config_.paths.hook_fallback}) try {
      system_files().remove_tree(directory);
    } catch (const Error& e) { log_.warn("a run directory stays", {{"directory", directory}, {"error", e.what()}}); }
}

void Manager::post(std::function<void()> work) {
  if (stopping_) return;
  workers_.post([this, work = std::move(work)] {
    if (stopping_) return;
    try {
      work();
    } catch (const std::exception& e) { log_.error("background work failed", {{"error", e.what()}}); }
  });
}

Manager::Ref Manager::find(const Id& id) {
  std::lock_guard lock(mutex_);
  auto it = servers_.find(id);
  if (it == servers_.end() || it->second->record.pooled)
    throw Error(ErrorKind::not_found, "server_not_found", "there is no server of that id");
  return it->second;
}

Record Manager::look(const Ref& server) {
  std::lock_guard lock(mutex_);
  return server->record;
}

void Manager::save(const Ref& server) {
  std::lock_guard saving(server->saving);
  Record now = look(server);
  documents_.put("servers", now.slot.text(), encode(now));
}

void Manager::move(const Ref& server, ServerState to, const std::string& cause) {
  Record before;
  {
    std::lock_guard lock(mutex_);
    Record& r = server->record;
    before = r;
    if (!may_move(r.state, to))
      throw Error(ErrorKind::conflict, "illegal_transition",
                  fmt::format("server {}: {} cannot become {}", r.id.text(), contracts::name(r.state), contracts::name(to)));
    r.state = to;
    r.cause = cause;
    r.since_wall_ms = clock_.wall_ms();
  }
  save(server);
  tell(server, cause);
  log_.info("server", {{"id", before.id.text()}, {"state", contracts::name(to)}, {"cause", cause}, {"account", before.account}});
}

void Manager::tell(const Ref& server, const std::string& cause) {
  Record now = look(server);
  if (!now.pooled) events_.add(now.id, now.state, cause);
  count();
  std::lock_guard lock(mutex_);
  changed_.notify_all();
}

void Manager::gone(const Ref& server) {
  Record last = look(server);
  documents_.remove("servers", last.slot.text());
  {
    std::lock_guard lock(mutex_);
    server->record.state = ServerState::deleted;
    servers_.erase(last.id);
    changed_.notify_all();
  }
  if (!last.pooled) events_.add(last.id, ServerState::deleted, "");
  count();
}

void Manager::count() {
  std::map<ServerState, int> states;
  int warm = 0;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, server] : servers_) {
      if (server->record.pooled)
        warm += server->record.session.has_value() ? 1 : 0;
      else
        ++states[server->record.state];
    }
  }
  for (ServerState state : kShown) metrics_.servers(contracts::name(state)).set(states[state]);
  metrics_.warm.set(warm);
}

void Manager::update_gauges() {
  count();
  PortPool::Use ports = ports_.use();
  metrics_.ports_in_use.set(static_cast<double>(ports.taken));
  metrics_.ports_resting.set(static_cast<double>(ports.resting));
  metrics_.ports_limit.set(static_cast<double>(ports.all));
  metrics_.warm_wanted.set(config_.warm_servers);
  metrics_.servers_limit.set(config_.max_servers);
  if (certificate_ready_) metrics_.certificate_expiry().set(static_cast<double>(host_.certificate_expires_wall_ms()) / 1000);
}

Manager::Created Manager::create(const ServerRequest& request) {
  {
    std::lock_guard lock(mutex_);
    if (auto it = servers_.find(request.id); it != servers_.end() && !it->second->record.pooled)
      return {status_of(it->second->record), false};
  }
  require_ready();
  std::string desktop = host_.choose_desktop(request.desktop);
  std::optional<Account> named;
  if (!request.account.empty()) {
    named = host_.accounts().find(request.account);
    if (!named || named->uid < 1000 || named->uid == 65'534)
      throw Error(ErrorKind::invalid, "account_unknown",
                  "make an RDP server for account " + request.account + ": there is no such user here")
          .with_fields({{"/account", "must name an existing account that is not a system one"}});
  }
  Busy busy(*this);
  auto fresh = std::make_shared<Server>();
  Ref server;
  Lock operation(fresh->operation);  // before it can be found
  {
    std::lock_guard lock(mutex_);
    if (auto it = servers_.find(request.id); it != servers_.end()) return {status_of(it->second->record), false};
    int taken = 0;
    for (const auto& [id, other] : servers_) {
      const Record& r = other->record;
      if (!r.pooled) ++taken;
      if (named && !r.ephemeral && r.uid == named->uid)
        throw Error(ErrorKind::conflict, "account_in_use",
                    fmt::format("make an RDP server for account {}: server {} has it; an account has one desktop", r.account, r.id.text()));
    }
    if (taken >= config_.max_servers)
      throw Error(ErrorKind::conflict, "limit_reached",
                  fmt::format("make an RDP server: {} exist, which is the limit (MAX_CONCURRENT_SERVERS)", taken));
    server = named ? nullptr : take_warm(request, desktop);
    if (!server) {
      server = fresh;
      Record& r = server->record;
      r.slot = r.id = request.id;
      r.ephemeral = !named;
      if (named) r.account = named->name, r.home = named->home, r.uid = named->uid, r.gid = named->gid;
      r.keep_home = request.keep_home || named.has_value();
      r.desktop = desktop;
      r.width = request.width, r.height = request.height, r.color_depth = request.color_depth;
      r.cpu = request.cpu, r.memory_mb = request.memory_mb;
      r.created_wall_ms = r.since_wall_ms = clock_.wall_ms();
      server->asked_ms = clock_.steady_ms();
      servers_.emplace(request.id, server);
    }
  }
  if (server != fresh) {  // a warm one: it runs
    try {
      save(server);
    } catch (...) {
      std::lock_guard lock(mutex_);
      servers_.erase(request.id);
      server->record.id = server->record.slot;
      server->record.pooled = true;
      server->record.warm = false;
      servers_.emplace(server->record.id, server);
      throw;
    }
    Record r = look(server);
    host_.cgroups().apply(r.slot.text(), {.cpu = r.cpu, .memory_mb = r.memory_mb});
    tell(server, "");
    metrics_.created_warm.observe(static_cast<double>(clock_.steady_ms() - server->asked_ms) / 1000);
    return {status_of(look(server)), true};
  }
  build(server);
  metrics_.created_cold.observe(static_cast<double>(clock_.steady_ms() - server->asked_ms) / 1000);
  return {status_of(look(server)), true};
}

ServerStatus Manager::act(const Id& id, std::string_view action) {
  Ref server = find(id);
  if (auto error = host_.problem()) throw *error;
  Lock operation(server->operation);
  Record r = look(server);
  if (r.state == ServerState::deleted) throw Error(ErrorKind::not_found, "server_not_found", "there is no server of that id");
  if (action == "stop" || action == "restart")
    if (r.state != ServerState::stopped && r.state != ServerState::configuring) end_all(server, action == "stop" ? "" : "restart");
  if (action == "stop" && look(server).state == ServerState::configuring) end_all(server, "");
  if (action == "start" || action == "restart") {
    require_ready();
    Busy busy(*this);
    launch(server);
  }
  return status_of(look(server));
}

contracts::ServerDisplay Manager::wait_for_display(const Id& id, std::chrono::milliseconds wait) {
  Ref server = find(id);
  std::unique_lock lock(mutex_);
  const Record& r = server->record;
  auto over = [&] { return stopping_ || r.session || !server->x_problem.empty() || !lives(r.state); };
  changed_.wait_for(lock, wait, over);
  if (r.session) return *status_of(r).display;
  std::string why = server->x_problem;
  if (why.empty() && !lives(r.state)) why = fmt::format("it is {}; start it first", contracts::name(r.state));
  if (why.empty()) why = r.ephemeral ? "its X server has not come up yet" : "nobody has logged in as " + r.account + " yet";
  throw Error(ErrorKind::unavailable, "display_unavailable", fmt::format("wait for the display of server {}: {}", id.text(), why))
      .with_retry_after(std::chrono::seconds(1));
}

void Manager::release(const Id& id, bool go) {
  Ref server = find(id);
  require_ready();
  Decision wanted = go ? Decision::go : Decision::refuse;
  std::optional<Session> session;
  {
    std::lock_guard lock(mutex_);
    Record& r = server->record;
    if (r.decision == wanted) return;  // a hook that still asks gets it with its next question
    if (r.decision != Decision::wait)
      throw Error(ErrorKind::conflict, "already_decided",
                  fmt::format("release server {}: it was answered {} before", id.text(), name(r.decision)));
    if (!r.session)
      throw Error(ErrorKind::conflict, "no_display", fmt::format("release server {}: no display of it waits for a decision", id.text()));
    r.decision = wanted;
    session = r.session;
  }
  try {
    save(server);
  } catch (...) {
    std::lock_guard lock(mutex_);
    server->record.decision = Decision::wait;
    throw;
  }
  hooks_->answer(session->hook.pid, answer_for(look(server)));
  tell(server, go ? "released" : "refused");
}

contracts::Credentials Manager::credentials(const Id& id) {
  Ref server = find(id);
  require_ready();
  std::lock_guard password(server->password);
  Record r = look(server);
  if (!r.ephemeral)
    throw Error(ErrorKind::conflict, "named_account",
                fmt::format("make a password for server {}: {} is a named account and keeps its own", id.text(), r.account));
  if (r.state == ServerState::creating || r.state == ServerState::deleted)
    throw Error(ErrorKind::conflict, "illegal_transition", fmt::format("make a password for server {}: it has no account now", id.text()));
  std::string text = host_.accounts().random_password();
  host_.accounts().set_password(r.account, text);
  {
    std::lock_guard lock(mutex_);
    server->record.credentials_given = true;
  }
  save(server);
  return {r.account, text};
}

ServerStatus Manager::status(const Id& id) { return status_of(look(find(id))); }

Manager::Page Manager::list(const std::string& cursor, std::size_t limit) {
  std::lock_guard lock(mutex_);
  Page page;
  auto end = cursor.empty() ? servers_.end() : servers_.lower_bound(Id::parse(cursor).value_or(Id{}));
  for (auto it = std::make_reverse_iterator(end); it != servers_.rend(); ++it) {
    if (it->second->record.pooled) continue;
    if (page.servers.size() == limit) {
      page.next = page.servers.back().id.text();
      break;
    }
    page.servers.push_back(status_of(it->second->record));
  }
  return page;
}

json::value Manager::sessions(const Id& id) {
  Record r = look(find(id));
  json::array displays, processes;
  if (r.session) displays.push_back(json::value(":" + std::to_string(r.session->display)));
  for (const Process& p : host_.processes(r, Host::Part::all))
    processes.push_back(json::object{{"pid", p.id.pid}, {"name", to_utf8(p.name, 16)}, {"rss_bytes", p.rss_bytes}, {"cpu_ms", p.cpu_ms}});
  return json::object{{"displays", std::move(displays)}, {"processes", std::move(processes)}};
}

void Manager::message(const Id& id, const std::string& text) {
  Record r = look(find(id));
  require_ready();
  if (!r.session || r.state != ServerState::running)
    throw Error(ErrorKind::conflict, "no_display", fmt::format("show a message on server {}: it has no display", id.text()));
  if (::access("/usr/bin/xmessage", X_OK) != 0)
    throw Error(ErrorKind::unavailable, "package_missing",
                "show a message: /usr/bin/xmessage is not there; install the Debian package x11-utils (apt-get install x11-utils)");
  // Through stdin: a text that begins with '-' is no option.
  ProcessId shown =
      start_detached({.argv = {"/usr/bin/setpriv", "--reuid", std::to_string(r.uid), "--regid", std::to_string(r.gid), "--clear-groups",
                               "--", "/usr/bin/xmessage", "-center", "-timeout", "120", "-title", "Message", "-file", "-"},
                      .environment = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + r.home,
                                      "DISPLAY=:" + std::to_string(r.session->display), "XAUTHORITY=" + r.session->xauthority},
                      .log = host_.directory(r.slot) + "/message.log",
                      .input = text});
  host_.cgroups().add(r.slot.text(), shown.pid);
  reactor_.watch(shown, [] {});
}

void Manager::remove(const Id& id) {
  Ref server = find(id);
  if (auto error = host_.problem()) throw *error;
  Lock operation(server->operation);
  Record r = look(server);
  if (r.state == ServerState::deleted) throw Error(ErrorKind::not_found, "server_not_found", "there is no server of that id");
  if (lives(r.state))
    throw Error(ErrorKind::conflict, "server_live",
                fmt::format("delete server {}: it is {}; stop it first", id.text(), contracts::name(r.state)));
  erase(server);
  refill_later(std::chrono::milliseconds(300));
}

std::optional<std::string> Manager::problem() {
  if (auto error = host_.problem()) return error->what();
  std::lock_guard lock(mutex_);
  if (open_problem_) return open_problem_->what();
  if (sesman_)
    if (auto why = sesman_->problem()) return why;
  return std::nullopt;
}

std::size_t Manager::warm_ready() {
  std::lock_guard lock(mutex_);
  std::size_t ready = 0;
  for (const auto& [id, server] : servers_)
    if (server->record.pooled && server->record.session && server->record.state == ServerState::running) ++ready;
  return ready;
}

}  // namespace lucid::server_manager
