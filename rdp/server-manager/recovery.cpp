// What the next manager finds: running servers are adopted, half-made ones removed, half-ended ones ended, and what has no document (accounts,
// directories, processes, X locks, sockets, cgroups) is removed.
#include <algorithm>
#include <set>

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "rdp/server-manager/manager.hpp"

namespace lucid::server_manager {
namespace {

// Every user id of this host's own passwd file and of whoever NSS can list.
std::set<uid_t> known_users() {
  std::set<uid_t> known;
  ::setpwent();
  while (const passwd* entry = ::getpwent()) known.insert(entry->pw_uid);
  ::endpwent();
  return known;
}

}  // namespace

void Manager::open() {
  for (std::string from;;) {
    auto page = documents_.scan("servers", {.from = from, .limit = 100});
    for (const store::Document& document : page) {
      auto server = std::make_shared<Server>();
      server->record = decode_record(document.json);
      server->asked_ms = server->running_ms = clock_.steady_ms();
      if (server->record.port != 0) ports_.reserve(server->record.port);
      servers_.emplace(server->record.id, server);
    }
    if (page.size() < 100) break;
    from = page.back().key + '\0';
  }
  if (auto kept = documents_.get("host", "ports"))
    if (auto value = parse_json(kept->json); value && value->is_object()) {
      std::map<std::uint16_t, std::int64_t> resting;
      for (const auto& [port, since] : value->get_object())
        if (since.is_int64()) resting[static_cast<std::uint16_t>(std::atoi(std::string(port).c_str()))] = since.get_int64();
      ports_.restore(resting);
    }
  exposure_.emplace(metrics_.all, [this] { update_gauges(); });
  if (auto error = host_.problem()) {
    log_.warn("no RDP servers can be made here", {{"reason", error->what()}});
    return;
  }
  try {
    host_lock_ = host_.lock_host();
    host_.prepare_certificate(clock_.wall_ms());
    certificate_ready_ = true;
    std::string hook = host_.install_hook();
    sesman_ = std::make_unique<Sesman>(config_.paths, hook, documents_, reactor_, [this] { sesman_died(); });
    sesman_->adopt();
    hooks_ = std::make_unique<HookServer>(config_.paths.run + "/hook.sock",
                                          [this](const HookServer::Peer& peer, const hook::Hello& hello) { return on_hello(peer, hello); });
  } catch (const Error& e) {
    log_.error("no RDP servers can be made", {{"reason", e.what()}});
    open_problem_ = e;
    return;
  }
  if (host_.cgroups().problem()) log_.warn("limits of servers cannot be set", {{"reason", *host_.cgroups().problem()}});
  metrics_.cgroups_writable.set(host_.cgroups().problem() ? 0 : 1);
  std::vector<Ref> all;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, server] : servers_) all.push_back(server);
  }
  for (const Ref& server : all) try {
      Lock operation(server->operation);
      recover(server);
    } catch (const std::exception& e) {
      log_.error("a server could not be taken over", {{"id", look(server).id.text()}, {"error", e.what()}});
    }
  // Sesman is started for the first server, or for what may need it from before: where nobody wants a desktop, none stands about.
  bool from_before = !all.empty() || !host_.accounts().ours().empty();
  if (from_before || config_.warm_servers > 0) try {
      sesman_->ensure();
      remove_orphans();
    } catch (const Error& e) {
      // Where somebody else's sesman runs, accounts and displays without a document of ours may be in use.
      log_.error("xrdp-sesman could not be started; orphans are not looked for", {{"reason", e.what()}});
      start_sesman(std::chrono::milliseconds(1000));
    }
  refill_later(std::chrono::milliseconds(0));
}

void Manager::recover(const Ref& server) {
  Record r = look(server);
  using enum ServerState;
  bool useless = r.pooled && (r.state != running || !r.session || config_.warm_servers == 0);
  if (r.state == creating || r.state == deleted || useless) {
    // Made but in part, or removed but in part. The account may be there without being in the document.
    for (const Account& account : host_.accounts().ours())
      if (account.gecos == std::string(kGecosPrefix) + r.slot.text() && r.ephemeral) {
        std::lock_guard lock(mutex_);
        Record& mine = server->record;
        mine.account = account.name, mine.home = account.home, mine.uid = account.uid, mine.gid = account.gid;
      }
    erase(server);
    return;
  }
  host_.write_files(r);  // settings may name another certificate now
  if (r.state == stopping) return end_all(server, r.cause);
  if (r.state == configuring || r.state == stopped || r.state == failed) {
    host_.end(r, Host::Part::all);
    return;
  }
  auto argv = host_.table().argv(r.xrdp.pid);
  bool xrdp_lives = host_.table().alive(r.xrdp) && std::ranges::find(argv, host_.directory(r.slot) + "/xrdp.ini") != argv.end();
  if (r.session) {
    bool reachable =
        r.session->sesman == sesman_->current() && host_.table().alive(r.session->leader) && host_.table().alive(r.session->x_server);
    if (reachable) {
      watch_session(server, *r.session);
    } else {
      lose_session(server, "display_lost");
      if (r.pooled) return;
    }
  }
  log_.info("server adopted", {{"id", r.id.text()}, {"xrdp", xrdp_lives ? "lives" : "ended"}, {"display", r.session ? "known" : "none"}});
  if (xrdp_lives) {
    if (r.state == starting && !host_.wait_until_ready(r)) move(server, running, "");
    watch_xrdp(server);
  } else {
    {
      std::lock_guard lock(mutex_);
      server->record.xrdp = {};
      if (r.state == running) ++server->record.restarts;
    }
    if (r.state == running) move(server, starting, "xrdp_ended");
    reactor_.after(std::chrono::milliseconds(0), [this, server] { post([this, server] { relaunch(server); }); });
  }
  // Its X was being started: the hook that waits will ask again by itself; if there is none, X is started anew.
  if (r.ephemeral && !r.session && r.cause.empty() && host_.processes(r, Host::Part::session).empty()) start_x_later(server);
}

void Manager::remove_orphans() {
  std::set<std::string> known;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, server] : servers_) known.insert(server->record.slot.text());
  }
  auto note = [&](const std::string& kind, const std::string& what) {
    metrics_.orphans_removed.add();
    log_.warn("orphan removed", {{"kind", kind}, {"what", what}});
  };
  // xrdp processes of servers that are known no more.
  const std::string servers = config_.paths.data + "/servers/";
  host_.end_processes([&] {
    std::vector<Process> found;
    for (Process& p : host_.table().all()) {
      if (p.name != "xrdp" || p.uid != 0) continue;
      for (const std::string& argument : host_.table().argv(p.id.pid))
        if (argument.starts_with(servers) && !known.contains(argument.substr(servers.size(), 36))) {
          found.push_back(std::move(p));
          break;
        }
    }
    return found;
  });
  std::set<uid_t> uids;
  for (const Account& account : host_.accounts().ours()) try {
      if (known.contains(account.gecos.substr(kGecosPrefix.size()))) continue;
      Record r;
      r.slot = *Id::parse(std::string_view(account.gecos).substr(kGecosPrefix.size()));
      r.account = account.name, r.home = account.home, r.uid = account.uid, r.gid = account.gid;
      host_.end(r, Host::Part::all);
      host_.erase(r);
      uids.insert(account.uid);
      note("account", account.name);
    } catch (const Error& e) { log_.error("an orphan could not be removed", {{"account", account.name}, {"error", e.what()}}); }
  for (const std::string& name : system_files().list(config_.paths.data + "/servers"))
    if (!known.contains(name)) {
      system_files().remove_tree(servers + name);
      note("directory", name);
    }
  for (int display : host_.displays().orphans(uids, known_users(), host_.table())) {
    host_.displays().remove(display);
    note("display", ":" + std::to_string(display));
  }
  for (const std::string& name : host_.cgroups().names())
    if (Id::parse(name) && !known.contains(name)) {
      host_.end_processes([&] {
        std::vector<Process> found;
        for (pid_t pid : host_.cgroups().members(name))
          if (auto p = host_.table().one(pid)) found.push_back(*std::move(p));
        return found;
      });
      host_.cgroups().remove(name);
      note("cgroup", name);
    }
}

}  // namespace lucid::server_manager
