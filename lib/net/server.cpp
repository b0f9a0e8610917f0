#include "lib/net/server.hpp"

#include <array>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include "lib/net/connection.hpp"
#include "lib/net/io_pool.hpp"
#include "lib/net/server_state.hpp"
#include "lib/net/socket_io.hpp"

namespace lucid::net {
namespace {

constexpr std::string_view kFull =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\nConnection: close\r\n"
    "Content-Length: 124\r\n\r\n"
    R"({"type":"urn:lucid:problem:too_many_connections","title":"Service Unavailable","status":503,"code":"too_many_connections"}  )";
constexpr std::chrono::milliseconds kAcceptPause{100};

}  // namespace

struct Server::State {
  std::shared_ptr<ServerState> shared;
  std::shared_ptr<IoPool> io;  // let go of by the thread that stops
  std::shared_ptr<Acceptor> acceptor;
  std::uint16_t port = 0;
};

namespace {

Task<void> accept_all(std::shared_ptr<Acceptor> acceptor, std::shared_ptr<ServerState> server, asio::io_context& context) {
  Timer pause(acceptor->get_executor());
  while (acceptor->is_open()) {
    Socket socket(asio::make_strand(context));
    ErrorCode ec;
    co_await acceptor->async_accept(socket, asio::redirect_error(kAwait, ec));
    if (ec == asio::error::operation_aborted || ec == asio::error::bad_descriptor) break;
    if (ec) {
      // Out of descriptors or memory: connections wait in the backlog until some are free again.
      pause.expires_after(kAcceptPause);
      co_await pause.async_wait(asio::redirect_error(kAwait, ec));
      continue;
    }
    std::size_t open = 0;
    {
      std::lock_guard lock(server->mutex);
      open = server->connections.size();
    }
    if (open >= server->config.max_connections) {
      iovec piece{const_cast<char*>(kFull.data()), kFull.size()};
      send_now(socket.native_handle(), {&piece, 1});
      socket.shutdown(Socket::shutdown_send, ec);
      continue;
    }
    std::make_shared<Connection>(std::move(socket), server)->start();
  }
  std::lock_guard lock(server->mutex);
  server->accepting = false;
  server->changed.notify_all();
}

asio::ip::tcp::endpoint endpoint_of(const ServerConfig& config, asio::io_context& context) {
  ErrorCode ec;
  asio::ip::address address = asio::ip::make_address(config.host, ec);
  if (!ec) return {address, config.port};
  asio::ip::tcp::resolver resolver(context);
  auto found = resolver.resolve(config.host, std::to_string(config.port), ec);
  if (ec || found.empty())
    throw Error(ErrorKind::unavailable, "cannot_listen",
                fmt::format("cannot listen on {}:{}: the host is not known", config.host, config.port));
  return found.begin()->endpoint();
}

}  // namespace

Server::Server(ServerConfig config, Router router, Authenticator authenticate, Observer observe) : state_(std::make_shared<State>()) {
  state_->shared = std::make_shared<ServerState>(std::move(config), std::move(router), std::move(authenticate), std::move(observe));
}

Server::~Server() { stop(std::chrono::milliseconds(0)); }

void Server::start() {
  ServerState& shared = *state_->shared;
  if (state_->io) throw Error(ErrorKind::internal, "the server was started twice");
  std::shared_ptr<IoPool> io = IoPool::shared(shared.config.io_threads);
  asio::ip::tcp::endpoint endpoint = endpoint_of(shared.config, io->context());
  auto acceptor = std::make_shared<Acceptor>(asio::make_strand(io->context()));
  ErrorCode ec;
  acceptor->open(endpoint.protocol(), ec);
  if (!ec) acceptor->set_option(Acceptor::reuse_address(true), ec);
  if (!ec) acceptor->bind(endpoint, ec);
  if (!ec) acceptor->listen(asio::socket_base::max_listen_connections, ec);
  if (ec)
    throw Error(ErrorKind::unavailable, ec == asio::error::address_in_use ? "address_in_use" : "cannot_listen",
                fmt::format("cannot listen on {}:{}: {}", shared.config.host, shared.config.port, ec.message()));
  state_->port = acceptor->local_endpoint().port();
  state_->io = io;
  state_->acceptor = acceptor;
  {
    std::lock_guard lock(shared.mutex);
    shared.workers = std::make_unique<WorkerPool>(shared.config.worker_threads);
    shared.accepting = true;
  }
  asio::co_spawn(acceptor->get_executor(), accept_all(acceptor, state_->shared, io->context()), asio::detached);
}

std::uint16_t Server::port() const { return state_->port; }

Server::Stats Server::stats() const {
  ServerState& shared = *state_->shared;
  Stats stats;
  std::lock_guard lock(shared.mutex);
  stats.connections = shared.connections.size();
  if (!shared.workers) return stats;
  WorkerPool::Load load = shared.workers->load();
  stats.workers = load.threads;
  stats.busy = load.busy;
  stats.queued = load.queued;
  return stats;
}

void Server::stop(std::chrono::milliseconds grace) {
  if (!state_->io) return;
  ServerState& shared = *state_->shared;
  auto deadline = std::chrono::steady_clock::now() + grace;
  shared.draining = true;
  asio::post(state_->acceptor->get_executor(), [acceptor = state_->acceptor] {
    ErrorCode ec;
    acceptor->close(ec);
  });
  auto each = [&](void (Connection::*tell)()) {
    std::vector<std::shared_ptr<Connection>> open;
    {
      std::lock_guard lock(shared.mutex);
      for (const auto& [key, weak] : shared.connections)
        if (auto connection = weak.lock()) open.push_back(std::move(connection));
    }
    for (const auto& connection : open) (*connection.*tell)();
  };
  auto ended = [&] { return !shared.accepting && shared.connections.empty(); };
  {
    // First the acceptor, so that no connection slips in unseen.
    std::unique_lock lock(shared.mutex);
    shared.changed.wait(lock, [&] { return !shared.accepting; });
  }
  each(&Connection::drain);
  {
    std::unique_lock lock(shared.mutex);
    shared.changed.wait_until(lock, deadline, ended);
  }
  each(&Connection::end);
  {
    // What handlers use may be destroyed after this call, so a handler still running is waited for.
    std::unique_lock lock(shared.mutex);
    shared.changed.wait(lock, ended);
  }
  shared.workers->stop();
  // A coroutine's frame may outlive this call by a moment, on an io thread; what handlers hold must not.
  shared.router = Router();
  shared.authenticate = nullptr;
  shared.observe = nullptr;
  state_->acceptor.reset();
  state_->io.reset();
}

}  // namespace lucid::net
