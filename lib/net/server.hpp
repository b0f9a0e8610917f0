// HTTP/1.1 server on Beast with Asio coroutines: keep-alive, body limits, a deadline on every phase (header, body,
// handler, write, idle), streaming bodies both ways, request ids, problem+json for every error including those of the
// parser, graceful shutdown. Owned by the service; start() and stop() from any one thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "lib/net/http.hpp"

namespace lucid::net {

class SpanSink;  // span.hpp

struct ServerConfig {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;  // 0: any free one
  int worker_threads = 8;
  int io_threads = 0;  // 0: the number of cores (the io_context is shared by all servers of the process)
  std::size_t max_connections = 4096;
  std::chrono::milliseconds header_timeout{10'000};
  std::chrono::milliseconds body_timeout{30'000};   // for the whole body, plus 1 s per MiB
  std::chrono::milliseconds write_timeout{30'000};  // per write
  std::chrono::milliseconds idle_timeout{60'000};
  std::shared_ptr<SpanSink> spans;  // null: no spans
};

// Answers the principal, or nullopt to refuse with 401. Called for every route with Auth::required.
using Authenticator = std::function<std::optional<std::string>(const Request&)>;

// Told of every finished request (metrics, access log). Called from any thread; must not block.
struct RequestRecord {
  std::string_view route;  // the pattern, or "unmatched"
  Method method;
  int status;
  double seconds;
  std::uint64_t request_bytes, response_bytes;
  std::string_view request_id, remote, principal;
  std::string_view error;  // text of an exception that is not an Error: for the log, never for the client
  std::string_view traceparent;
  bool other_method = false;  // none of Method's (or the head could not be read); `method` says nothing then
};
using Observer = std::function<void(const RequestRecord&)>;

class Server {
 public:
  Server(ServerConfig config, Router router, Authenticator authenticate, Observer observe);
  ~Server();
  // Binds and listens; throws Error{unavailable, "address_in_use"} naming host and port.
  void start();
  std::uint16_t port() const;
  // What goes on right now; zeros before start() and after stop(). Any thread.
  struct Stats {
    std::size_t connections = 0;                    // open
    std::size_t workers = 0, busy = 0, queued = 0;  // threads, those that run something, work that waits for one
  };
  Stats stats() const;
  // Stops accepting, lets requests in flight finish up to `grace`, then closes. Blocks.
  void stop(std::chrono::milliseconds grace);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace lucid::net
