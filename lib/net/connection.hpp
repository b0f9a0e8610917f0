// One accepted connection: a coroutine on its own strand that reads a request, runs its handler and writes the answer, again and again.
// Internal to lib/net. Owned by its coroutine; the server knows it weakly and may ask it to drain or to end.
//
// Deadlines: one timer per connection. A phase sets the moment by which it must be over; when that comes the pending read or
// write is cancelled and the coroutine decides (408, or just the end). While a worker runs a handler no read or write of the coroutine is
// pending, so the worker may use the socket alone (BodyReader).
#pragma once

#include <memory>
#include <optional>

#include "lib/net/asio.hpp"
#include "lib/net/body_decoder.hpp"
#include "lib/net/request_head.hpp"
#include "lib/net/server_state.hpp"
#include "lib/net/trace.hpp"

namespace lucid::net {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Socket socket, std::shared_ptr<ServerState> server);
  // Registers with the server and starts the coroutine.
  void start();
  // From any thread. drain(): ends at once when idle, else after the answer being made. end(): cuts now.
  void drain();
  void end();

 private:
  class PulledBody;
  enum class Head { ready, refused, closed };
  Task<void> run();
  Task<bool> serve_one();  // whether to go on with the next request
  Task<Head> read_head(Response& refusal);
  Task<void> answer(Response& response);
  Task<bool> read_body(Response& refusal);
  Task<bool> send(Response& response);  // whether the whole answer went out
  Task<bool> send_stream(Response& response);
  Task<bool> write(std::string_view head, ByteView body);
  Task<void> linger();
  Task<void> on_worker(std::function<void()> work);
  Task<ErrorCode> read_more();

  bool authenticated(Response& refusal);
  void handle(Response& response, bool authenticate);
  void record(int status);
  void begin_span();
  void end_span(int status);
  Trace trace() const;
  bool keeps_alive(bool body_consumed) const;

  void set_deadline(std::chrono::steady_clock::duration in);
  void clear_deadline() { deadline_ = Timer::time_point::max(); }
  void arm();

  Socket socket_;
  Strand strand_;
  Timer timer_;
  Timer::time_point deadline_ = Timer::time_point::max();
  Timer::time_point armed_until_ = Timer::time_point::max();
  bool timed_out_ = false;
  bool idle_ = false;
  bool over_ = false;
  std::size_t served_ = 0;
  std::shared_ptr<ServerState> server_;
  std::string remote_;
  ReadBuffer in_;
  std::optional<RequestParser> parser_;
  std::optional<BodyDecoder> body_;
  Exchange x_;
  std::string head_;
};

}  // namespace lucid::net
