#include "rdp/controller/peers.hpp"

namespace lucid::controller {
namespace {

class ManagerPeer final : public Servers {
 public:
  explicit ManagerPeer(std::shared_ptr<net::Client> http) : client_(std::move(http)) {}
  contracts::ServerStatus create(const contracts::ServerRequest& request) override { return client_.create(request); }
  contracts::ServerStatus act(const Id& server, const std::string& action) override { return client_.act(server, action); }
  contracts::ServerDisplay wait_for_display(const Id& server, int wait_ms) override { return client_.wait_for_display(server, wait_ms); }
  void release(const Id& server, bool go) override { client_.release(server, go); }
  contracts::Credentials credentials(const Id& server) override { return client_.credentials(server); }
  contracts::ServerStatus status(const Id& server) override { return client_.status(server); }
  void remove(const Id& server) override { client_.remove(server); }
  contracts::ServerEvents events(std::uint64_t after, int wait_ms) override { return client_.events(after, wait_ms); }

 private:
  contracts::RdpServerClient client_;
};

class RecordingPeer final : public Recordings {
 public:
  RecordingPeer(std::shared_ptr<net::Client> pipeline, std::shared_ptr<net::Client> recorder)
      : pipeline_(std::move(pipeline)), recorder_(std::move(recorder)) {}
  contracts::RecordingStatus create(const contracts::RecordingPlan& plan) override { return pipeline_.create(plan); }
  contracts::RecordingStatus act(const Id& session, const std::string& action) override { return pipeline_.act(session, action); }
  contracts::RecordingStatus status(const Id& session) override { return pipeline_.status(session); }
  std::vector<contracts::RecorderView> held() override { return recorder_.recordings(); }

 private:
  contracts::PipelineClient pipeline_;
  contracts::RecorderClient recorder_;
};

class GatewayPeer final : public Gateway {
 public:
  explicit GatewayPeer(std::shared_ptr<net::Client> http) : client_(std::move(http)) {}
  std::vector<contracts::Connection> connections() override { return client_.connections(); }
  void freeze(const Id& connection) override { client_.freeze(connection); }
  void resume(const Id& connection) override { client_.resume(connection); }
  void kill(const Id& connection, const std::string& cause) override { client_.kill(connection, cause); }

 private:
  contracts::GatewayClient client_;
};

class NodesPeer final : public Nodes {
 public:
  explicit NodesPeer(std::shared_ptr<net::Client> http) : client_(std::move(http)) {}
  std::optional<contracts::Placement> place(const contracts::PlaceRequest& request) override { return client_.place(request); }
  void release(const Id& session) override { client_.release(session); }

 private:
  contracts::NodesClient client_;
};

}  // namespace

struct HttpPeers::State {
  ManagerPeer manager;
  RecordingPeer recordings;
  GatewayPeer gateway;
  NodesPeer nodes;
};

HttpPeers::HttpPeers(std::shared_ptr<net::Client> manager, std::shared_ptr<net::Client> pipeline, std::shared_ptr<net::Client> recorder,
                     std::shared_ptr<net::Client> gateway, std::shared_ptr<net::Client> nodes)
    : state_(new State{ManagerPeer(std::move(manager)), RecordingPeer(std::move(pipeline), std::move(recorder)),
                       GatewayPeer(std::move(gateway)), NodesPeer(std::move(nodes))}) {}
HttpPeers::~HttpPeers() = default;
Peers HttpPeers::peers() { return {state_->manager, state_->recordings, state_->gateway, state_->nodes}; }

}  // namespace lucid::controller
