// X sessions: started ahead of the client for ephemeral accounts, told of by the start hook, watched, and given up together with what they leave.
#include <algorithm>

#include <fmt/format.h>

#include "rdp/server-manager/manager.hpp"

namespace lucid::server_manager {
namespace {

constexpr std::chrono::seconds kDisplayTime{25};

}  // namespace

void Manager::start_x_later(const Ref& server) {
  {
    std::lock_guard lock(mutex_);
    if (server->x_starting) return;
    server->x_starting = true;
    server->x_problem.clear();
  }
  post([this, server] { start_x(server); });
}

void Manager::start_x(const Ref& server) {
  Busy busy(*this);
  auto finish = [&](std::optional<std::string> problem) {
    std::lock_guard lock(mutex_);
    server->x_starting = false;
    if (problem) server->x_problem = *std::move(problem);
    changed_.notify_all();
  };
  try {
    const ProcessId sesman = sesman_->ensure();
    // What a sesman that died had begun comes to nothing: its successor begins again.
    auto sesman_lost = [&] { return sesman_->current() != sesman || !host_.table().alive(sesman); };
    auto again = [&] {
      host_.end(look(server), Host::Part::session);
      finish(std::nullopt);
      start_x_later(server);
    };
    Record r = look(server);
    Sesman::Started started;
    bool seen = false;
    {
      std::lock_guard password(server->password);
      r = look(server);
      if (r.state != ServerState::starting && r.state != ServerState::running) return finish("it was stopped meanwhile");
      // A password that was given out stays good: its hash is put back after our own login.
      auto hash = r.credentials_given ? host_.accounts().password_hash(r.account) : std::nullopt;
      std::string own = host_.accounts().random_password();
      host_.accounts().set_password(r.account, own);
      started = sesman_->start_session(r.account, own, r.width, r.height);
      if (hash) host_.accounts().set_password_hash(r.account, *hash);
      // Until the session's first process carries the account's number nothing tells whose it is, and a stop could not find it.
      for (int waited = 0; started.ok && !seen && waited < 150; ++waited) {
        for (const Process& p : host_.processes(r, Host::Part::session)) {
          seen = true;
          host_.cgroups().add(r.slot.text(), p.id.pid);
          std::lock_guard lock(mutex_);
          if (p.name == "xrdp-sesman") server->record.leader = p.id;
        }
        std::unique_lock lock(mutex_);
        if (!seen && changed_.wait_for(lock, std::chrono::milliseconds(20), [&] { return stopping_ || server->record.session; })) break;
      }
    }
    save(server);
    r = look(server);
    if (!started.ok && sesman_lost()) return again();
    if (!started.ok) return finish("xrdp-sesman refused the session: " + started.detail);
    // The hook tells when X is there. That X failed shows only in its process: it appears and is gone again.
    auto deadline = std::chrono::steady_clock::now() + kDisplayTime;
    bool x_seen = false;
    for (;;) {
      auto found = host_.processes(r, Host::Part::session);
      bool x_lives = std::ranges::any_of(found, [](const Process& p) { return p.name.starts_with("Xorg"); });
      bool failed = (x_seen && !x_lives) || (seen && found.empty());
      {
        std::unique_lock lock(mutex_);
        const Record& now = server->record;
        auto over = [&] { return stopping_ || now.session || (now.state != ServerState::starting && now.state != ServerState::running); };
        if (changed_.wait_for(lock, std::chrono::milliseconds(failed ? 0 : 100), over)) break;
      }
      if (sesman_lost()) return again();
      if (failed || std::chrono::steady_clock::now() > deadline) {
        {
          std::lock_guard lock(mutex_);
          server->x_problem = (failed ? "Xorg failed to start: " : "Xorg did not come up in time: ") + host_.x_log(r);
          changed_.notify_all();
        }
        host_.end(r, Host::Part::session);  // what waits in vain for X
        return finish(std::nullopt);
      }
      x_seen = x_seen || x_lives;
      seen = seen || !found.empty();
    }
    finish("");
  } catch (const Error& e) { finish(e.what()); }
}

hook::Answer Manager::answer_for(const Record& r) const {
  if (r.decision == Decision::go) return {true, host_.desktop_command(r.desktop)};
  return {false, {"this session may not start"}};
}

std::optional<hook::Answer> Manager::on_hello(const HookServer::Peer& peer, const hook::Hello& hello) {
  auto refuse = [&](const std::string& why) -> std::optional<hook::Answer> {
    log_.warn("start hook refused", {{"uid", std::to_string(peer.uid)}, {"display", to_utf8(hello.display, 20)}, {"reason", why}});
    return hook::Answer{false, {why}};
  };
  try {
    const ProcessTable& table = host_.table();
    auto display = display_number(hello.display);
    auto asking = table.one(peer.pid);
    if (!display || !asking || asking->uid != peer.uid) return refuse("no display of this account");
    // Sesman starts the hook; a program of the user that speaks like it proves nothing.
    auto leader = table.one(asking->parent);
    if (!leader || leader->uid != 0 || leader->name != "xrdp-sesman" || leader->id == sesman_->current())
      return refuse("not started by xrdp-sesman");
    Session session{.display = *display,
                    .xauthority = hello.xauthority,
                    .leader = leader->id,
                    .x_server = {},
                    .hook = asking->id,
                    .sesman = sesman_->current()};
    if (auto pid = host_.displays().x_server(*display))
      if (auto x = table.one(*pid); x && x->uid == peer.uid) session.x_server = x->id;
    if (!session.x_server) return refuse("no X server of this account runs there");
    Ref server;
    std::optional<Session> before;
    bool told = false;
    {
      std::lock_guard lock(mutex_);
      for (const auto& [id, candidate] : servers_) {
        const Record& r = candidate->record;
        if (r.uid == peer.uid && (r.state == ServerState::starting || r.state == ServerState::running)) server = candidate;
      }
      if (!server) return refuse("no server of this account runs");
      before = server->record.session;
      if (before && before->leader == session.leader) {
        told = true;  // asks again, after a restart of ours
        server->record.session->hook = session.hook;
      } else if (before && (table.alive(before->leader) || table.alive(before->x_server))) {
        return refuse(fmt::format("display :{} of this account is live; a second one would not be recorded", before->display));
      } else {
        server->record.session = session;
        server->record.leader = session.leader;
        server->record.decision = Decision::wait;
        server->record.cause.clear();
        server->x_problem.clear();
      }
    }
    Record r = look(server);
    if (!told) {
      for (const ProcessId& id : {session.leader, session.x_server, session.hook}) host_.cgroups().add(r.slot.text(), id.pid);
      for (const Process& p : ProcessTable::family(table.all(), session.leader)) host_.cgroups().add(r.slot.text(), p.id.pid);
      if (before) host_.displays().remove(before->display);
      save(server);
      watch_session(server, session);
      (r.pooled ? metrics_.display_warm : metrics_.display_cold).observe(static_cast<double>(clock_.steady_ms() - server->asked_ms) / 1000);
      tell(server, "display_ready");
    }
    if (r.decision == Decision::wait) return std::nullopt;
    return answer_for(r);
  } catch (const std::exception& e) {
    log_.error("start hook", {{"error", e.what()}});
    return hook::Answer{false, {"the manager failed"}};
  }
}

void Manager::watch_session(const Ref& server, const Session& session) {
  for (const ProcessId& id : {session.leader, session.x_server})
    reactor_.watch(id, [this, server, session] { post([this, server, session] { session_ended(server, session, "display_lost"); }); });
  // The hook has become the desktop. Where X outlives it, its user logged out; a lost X takes the desktop along.
  reactor_.watch(session.hook, [this, server, session] {
    if (host_.table().alive(session.x_server)) post([this, server, session] { session_ended(server, session, "logged_out"); });
  });
}

void Manager::session_ended(const Ref& server, const Session& session, const std::string& cause) {
  Lock operation(server->operation);
  Record r = look(server);
  if (!r.session || r.session->leader != session.leader || r.state == ServerState::stopping || r.state == ServerState::deleted) return;
  lose_session(server, r.decision == Decision::refuse ? "refused" : cause);
}

void Manager::lose_session(const Ref& server, const std::string& cause) {
  Record r = look(server);
  host_.end(r, Host::Part::session);
  {
    std::lock_guard lock(mutex_);
    server->record.session = std::nullopt;
    server->record.cause = cause;
    server->record.decision = Decision::wait;
    server->x_problem = cause == "refused" ? "its session was refused" : "its X session ended";
  }
  save(server);
  metrics_.displays_lost(cause).add();
  log_.warn("display ended", {{"id", r.id.text()}, {"display", std::to_string(r.session ? r.session->display : -1)}, {"cause", cause}});
  tell(server, cause);
  if (r.pooled) recycle(server);
}

void Manager::sesman_died() {
  metrics_.sesman_restarts.add();
  post([this] {
    std::vector<std::pair<Ref, Session>> lost;
    {
      std::lock_guard lock(mutex_);
      for (const auto& [id, server] : servers_)
        if (server->record.session && server->record.session->sesman != sesman_->current())
          lost.emplace_back(server, *server->record.session);
    }
    // Nothing finds these displays any more: a new sesman makes a new one at the next login, which nobody would record.
    for (auto& [server, session] : lost) post([this, server, session] { session_ended(server, session, "display_lost"); });
    start_sesman(std::chrono::milliseconds(0));
  });
}

void Manager::start_sesman(std::chrono::milliseconds pause) {
  reactor_.after(pause, [this] {
    post([this] {
      try {
        sesman_->ensure();
        std::lock_guard lock(mutex_);
        sesman_failures_ = 0;
      } catch (const Error& e) {
        log_.error("xrdp-sesman could not be started", {{"error", e.what()}});
        int failures = 0;
        {
          std::lock_guard lock(mutex_);
          failures = std::min(++sesman_failures_, 6);
        }
        start_sesman(std::chrono::milliseconds(500 << failures));
      }
    });
  });
}

}  // namespace lucid::server_manager
