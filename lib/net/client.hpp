// HTTP/1.1 client for service-to-service calls and the CLI: blocking, thread-safe, pools kept-alive connections per
// host, a deadline on the whole call. A kept-alive connection found dead before any byte of the answer arrived is retried once on a new one
// (all our changing calls are idempotent). Connection refused, resets and timeouts are Error{unavailable}. https: TLS 1.2 or later with a verified
// certificate (lib/crypto/tls_client.hpp); what is wrong with it is Error{unavailable, "tls_failed"}.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "lib/net/http.hpp"

namespace lucid::net {

struct ClientConfig {
  std::string base_url;                 // "http://127.0.0.1:8083", "https://…"
  std::function<std::string()> bearer;  // asked for every call; empty: no Authorization
  std::chrono::milliseconds connect_timeout{1'000};
  std::chrono::milliseconds timeout{10'000};  // whole call, unless the call says otherwise
  std::size_t max_response = 64 << 20;        // bytes buffered
  std::string ca_file = {};                   // https: PEM file of whom to trust; empty: the system's trust store
};

struct Call {
  Method method = Method::get;
  std::string target;  // path and query, already percent-encoded
  Headers headers;
  ByteView body;             // valid during the call
  std::string content_type;  // set when there is a body
  std::optional<std::chrono::milliseconds> timeout;
  // When set, receives the body of a 2xx answer piece by piece and Response::body stays empty.
  std::function<void(ByteView)> sink;
  // When set, a body is cut after so many bytes instead of refused, and the connection is not kept: for answers of strangers.
  std::optional<std::size_t> cut_body = {};
};

class Client {
 public:
  explicit Client(ClientConfig config);
  ~Client();
  // The answer whatever its status.
  Response send(const Call& call);
  // The answer when 2xx, else throws the Error its problem stands for.
  Response expect(const Call& call);
  // JSON both ways, through expect().
  json::value get_json(const std::string& target);
  // An answer without a body is null.
  json::value send_json(Method method, const std::string& target, const json::value& body);

  struct State;  // internal to client.cpp

 private:
  Response exchange(const Call& call);  // send() without its span
  std::unique_ptr<State> state_;
};

std::string percent_encode(std::string_view text);

}  // namespace lucid::net
