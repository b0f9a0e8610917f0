// The manager's end of the start hook: a Unix socket that every account may connect to. Who connects is what the kernel says (SO_PEERCRED),
// never what they write. One thread; at most 8 connections per user and 512 in all; a hello has 5 s to arrive. Owned by the Manager.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include <sys/types.h>

#include "lib/base/file_ops.hpp"
#include "rdp/server-manager/hook_protocol.hpp"

namespace lucid::server_manager {

class HookServer {
 public:
  struct Peer {
    pid_t pid = 0;
    uid_t uid = 0;
  };
  // Answers at once, or nullopt: the connection is kept until answer(). Called on the server's thread; must not block for long.
  using OnHello = std::function<std::optional<hook::Answer>(const Peer&, const hook::Hello&)>;
  // Takes the place of a socket file that is there. Throws Error{unavailable}.
  HookServer(const std::string& path, OnHello on_hello);
  ~HookServer();  // the socket file stays: hooks find the next manager there
  // To the waiting hook that has this process id; nothing when it waits no more (it asks again).
  void answer(pid_t pid, const hook::Answer& answer);

 private:
  struct Connection {
    File fd;
    Peer peer;
    std::string received;
    bool waiting = false;  // its hello was passed on
    std::chrono::steady_clock::time_point until;
  };
  void run();
  void accept_one();
  bool serve(Connection& connection);  // false: close it
  const OnHello on_hello_;
  File listening_, wake_;
  std::mutex mutex_;
  std::map<int, Connection> connections_;  // by descriptor; changed by the thread only
  std::map<pid_t, hook::Answer> answers_;  // to be sent by the thread
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace lucid::server_manager
