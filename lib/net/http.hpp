// HTTP requests and responses as services see them: plain values, no Beast. A handler is an ordinary function that runs
// on the server's worker threads and may block (disk, SQLite, a call to another service); connections themselves are
// coroutines on the io threads. A thrown lucid::Error becomes an RFC 9457 problem in one place (problem.hpp).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"
#include "lib/base/json.hpp"

namespace lucid::net {

enum class Method { get, head, post, put, patch, del };
const char* name(Method method);

// Header names are compared without case.
class Headers {
 public:
  void set(std::string_view name, std::string value);
  void add(std::string_view name, std::string value);
  std::optional<std::string_view> get(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& all() const { return items_; }

 private:
  std::vector<std::pair<std::string, std::string>> items_;
};

// Pulls a request body that is streamed instead of buffered. Blocks; the deadline of the body phase applies.
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  // Up to out.size() bytes; 0 at the end. Throws Error{timeout|too_large|malformed} when the client misbehaves.
  virtual std::size_t read(std::span<std::uint8_t> out) = 0;
};

struct Request {
  Method method = Method::get;
  std::string path;                           // percent-decoded, no query
  std::map<std::string, std::string> params;  // {id} of the route pattern
  std::map<std::string, std::string> query;   // percent-decoded; a repeated name keeps the last
  Headers headers;
  Bytes body;                          // whole body, at most the route's max_body (empty when streamed)
  std::shared_ptr<BodyReader> stream;  // set on routes with BodyMode::stream
  std::string request_id;              // X-Request-ID if well-formed, else a new UUIDv7
  std::string traceparent;             // W3C, as further calls carry it: where spans are made its parent is this request
  std::string remote;                  // client address
  std::string principal;               // who the authenticator said it is ("admin", "service:recorder")

  const std::string& param(const std::string& name) const;  // Error{internal} if not in the pattern
  std::optional<std::string> query_text(const std::string& name) const;
  std::int64_t query_integer_or(const std::string& name, std::int64_t fallback, std::int64_t min,
                                std::int64_t max) const;  // Error{invalid}
  json::value json_body() const;                          // Error{unsupported_media} unless application/json; Error{malformed}
};

struct Response {
  int status = 200;
  Headers headers;
  Bytes body;
  // When set, the body is streamed: called on a worker thread until it answers 0; `body` is ignored. With `stream_size`
  // a Content-Length is sent, else chunked encoding. A throw aborts the connection (the client sees a cut body).
  std::function<std::size_t(std::span<std::uint8_t>)> stream;
  std::optional<std::uint64_t> stream_size;

  static Response json(int status, const json::value& value);
  static Response json_text(int status, std::string text);
  static Response bytes(Bytes body, std::string content_type = "application/octet-stream");
  static Response text(std::string body, std::string content_type = "text/plain; charset=utf-8");
  static Response empty(int status = 204);
};

// RFC 9457 application/problem+json for an Error; `internal` errors show no inner detail beyond their message.
Response problem(const Error& error, const std::string& request_id);
// The inverse, used by clients: the Error a problem response stands for (kind from the status, code, detail, fields).
Error error_from(int status, const Headers& headers, ByteView body, const std::string& what);

using Handler = std::function<Response(Request&)>;

enum class BodyMode { buffer, stream };
enum class Run { worker, inline_ };  // inline_: on the io thread; only for handlers that never block
enum class Auth { required, open };  // open: /health, /ready, /metrics, /version

struct RouteOptions {
  std::size_t max_body = 1 << 20;  // bytes; more answers 413
  BodyMode body = BodyMode::buffer;
  Run run = Run::worker;
  Auth auth = Auth::required;
  bool traced = true;  // whether requests leave a span, where spans are made
};

// Patterns: "/api/v1/sessions/{id}/chunks/{seq}". Literal segments win over parameters. Built before the server starts.
class Router {
 public:
  Router();
  Router(Router&&) noexcept;
  Router& operator=(Router&&) noexcept;
  ~Router();
  // Throws Error{internal} for a pattern without leading '/', the same route twice, or an inline streaming route.
  void add(Method method, std::string pattern, Handler handler, RouteOptions options = {});
  struct Route {
    Method method;
    std::string pattern;
    Handler handler;
    RouteOptions options;
  };
  struct Match {
    const Route* route = nullptr;
    std::map<std::string, std::string> params;
    std::vector<Method> allowed;
  };
  // `path` is percent-decoded. A HEAD without a route of its own finds the GET route. `allowed` is filled when only the
  // method is wrong.
  Match match(Method method, std::string_view path) const;
  const std::vector<std::unique_ptr<Route>>& routes() const { return routes_; }

 private:
  struct Node;
  static const Route* find(const Node& node, Method method, std::span<const std::string_view> rest, std::array<bool, 6>& allowed);
  std::vector<std::unique_ptr<Route>> routes_;
  std::unique_ptr<Node> root_;
};

}  // namespace lucid::net
