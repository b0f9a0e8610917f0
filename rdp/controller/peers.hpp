// What the controller asks of the other services, as it needs it: small interfaces, so that its logic is tested against in-process
// doubles that keep real state. Every call may block and throw lucid::Error; called from any of the controller's threads.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/contracts/gateway.hpp"
#include "lib/contracts/nodes.hpp"
#include "lib/contracts/pipeline.hpp"
#include "lib/contracts/rdp_server.hpp"
#include "lib/contracts/recorder.hpp"

namespace lucid::controller {

class Servers {  // rdp-server-manager
 public:
  virtual ~Servers() = default;
  virtual contracts::ServerStatus create(const contracts::ServerRequest& request) = 0;
  virtual contracts::ServerStatus act(const Id& server, const std::string& action) = 0;
  virtual contracts::ServerDisplay wait_for_display(const Id& server, int wait_ms) = 0;
  virtual void release(const Id& server, bool go) = 0;
  virtual contracts::Credentials credentials(const Id& server) = 0;
  virtual contracts::ServerStatus status(const Id& server) = 0;
  virtual void remove(const Id& server) = 0;
  virtual contracts::ServerEvents events(std::uint64_t after, int wait_ms) = 0;
};

class Recordings {  // session-pipeline, and session-recorder for what it holds right now
 public:
  virtual ~Recordings() = default;
  virtual contracts::RecordingStatus create(const contracts::RecordingPlan& plan) = 0;
  virtual contracts::RecordingStatus act(const Id& session, const std::string& action) = 0;
  virtual contracts::RecordingStatus status(const Id& session) = 0;
  virtual std::vector<contracts::RecorderView> held() = 0;
};

class Gateway {  // xrdp-integration
 public:
  virtual ~Gateway() = default;
  virtual std::vector<contracts::Connection> connections() = 0;
  virtual void freeze(const Id& connection) = 0;
  virtual void resume(const Id& connection) = 0;
  virtual void kill(const Id& connection, const std::string& cause) = 0;
};

class Nodes {  // node-management
 public:
  virtual ~Nodes() = default;
  // Nothing where no node is registered: the deployment runs on this machine alone.
  virtual std::optional<contracts::Placement> place(const contracts::PlaceRequest& request) = 0;
  virtual void release(const Id& session) = 0;
};

struct Peers {
  Servers& servers;
  Recordings& recordings;
  Gateway& gateway;
  Nodes& nodes;
};

// The services themselves, over HTTP.
class HttpPeers {
 public:
  HttpPeers(std::shared_ptr<net::Client> manager, std::shared_ptr<net::Client> pipeline, std::shared_ptr<net::Client> recorder,
            std::shared_ptr<net::Client> gateway, std::shared_ptr<net::Client> nodes);
  ~HttpPeers();
  Peers peers();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lucid::controller
