// What a server and its connections share. Internal to lib/net. Lives until the last connection has ended; the members set up by start()
// are read-only afterwards, the rest is behind the mutex.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <unordered_map>

#include "lib/net/server.hpp"
#include "lib/net/worker_pool.hpp"

namespace lucid::net {

class Connection;

struct ServerState {
  ServerState(ServerConfig c, Router r, Authenticator a, Observer o)
      : config(std::move(c)), router(std::move(r)), authenticate(std::move(a)), observe(std::move(o)) {}
  const ServerConfig config;
  Router router;  // these three are emptied when the last connection has ended
  Authenticator authenticate;
  Observer observe;
  std::unique_ptr<WorkerPool> workers;
  std::atomic<bool> draining = false;

  std::mutex mutex;
  std::condition_variable changed;
  std::unordered_map<Connection*, std::weak_ptr<Connection>> connections;
  bool accepting = false;
};

}  // namespace lucid::net
