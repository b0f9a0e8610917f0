#include "lib/net/connection.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include "lib/net/response_head.hpp"
#include "lib/net/socket_io.hpp"

namespace lucid::net {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr std::size_t kStreamPiece = 128 << 10;
constexpr std::size_t kBodyStep = 64 << 10;
constexpr std::size_t kLingerBytes = 16 << 20;
constexpr seconds kLinger{2};
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

steady_clock::duration body_budget(const ServerConfig& config, std::uint64_t bytes) { return config.body_timeout + seconds(bytes >> 20); }

Error truncated() { return Error(ErrorKind::malformed, "truncated_body", "the connection ended before the request body did"); }
Error too_slow(const char* what) { return Error(ErrorKind::timeout, std::string("the client was too slow in sending its ") + what); }

}  // namespace

// Runs on the worker that runs the handler. Detached when the handler has returned.
class Connection::PulledBody final : public BodyReader {
 public:
  explicit PulledBody(Connection& connection)
      : connection_(&connection), budget_(body_budget(connection.server_->config, connection.body_->left())) {}

  std::size_t read(std::span<std::uint8_t> out) override {
    if (connection_ == nullptr) throw Error(ErrorKind::internal, "a request body was read after its handler returned");
    BodyDecoder& body = *connection_->body_;
    ReadBuffer& in = connection_->in_;
    if (out.empty()) return 0;
    while (!body.done()) {
      if (std::size_t n = body.take(out)) return count(n);
      if (body.done()) break;
      send_continue();
      if (std::uint64_t direct = body.direct(); direct > 0) {
        std::size_t n = receive_into(out.first(std::min<std::uint64_t>(out.size(), direct)));
        body.received_directly(n);
        return count(n);
      }
      in.added(receive_into(in.room()));
    }
    return 0;
  }

  void detach() { connection_ = nullptr; }

 private:
  std::size_t count(std::size_t n) {
    // A chunked body earns its time as it arrives; one with a length was given it at the start.
    std::uint64_t& total = connection_->x_.request_bytes;
    if (connection_->parser_->chunked()) budget_ += seconds(((total + n) >> 20) - (total >> 20));
    total += n;
    return n;
  }

  std::size_t receive_into(std::span<std::uint8_t> out) {
    // Only the time spent waiting for the client counts, not the handler's own.
    auto before = steady_clock::now();
    IoResult got = receive(connection_->socket_.native_handle(), out, before + std::max(budget_, steady_clock::duration(0)));
    budget_ -= steady_clock::now() - before;
    if (got.state == Io::timeout) throw too_slow("body");
    if (got.state == Io::closed) throw truncated();
    return got.bytes;
  }

  void send_continue() {
    if (!std::exchange(connection_->x_.expects_continue, false)) return;
    // 25 bytes into an empty send buffer: a socket that does not take them is broken, which the next read shows.
    iovec piece{const_cast<char*>(kContinue.data()), kContinue.size()};
    send_now(connection_->socket_.native_handle(), {&piece, 1});
  }

  Connection* connection_;
  steady_clock::duration budget_;
};

Connection::Connection(Socket socket, std::shared_ptr<ServerState> server)
    : socket_(std::move(socket)), strand_(socket_.get_executor()), timer_(strand_), server_(std::move(server)) {
  ErrorCode ec;
  socket_.set_option(asio::ip::tcp::no_delay(true), ec);
  if (auto peer = socket_.remote_endpoint(ec); !ec) remote_ = peer.address().to_string();
  socket_.native_non_blocking(true, ec);
}

void Connection::start() {
  {
    std::lock_guard lock(server_->mutex);
    server_->connections.emplace(this, weak_from_this());
  }
  asio::co_spawn(
      strand_,
      [](std::shared_ptr<Connection> self) -> Task<void> {
        try {
          co_await self->run();
        } catch (const std::exception&) {
          // Out of memory or threads: this connection ends, the server lives on.
        }
        self->over_ = true;
        self->timer_.cancel();
        ErrorCode ec;
        self->socket_.close(ec);
        self->x_ = Exchange{};
        // The registry entry goes last: stop() returns when it is empty and may then destroy what handlers use.
        std::lock_guard lock(self->server_->mutex);
        self->server_->connections.erase(self.get());
        self->server_->changed.notify_all();
      }(shared_from_this()),
      asio::detached);
}

void Connection::drain() {
  asio::post(strand_, [self = shared_from_this()] {
    ErrorCode ec;
    if (self->idle_) self->socket_.shutdown(Socket::shutdown_both, ec);
  });
}

void Connection::end() {
  // A shutdown, never a close: a worker may be using the descriptor; it wakes with the end of the stream.
  asio::post(strand_, [self = shared_from_this()] {
    ErrorCode ec;
    self->socket_.shutdown(Socket::shutdown_both, ec);
  });
}

void Connection::set_deadline(steady_clock::duration in) {
  timed_out_ = false;
  deadline_ = steady_clock::now() + in;
  // A timer that goes off too early looks at the deadline and sleeps on, so it only has to be moved forward.
  if (deadline_ < armed_until_) arm();
}

void Connection::arm() {
  armed_until_ = deadline_;
  timer_.expires_at(armed_until_);
  timer_.async_wait([self = shared_from_this()](const ErrorCode& ec) {
    if (ec || self->over_) return;
    if (steady_clock::now() >= self->deadline_) {
      self->timed_out_ = true;
      self->clear_deadline();
      ErrorCode ignored;
      self->socket_.cancel(ignored);
    }
    self->armed_until_ = Timer::time_point::max();
    if (self->deadline_ != Timer::time_point::max()) self->arm();
  });
}

Task<void> Connection::run() {
  bool more = true;
  while (more) more = co_await serve_one();
}

Task<ErrorCode> Connection::read_more() {
  ErrorCode ec;
  auto room = in_.room();
  std::size_t n = co_await socket_.async_read_some(asio::buffer(room.data(), room.size()), asio::redirect_error(kAwait, ec));
  in_.added(n);
  co_return ec;
}

Task<void> Connection::on_worker(std::function<void()> work) {
  clear_deadline();
  auto start = [this, &work](auto handler) {
    server_->workers->post([this, &work, resume = std::move(handler)]() mutable {
      work();
      // Once posted, the coroutine may go on and end this connection before post() returns: nothing of it is touched any more.
      Strand strand = strand_;
      asio::post(strand, std::move(resume));
    });
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<Strand>, void()>(start, kAwait);
}

Task<bool> Connection::serve_one() {
  x_ = Exchange{};
  Response response;
  Head head = co_await read_head(response);
  if (head == Head::closed) co_return false;
  x_.started = steady_clock::now();
  x_.request.remote = remote_;
  std::optional<Response> refusal;
  if (head == Head::ready) {
    refusal = read_request_head(*parser_, server_->router, x_);
    if (server_->config.spans) begin_span();
    body_.emplace(*parser_, in_, x_.route != nullptr ? x_.route->options.max_body : 0);
    if (refusal)
      response = std::move(*refusal);
    else
      co_await answer(response);
  }
  x_.keep_alive = x_.keep_alive && body_ && body_->done() && !server_->draining;
  bool sent = co_await send(response);
  record(response.status);
  ++served_;
  if (sent && x_.keep_alive) co_return true;
  if (sent) co_await linger();
  co_return false;
}

Task<Connection::Head> Connection::read_head(Response& refusal) {
  x_.request.request_id = new_request_id();  // of a head that is refused; one that is read may bring its own
  body_.reset();
  parser_.emplace();
  parser_->header_limit(kMaxHead);
  parser_->body_limit(boost::none);
  parser_->eager(false);
  if (in_.empty()) {
    if (server_->draining) co_return Head::closed;
    set_deadline(served_ > 0 ? server_->config.idle_timeout : server_->config.header_timeout);
    idle_ = true;
    ErrorCode ec = co_await read_more();
    idle_ = false;
    if (ec) co_return Head::closed;
  }
  std::size_t used = 0;
  bool waiting = false;
  while (true) {
    // Empty lines before a request are skipped (RFC 9112 section 2.2).
    while (used == 0 && !in_.empty() && (in_.data()[0] == '\r' || in_.data()[0] == '\n')) in_.consume(1);
    ErrorCode ec = http::error::need_more;
    if (!in_.empty()) {
      std::size_t n = parser_->put(asio::const_buffer(in_.data().data(), in_.data().size()), ec);
      in_.consume(n);
      used += n;
    }
    if (parser_->is_header_done()) co_return Head::ready;
    if (ec == http::error::need_more && used + in_.data().size() > kMaxHead) ec = http::error::header_limit;
    if (ec && ec != http::error::need_more) {
      refusal = parser_problem(ec, x_.request.request_id);
      co_return Head::refused;
    }
    if (!waiting) set_deadline(server_->config.header_timeout);
    waiting = true;
    ErrorCode failed = co_await read_more();
    if (!failed) continue;
    if (timed_out_) {
      refusal = problem(too_slow("request head"), x_.request.request_id);
      co_return Head::refused;
    }
    co_return Head::closed;
  }
}

bool Connection::authenticated(Response& refusal) {
  try {
    std::optional<std::string> principal;
    if (server_->authenticate) principal = server_->authenticate(x_.request);
    if (!principal) throw Error(ErrorKind::unauthorized, "this needs valid credentials");
    x_.request.principal = std::move(*principal);
    return true;
  } catch (const Error& e) { refusal = problem(e, x_.request.request_id); } catch (const std::exception& e) {
    x_.error = e.what();
    refusal =
        problem(Error(ErrorKind::internal, "an unexpected fault; the service's log has it under this request id"), x_.request.request_id);
  }
  return false;
}

void Connection::handle(Response& response, bool authenticate) {
  TraceScope scope(trace());
  if (authenticate && !authenticated(response)) return;
  std::shared_ptr<PulledBody> pulled;
  if (x_.route->options.body == BodyMode::stream) x_.request.stream = pulled = std::make_shared<PulledBody>(*this);
  try {
    response = x_.route->handler(x_.request);
  } catch (const Error& e) { response = problem(e, x_.request.request_id); } catch (const std::exception& e) {
    x_.error = e.what();
    response =
        problem(Error(ErrorKind::internal, "an unexpected fault; the service's log has it under this request id"), x_.request.request_id);
  }
  if (pulled) pulled->detach();
}

Task<void> Connection::answer(Response& response) {
  const RouteOptions& options = x_.route->options;
  bool inline_run = options.run == Run::inline_;
  bool authenticate = options.auth == Auth::required;
  // Whoever may not send this body is told before it is received.
  if (authenticate && x_.has_body) {
    bool admitted = false;
    auto admit = [&] {
      TraceScope scope(trace());
      admitted = authenticated(response);
    };
    if (inline_run)
      admit();
    else
      co_await on_worker(admit);
    if (!admitted) co_return;
    authenticate = false;
  }
  if (x_.has_body && options.body == BodyMode::buffer) {
    bool whole = co_await read_body(response);
    if (!whole) co_return;
  }
  if (inline_run) {
    clear_deadline();
    handle(response, authenticate);
  } else {
    co_await on_worker([&] { handle(response, authenticate); });
  }
}

Task<bool> Connection::read_body(Response& refusal) {
  if (x_.expects_continue && in_.empty()) {
    bool told = co_await write(kContinue, {});
    if (!told) co_return false;
  }
  Bytes& bytes = x_.request.body;
  std::size_t filled = 0;
  set_deadline(body_budget(server_->config, body_->left()));
  std::uint64_t earned = 0;
  while (!body_->done()) {
    // Memory grows with what has arrived, not with what was announced.
    if (filled == bytes.size()) {
      std::uint64_t step = std::max<std::uint64_t>(kBodyStep, filled);
      if (!parser_->chunked()) step = std::min(step, body_->left());
      bytes.resize(filled + step);
    }
    std::span<std::uint8_t> out = std::span(bytes).subspan(filled);
    std::size_t n = 0;
    try {
      n = body_->take(out);
    } catch (const Error& e) {
      refusal = problem(e, x_.request.request_id);
      co_return false;
    }
    if (n == 0 && !body_->done()) {
      ErrorCode ec;
      if (std::uint64_t direct = body_->direct(); direct > 0) {
        n = co_await socket_.async_read_some(asio::buffer(out.data(), std::min<std::uint64_t>(out.size(), direct)),
                                             asio::redirect_error(kAwait, ec));
        body_->received_directly(n);
      } else {
        ec = co_await read_more();
      }
      if (ec) {
        refusal = problem(timed_out_ ? too_slow("body") : truncated(), x_.request.request_id);
        co_return false;
      }
    }
    filled += n;
    if (parser_->chunked() && (filled >> 20) > earned) {
      earned = filled >> 20;
      deadline_ += seconds(1);
    }
  }
  bytes.resize(filled);
  x_.request_bytes = filled;
  co_return true;
}

Task<bool> Connection::write(std::string_view head, ByteView body) {
  while (!head.empty() || !body.empty()) {
    std::array<asio::const_buffer, 2> pieces{asio::buffer(head.data(), head.size()), asio::buffer(body.data(), body.size())};
    ErrorCode ec;
    set_deadline(server_->config.write_timeout);
    std::size_t n = co_await socket_.async_write_some(pieces, asio::redirect_error(kAwait, ec));
    if (ec) co_return false;
    std::size_t of_head = std::min(n, head.size());
    head.remove_prefix(of_head);
    body = body.subspan(n - of_head);
  }
  co_return true;
}

Task<bool> Connection::send(Response& response) {
  if (response.stream) {
    bool whole = co_await send_stream(response);
    co_return whole;
  }
  ByteView body = response.body;
  if (!may_have_body(response.status)) body = {};
  head_.clear();
  append_head(head_, response,
              {.request_id = x_.request.request_id, .keep_alive = x_.keep_alive, .http_1_0 = x_.http_1_0, .length = body.size()});
  if (x_.request.method == Method::head) body = {};
  x_.response_bytes = body.size();
  bool whole = co_await write(head_, body);
  co_return whole;
}

Task<bool> Connection::send_stream(Response& response) {
  std::optional<std::uint64_t> left = response.stream_size;
  // HTTP/1.0 knows no chunks: there the end of the connection ends the body.
  bool chunked = !left && !x_.http_1_0;
  if (!left && !chunked) x_.keep_alive = false;
  head_.clear();
  append_head(head_, response,
              {.request_id = x_.request.request_id,
               .keep_alive = x_.keep_alive,
               .http_1_0 = x_.http_1_0,
               .chunked = !left,
               .length = left.value_or(0)});
  if (!left && !chunked) head_.replace(head_.find("Transfer-Encoding: chunked\r\n"), 28, "");
  bool told = co_await write(head_, {});
  if (!told || x_.request.method == Method::head || !may_have_body(response.status)) co_return told;
  Bytes piece(kStreamPiece);
  while (true) {
    std::size_t n = 0;
    bool broken = false;
    co_await on_worker([&] {
      TraceScope scope(trace());
      try {
        n = response.stream(piece);
      } catch (const std::exception& e) {
        x_.error = e.what();
        broken = true;
      }
    });
    // The status is out already: a cut connection is the only way left to say that the body is not whole.
    if (broken || (left && n > *left)) co_return false;
    if (n == 0) break;
    if (left) *left -= n;
    x_.response_bytes += n;
    head_.clear();
    if (chunked) {
      char size[24];
      head_.append(size, static_cast<std::size_t>(std::snprintf(size, sizeof size, "%zx\r\n", n)));
      piece.resize(n + 2);
      piece[n] = '\r';
      piece[n + 1] = '\n';
    }
    bool written = co_await write(head_, ByteView(piece).first(chunked ? n + 2 : n));
    if (!written) co_return false;
    piece.resize(kStreamPiece);
  }
  if (left && *left > 0) co_return false;
  if (!chunked) co_return true;
  bool ended = co_await write("0\r\n\r\n", {});
  co_return ended;
}

// Closing a socket with bytes unread resets it, which can destroy the answer on its way. So: say that we are done, then read on for a
// moment until the client has seen it.
Task<void> Connection::linger() {
  ErrorCode ec;
  socket_.shutdown(Socket::shutdown_send, ec);
  set_deadline(kLinger);
  std::size_t seen = 0;
  while (!ec && seen < kLingerBytes && !server_->draining) {
    in_.consume(in_.data().size());
    ec = co_await read_more();
    seen += in_.data().size();
  }
}

Trace Connection::trace() const { return {x_.request.request_id, x_.request.traceparent, x_.span ? server_->config.spans : nullptr}; }

void Connection::begin_span() {
  if (x_.route != nullptr && !x_.route->options.traced) return;
  x_.span = begin_server_span(*server_->config.spans, x_.request.traceparent);
}

void Connection::end_span(int status) {
  Span& span = x_.span->span;
  span.method = x_.other_method ? "_OTHER" : name(x_.request.method);
  if (x_.route != nullptr) span.route = x_.route->pattern;
  span.scheme = "http";
  span.path = x_.request.path.substr(0, kMaxSpanPath);
  span.status = status;
  // The text of an exception may hold anything, so it is not for a span.
  if (status >= 500)
    span.error = std::to_string(status);
  else if (!x_.error.empty())
    span.error = "broken_answer";
  x_.span->end(*server_->config.spans);
}

void Connection::record(int status) {
  if (x_.span) end_span(status);
  if (!server_->observe) return;
  double took = std::chrono::duration<double>(steady_clock::now() - x_.started).count();
  server_->observe({.route = x_.route != nullptr ? std::string_view(x_.route->pattern) : std::string_view("unmatched"),
                    .method = x_.request.method,
                    .status = status,
                    .seconds = took,
                    .request_bytes = x_.request_bytes,
                    .response_bytes = x_.response_bytes,
                    .request_id = x_.request.request_id,
                    .remote = x_.request.remote,
                    .principal = x_.request.principal,
                    .error = x_.error,
                    .traceparent = x_.request.traceparent,
                    .other_method = x_.other_method});
}

}  // namespace lucid::net
