// rdp-server-manager's logic, without HTTP: RDP servers from request to removal. Every transition is in Documents before it is acted upon or
// answered, so that after kill -9 the next manager adopts what runs, finishes what was half done and removes what nobody knows (recovery.cpp).
// Ending a Manager leaves servers, X sessions and sesman running: they are not ours to end with us. Thread-safe; calls block and throw
// lucid::Error. Lifecycle steps of one server follow each other (Server::operation); everything it shows is guarded by mutex_.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>

#include "lib/base/clock.hpp"
#include "lib/net/worker_pool.hpp"
#include "lib/runtime/exposure.hpp"
#include "lib/runtime/log.hpp"
#include "rdp/server-manager/event_ring.hpp"
#include "rdp/server-manager/hook_server.hpp"
#include "rdp/server-manager/host.hpp"
#include "rdp/server-manager/manager_metrics.hpp"
#include "rdp/server-manager/port_pool.hpp"
#include "rdp/server-manager/reactor.hpp"
#include "rdp/server-manager/sesman.hpp"

namespace lucid::server_manager {

class Manager {
 public:
  Manager(Config config, store::Documents& documents, const Clock& clock, RandomSource& random, runtime::Metrics& metrics);
  ~Manager();

  // Ends what nobody uses: the pool, and sesman when no server runs. For a stop on request; servers that run are left running.
  void close();

  // Adopts, cleans up, listens for hooks, then fills the pool in the background. Once, before any other call.
  void open();

  struct Created {
    contracts::ServerStatus status;
    bool created = false;
  };
  Created create(const contracts::ServerRequest& request);
  contracts::ServerStatus act(const Id& id, std::string_view action);  // start stop restart
  contracts::ServerDisplay wait_for_display(const Id& id, std::chrono::milliseconds wait);
  void release(const Id& id, bool go);
  contracts::Credentials credentials(const Id& id);
  contracts::ServerStatus status(const Id& id);
  struct Page {
    std::vector<contracts::ServerStatus> servers;
    std::string next;
  };
  Page list(const std::string& cursor, std::size_t limit);  // newest first; servers of the pool are not shown
  json::value sessions(const Id& id);
  void message(const Id& id, const std::string& text);
  void remove(const Id& id);
  contracts::ServerEvents events(std::uint64_t after, std::chrono::milliseconds wait) { return events_.after(after, wait); }
  std::optional<std::string> problem();  // for /health
  std::string fingerprint() const { return host_.fingerprint(); }
  std::size_t warm_ready();

 private:
  struct Server {
    std::mutex operation;  // one lifecycle step at a time
    std::mutex saving;     // the newest record is the one that is stored
    std::mutex password;   // who may set it
    Record record;         // guarded by mutex_
    // Guarded by mutex_; live only.
    bool x_starting = false;
    std::string x_problem;        // why the display did not come up
    int failures = 0;             // of xrdp in a row
    std::int64_t asked_ms = 0;    // steady clock: when this was asked for
    std::int64_t running_ms = 0;  // when xrdp last became ready
  };
  using Ref = std::shared_ptr<Server>;
  using Lock = std::unique_lock<std::mutex>;

  // manager.cpp
  void finish_work();      // background work ends; nothing new begins
  Ref find(const Id& id);  // Error{not_found, "server_not_found"}
  Record look(const Ref& server);
  void save(const Ref& server);
  void move(const Ref& server, ServerState to, const std::string& cause);  // durable, then told as an event; Error{conflict} when not legal
  void tell(const Ref& server, const std::string& cause);
  void gone(const Ref& server);
  void count();
  void update_gauges();

  // lifecycle.cpp: with Server::operation held
  void require_ready();
  void build(const Ref& server);
  void launch(const Ref& server);
  bool end_processes(const Ref& server);  // all of them; false when some stay
  void end_all(const Ref& server, const std::string& cause);
  void erase(const Ref& server);
  void xrdp_ended(const Ref& server, const ProcessId& process);
  void relaunch(const Ref& server);
  void retry_later(const Ref& server);
  void watch_xrdp(const Ref& server);

  // x_session.cpp
  void start_x(const Ref& server);
  void start_x_later(const Ref& server);
  std::optional<hook::Answer> on_hello(const HookServer::Peer& peer, const hook::Hello& hello);
  hook::Answer answer_for(const Record& record) const;
  void watch_session(const Ref& server, const Session& session);
  void session_ended(const Ref& server, const Session& session, const std::string& cause);
  void lose_session(const Ref& server, const std::string& cause);
  void sesman_died();
  void start_sesman(std::chrono::milliseconds pause);

  // recovery.cpp
  void recover(const Ref& server);
  void remove_orphans();

  // warm_pool.cpp
  Ref take_warm(const contracts::ServerRequest& request, const std::string& desktop);
  void refill_later(std::chrono::milliseconds delay);
  void refill();
  void recycle(const Ref& server);
  struct Busy {  // creations under way: the pool waits for them
    explicit Busy(Manager& m) : manager(m) { ++manager.busy_; }
    ~Busy() {
      if (--manager.busy_ == 0) manager.refill_later(std::chrono::milliseconds(300));
    }
    Busy(const Busy&) = delete;
    Manager& manager;
  };
  void post(std::function<void()> work);  // on a worker; exceptions are logged

  const Config config_;
  store::Documents& documents_;
  const Clock& clock_;
  RandomSource& random_;
  ManagerMetrics metrics_;
  const runtime::Log log_{"rdp-server-manager"};
  EventRing events_;
  PortPool ports_;
  Host host_;
  File host_lock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Id, Ref> servers_;  // by the id they answer to
  std::optional<Error> open_problem_;
  std::atomic<int> busy_ = 0;
  bool refilling_ = false;
  int refill_failures_ = 0;
  int sesman_failures_ = 0;
  std::atomic<bool> stopping_ = false;
  // Ended in the reverse order: no hook and no process end is told any more, then work under way finishes.
  net::WorkerPool workers_;
  std::unique_ptr<Sesman> sesman_;  // the reactor still tells it of its end
  Reactor reactor_;
  std::unique_ptr<HookServer> hooks_;
  std::atomic<bool> certificate_ready_ = false;
  std::optional<runtime::Exposure> exposure_;  // last: ends before what it looks at
};

}  // namespace lucid::server_manager
