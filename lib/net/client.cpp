#include "lib/net/client.hpp"

#include <algorithm>
#include <mutex>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <fmt/format.h>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/url/parse.hpp>

#include "lib/base/file_ops.hpp"
#include "lib/crypto/tls_client.hpp"
#include "lib/net/socket_io.hpp"
#include "lib/net/span.hpp"
#include "lib/net/text.hpp"
#include "lib/net/trace.hpp"

namespace lucid::net {
namespace {

namespace http = boost::beast::http;
using std::chrono::steady_clock;

constexpr std::size_t kMaxIdle = 16;
constexpr std::size_t kReadSize = 64 << 10;
constexpr std::uint32_t kMaxResponseHead = 64 << 10;
constexpr std::size_t kTlsRecord = 16 << 10;
// Below the idle timeout of our servers, so that the client lets go first.
constexpr std::chrono::seconds kIdleLife{45};

// TLS says goodbye before its socket closes.
struct Channel {
  File socket;
  std::unique_ptr<crypto::TlsSession> tls;  // of https
};
using Held = std::unique_ptr<Channel>;

struct Pooled {
  Held connection;
  steady_clock::time_point since;
};

bool is_header_text(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; });
}

}  // namespace

struct Client::State {
  explicit State(ClientConfig c) : config(std::move(c)) {}
  ClientConfig config;
  std::string host, port, authority, prefix;
  std::shared_ptr<const crypto::TlsTrust> trust;  // of https
  std::mutex mutex;
  std::vector<Pooled> idle;  // the most recently used last

  Error unreachable(const Call& call, const std::string& why) const {
    return Error(ErrorKind::unavailable, "unreachable", fmt::format("{} cannot be reached: {}", what(call), why));
  }
  Error timeout(const Call& call) const { return Error(ErrorKind::unavailable, "timeout", what(call) + " was not answered in time"); }
  Error lost(const Call& call, const char* why) const {
    return Error(ErrorKind::unavailable, "connection_lost", fmt::format("{} was cut off: {}", what(call), why));
  }
  Error lost(const Call& call, int error) const {
    return lost(call, error != 0 ? std::strerror(error) : "the server closed the connection");
  }
  Error tls_failed(const Call& call, const char* why) const {
    return Error(ErrorKind::unavailable, "tls_failed", fmt::format("{} cannot be reached over TLS: {}", what(call), why));
  }
  // One step of TLS; its errors say of which call.
  template <class Step>
  crypto::TlsStep tls_step(const Call& call, Step step) const {
    try {
      return step();
    } catch (const Error& e) { throw tls_failed(call, e.what()); }
  }
  std::string what(const Call& call) const {
    std::string_view path = call.target;
    return fmt::format("{} {}{}", name(call.method), config.base_url, path.substr(0, path.find('?')));
  }

  Held connect(const Call& call, Deadline deadline);
  File connect_socket(const Call& call, Deadline deadline);
  void start_tls(Channel& connection, const Call& call, Deadline deadline);
  Held take_idle();
  void give_back(Held connection);
  std::string head_of(const Call& call);
};

namespace {

// One attempt at a call on one connection.
class Attempt {
 public:
  Attempt(Client::State& state, const Call& call, const Channel& connection, Deadline deadline)
      : state_(state), call_(call), fd_(connection.socket.fd()), tls_(connection.tls.get()), deadline_(deadline) {}

  Response run(std::string_view head) {
    send(head);
    return receive_answer();
  }
  bool answer_began() const { return answer_began_; }
  bool reusable() const { return reusable_; }

 private:
  void send(std::string_view head);
  void send_tls(std::string_view head);
  Response receive_answer();
  void fill();
  std::size_t receive(std::span<std::uint8_t> out);
  std::size_t receive_tls(std::span<std::uint8_t> out);

  Client::State& state_;
  const Call& call_;
  int fd_;
  crypto::TlsSession* tls_;
  Deadline deadline_;
  bool answer_began_ = false;
  bool all_sent_ = false;
  bool reusable_ = false;
  std::vector<std::uint8_t> buffer_;
  std::size_t begin_ = 0;
  bool at_end_ = false;
};

void Attempt::send(std::string_view head) {
  if (tls_ != nullptr) return send_tls(head);
  ByteView body = call_.body;
  while (!head.empty() || !body.empty()) {
    iovec pieces[2] = {{const_cast<char*>(head.data()), head.size()}, {const_cast<std::uint8_t*>(body.data()), body.size()}};
    IoResult sent = send_now(fd_, pieces);
    // The server may have answered and closed while we were sending: its answer says why.
    if (sent.state == Io::closed) return;
    std::size_t of_head = std::min(sent.bytes, head.size());
    head.remove_prefix(of_head);
    body = body.subspan(sent.bytes - of_head);
    if (head.empty() && body.empty()) break;
    if (sent.bytes > 0) continue;
    short events = wait_for(fd_, POLLOUT | POLLIN, deadline_);
    if (events == 0) throw state_.timeout(call_);
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) return;
  }
  all_sent_ = true;
}

void Attempt::send_tls(std::string_view head) {
  using Kind = crypto::TlsStep::Kind;
  // A small body goes in the record of its head.
  Bytes first(head.begin(), head.end());
  std::size_t with_head = std::min(call_.body.size(), kTlsRecord - std::min(kTlsRecord, first.size()));
  first.insert(first.end(), call_.body.begin(), call_.body.begin() + static_cast<std::ptrdiff_t>(with_head));
  for (ByteView piece : {ByteView(first), call_.body.subspan(with_head)})
    while (!piece.empty()) {
      crypto::TlsStep sent = state_.tls_step(call_, [&] { return tls_->write(piece); });
      piece = piece.subspan(sent.bytes);
      if (sent.kind == Kind::done) continue;
      if (sent.kind == Kind::ended || sent.kind == Kind::cut) return;
      // As without TLS: the server's answer may come while we send. What there is to read may also be TLS's own.
      if (wait_for(fd_, static_cast<short>((sent.kind == Kind::want_write ? POLLOUT : 0) | POLLIN), deadline_) == 0)
        throw state_.timeout(call_);
      if (state_.tls_step(call_, [&] { return tls_->peek(); }).kind != Kind::want_read) return;
    }
  all_sent_ = true;
}

void Attempt::fill() {
  if (begin_ > 0) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(begin_));
    begin_ = 0;
  }
  std::size_t kept = buffer_.size();
  buffer_.resize(kept + kReadSize);
  std::span<std::uint8_t> free = std::span(buffer_).subspan(kept);
  std::size_t got = tls_ != nullptr ? receive_tls(free) : receive(free);
  buffer_.resize(kept + got);
  at_end_ = got == 0;
  answer_began_ |= got > 0;
}

// Both answer 0 at the end of the stream.
std::size_t Attempt::receive(std::span<std::uint8_t> out) {
  IoResult got = net::receive(fd_, out, deadline_);
  if (got.state == Io::timeout) throw state_.timeout(call_);
  if (got.state == Io::closed && got.error != 0) throw state_.lost(call_, got.error);
  return got.bytes;
}

std::size_t Attempt::receive_tls(std::span<std::uint8_t> out) {
  using Kind = crypto::TlsStep::Kind;
  while (true) {
    crypto::TlsStep got = state_.tls_step(call_, [&] { return tls_->read(out); });
    switch (got.kind) {
      case Kind::done: return got.bytes;
      case Kind::ended: return 0;
      case Kind::cut:
        if (got.error != 0) throw state_.lost(call_, got.error);
        throw state_.lost(call_, "the connection ended before TLS did");
      case Kind::want_read:
      case Kind::want_write:
        if (wait_for(fd_, got.kind == Kind::want_read ? POLLIN : POLLOUT, deadline_) == 0) throw state_.timeout(call_);
    }
  }
}

Response Attempt::receive_answer() {
  auto malformed = [&](const std::string& why) {
    return Error(ErrorKind::unavailable, "bad_answer",
                 fmt::format("{} was answered with something that is not HTTP: {}", state_.what(call_), why));
  };
  // Interim answers (1xx) come before the real one.
  for (int interim = 0; interim < 8; ++interim) {
    http::response_parser<http::buffer_body> parser;
    parser.header_limit(kMaxResponseHead);
    parser.body_limit(boost::none);
    parser.eager(false);
    if (call_.method == Method::head) parser.skip(true);
    boost::system::error_code ec;
    while (!parser.is_header_done()) {
      if (begin_ == buffer_.size() || ec == http::error::need_more) {
        fill();
        if (at_end_) throw state_.lost(call_, 0);
      }
      begin_ += parser.put(boost::asio::const_buffer(buffer_.data() + begin_, buffer_.size() - begin_), ec);
      if (ec && ec != http::error::need_more) throw malformed(ec.message());
    }
    const auto& head = parser.get();
    if (head.result_int() / 100 == 1) continue;

    Response response;
    response.status = static_cast<int>(head.result_int());
    for (const auto& field : head)
      response.headers.add({field.name_string().data(), field.name_string().size()},
                           std::string(field.value().data(), field.value().size()));
    bool to_sink = call_.sink && response.status / 100 == 2;
    std::uint64_t length = parser.content_length().value_or(0);
    auto too_large = [&] {
      return Error(ErrorKind::unavailable, "answer_too_large",
                   fmt::format("{} was answered with more than {} bytes", state_.what(call_), state_.config.max_response));
    };
    if (!to_sink && call_.method != Method::head) {
      if (length > state_.config.max_response && !call_.cut_body) throw too_large();
      response.body.reserve(std::min<std::uint64_t>(length, 1 << 20));
    }
    parser.eager(true);
    Bytes piece(kReadSize);
    ec = {};
    while (!parser.is_done()) {
      if (begin_ == buffer_.size() || ec == http::error::need_more) {
        fill();
        if (at_end_) {
          // Neither length nor chunks: the end of the connection is the end of the body.
          ec = {};
          parser.put_eof(ec);
          if (ec) throw state_.lost(call_, 0);
          break;
        }
      }
      auto& body = parser.get().body();
      body.data = piece.data();
      body.size = piece.size();
      body.more = true;
      ec = {};
      begin_ += parser.put(boost::asio::const_buffer(buffer_.data() + begin_, buffer_.size() - begin_), ec);
      if (ec && ec != http::error::need_more && ec != http::error::need_buffer) throw malformed(ec.message());
      ByteView got = ByteView(piece).first(piece.size() - parser.get().body().size);
      if (to_sink) {
        if (!got.empty()) call_.sink(got);
      } else {
        if (call_.cut_body && response.body.size() + got.size() > *call_.cut_body) {
          got = got.first(*call_.cut_body - response.body.size());
          response.body.insert(response.body.end(), got.begin(), got.end());
          return response;
        }
        if (response.body.size() + got.size() > state_.config.max_response) throw too_large();
        response.body.insert(response.body.end(), got.begin(), got.end());
      }
    }
    reusable_ = all_sent_ && !at_end_ && parser.get().keep_alive() && begin_ == buffer_.size();
    return response;
  }
  throw malformed("interim answers without end");
}

}  // namespace

Held Client::State::connect(const Call& call, Deadline deadline) {
  auto connection = std::make_unique<Channel>();
  connection->socket = connect_socket(call, deadline);
  if (trust) start_tls(*connection, call, deadline);
  return connection;
}

void Client::State::start_tls(Channel& connection, const Call& call, Deadline deadline) {
  using Kind = crypto::TlsStep::Kind;
  connection.tls = std::make_unique<crypto::TlsSession>(*trust, connection.socket.fd(), host);
  while (true) {
    crypto::TlsStep step = tls_step(call, [&] { return connection.tls->handshake(); });
    if (step.kind == Kind::done) return;
    if (step.kind == Kind::ended || step.kind == Kind::cut)
      throw tls_failed(call, step.error != 0 ? std::strerror(step.error) : "the server closed the connection during the handshake");
    if (wait_for(connection.socket.fd(), step.kind == Kind::want_read ? POLLIN : POLLOUT, deadline) == 0)
      throw tls_failed(call, "the handshake was not over in time");
  }
}

File Client::State::connect_socket(const Call& call, Deadline deadline) {
  deadline = std::min(deadline, steady_clock::now() + config.connect_timeout);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  // A numeric address never needs the resolver (and loopback must work on a host without any network).
  addrinfo* found = nullptr;
  hints.ai_flags = AI_NUMERICHOST;
  int failed = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (failed != 0) {
    hints.ai_flags = 0;
    failed = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  }
  if (failed != 0) throw unreachable(call, ::gai_strerror(failed));
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
  int error = ETIMEDOUT;
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    File socket(::socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket) {
      error = errno;
      continue;
    }
    int on = 1;
    ::setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(socket.fd(), a->ai_addr, a->ai_addrlen) == 0) return socket;
    error = errno;
    if (error != EINPROGRESS) continue;
    if (wait_for(socket.fd(), POLLOUT, deadline) == 0) {
      error = ETIMEDOUT;
      continue;
    }
    socklen_t size = sizeof error;
    ::getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0) return socket;
  }
  throw unreachable(call, std::strerror(error));
}

Held Client::State::take_idle() {
  std::lock_guard lock(mutex);
  auto now = steady_clock::now();
  while (!idle.empty()) {
    Pooled pooled = std::move(idle.back());
    idle.pop_back();
    // The newest is too old: so are all.
    if (now - pooled.since > kIdleLife) {
      idle.clear();
      break;
    }
    // Readable while nothing was asked: closed, or out of step. TLS may have had something to say to itself.
    Channel& connection = *pooled.connection;
    pollfd entry{connection.socket.fd(), POLLIN, 0};
    if (::poll(&entry, 1, 0) == 0) return std::move(pooled.connection);
    try {
      if (connection.tls && connection.tls->peek().kind == crypto::TlsStep::Kind::want_read) return std::move(pooled.connection);
    } catch (const Error&) {}  // it goes as one that was closed
  }
  return {};
}

void Client::State::give_back(Held connection) {
  std::lock_guard lock(mutex);
  if (idle.size() < kMaxIdle) idle.push_back({std::move(connection), steady_clock::now()});
}

std::string Client::State::head_of(const Call& call) {
  auto refuse = [&](const char* why) { return Error(ErrorKind::internal, fmt::format("a call to {} has {}", config.base_url, why)); };
  if (call.target.empty() || call.target.front() != '/' || call.target.find_first_of(" \t#") != std::string::npos ||
      !is_header_text(call.target))
    throw refuse("a target that is not percent-encoded");
  std::string head = fmt::format("{} {}{} HTTP/1.1\r\nHost: {}\r\n", name(call.method), prefix, call.target, authority);
  auto field = [&](std::string_view key, std::string_view value) {
    if (!is_header_text(key) || !is_header_text(value)) throw refuse("a header with control characters");
    head.append(key).append(": ").append(value).append("\r\n");
  };
  for (const auto& [key, value] : call.headers.all()) {
    if (same_word(key, "Content-Length") || same_word(key, "Transfer-Encoding") || same_word(key, "Host"))
      throw refuse("a framing header of its own");
    field(key, value);
  }
  if (config.bearer && !call.headers.get("Authorization"))
    if (std::string token = config.bearer(); !token.empty()) field("Authorization", "Bearer " + token);
  const Trace& trace = current_trace();
  if (!trace.request_id.empty() && !call.headers.get("X-Request-ID")) field("X-Request-ID", trace.request_id);
  if (!trace.traceparent.empty() && !call.headers.get("traceparent")) field("traceparent", trace.traceparent);
  if (!call.content_type.empty()) field("Content-Type", call.content_type);
  if (!call.body.empty() || call.method == Method::post || call.method == Method::put || call.method == Method::patch)
    field("Content-Length", std::to_string(call.body.size()));
  head.append("\r\n");
  return head;
}

Client::Client(ClientConfig config) : state_(std::make_unique<State>(std::move(config))) {
  std::string& url = state_->config.base_url;
  while (!url.empty() && url.back() == '/') url.pop_back();
  auto parsed = boost::urls::parse_uri(url);
  if (!parsed || (parsed->scheme() != "http" && parsed->scheme() != "https") || parsed->host_address().empty() || parsed->has_query() ||
      parsed->has_fragment() || parsed->has_userinfo())
    throw Error(ErrorKind::invalid, "bad_url",
                fmt::format("'{}' is not a usable URL: expected http://host:port or https://host:port", url));
  state_->host = parsed->host_address();
  state_->port = parsed->has_port() && !parsed->port().empty() ? std::string(parsed->port()) : parsed->scheme() == "https" ? "443" : "80";
  state_->authority = std::string(parsed->encoded_host_and_port().data(), parsed->encoded_host_and_port().size());
  if (parsed->scheme() == "https") state_->trust = crypto::TlsTrust::load(state_->config.ca_file);
  state_->prefix = std::string(parsed->encoded_path().data(), parsed->encoded_path().size());
}

Client::~Client() = default;

Response Client::send(const Call& call) {
  return traced_call({call.method, call.target, state_->config.base_url, state_->host, state_->port}, [&] { return exchange(call); });
}

Response Client::exchange(const Call& call) {
  Deadline deadline = steady_clock::now() + call.timeout.value_or(state_->config.timeout);
  std::string head = state_->head_of(call);
  Held connection = state_->take_idle();
  bool reused = connection != nullptr;
  while (true) {
    if (!connection) connection = state_->connect(call, deadline);
    Attempt attempt(*state_, call, *connection, deadline);
    try {
      Response response = attempt.run(head);
      if (attempt.reusable()) state_->give_back(std::move(connection));
      return response;
    } catch (const Error& e) {
      // The server may have closed a kept-alive connection just as we used it.
      if (!reused || attempt.answer_began() || e.code() != "connection_lost") throw;
      reused = false;
      connection = nullptr;
    }
  }
}

Response Client::expect(const Call& call) {
  Response response = send(call);
  if (response.status / 100 == 2) return response;
  throw error_from(response.status, response.headers, response.body, state_->what(call));
}

json::value Client::get_json(const std::string& target) {
  Call call;
  call.target = target;
  Response response = expect(call);
  Expected<json::value> value = parse_json(as_text(response.body), state_->config.max_response);
  if (!value) throw Error(ErrorKind::unavailable, "bad_answer", state_->what(call) + " was not answered with JSON");
  return std::move(*value);
}

json::value Client::send_json(Method method, const std::string& target, const json::value& body) {
  std::string text = json::serialize(body);
  Call call;
  call.method = method;
  call.target = target;
  call.body = as_bytes(text);
  call.content_type = "application/json";
  Response response = expect(call);
  if (response.body.empty()) return nullptr;
  Expected<json::value> value = parse_json(as_text(response.body), state_->config.max_response);
  if (!value) throw Error(ErrorKind::unavailable, "bad_answer", state_->what(call) + " was not answered with JSON");
  return std::move(*value);
}

}  // namespace lucid::net
