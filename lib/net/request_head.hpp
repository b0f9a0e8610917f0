// What one parsed request head means: the Request, its route, how its body is framed, or the problem that refuses it. No sockets.
// Internal to lib/net; one connection at a time.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "lib/base/clock.hpp"
#include "lib/base/random.hpp"
#include "lib/net/body_decoder.hpp"
#include "lib/net/http.hpp"
#include "lib/net/span.hpp"

namespace lucid::net {

inline constexpr std::size_t kMaxHead = 16 << 10;

struct Exchange {
  Request request;
  const Router::Route* route = nullptr;
  std::string method_text = "GET";
  bool keep_alive = false;
  bool http_1_0 = false;
  bool has_body = false;
  bool expects_continue = false;
  std::uint64_t request_bytes = 0, response_bytes = 0;
  std::chrono::steady_clock::time_point started;
  std::string error;  // of an unexpected exception; for the observer
  bool other_method = true;
  std::unique_ptr<OpenSpan> span;  // while the request is recorded
};

// Fills `x` from the parsed head; the Response to refuse with, if any. Framing that could be read two ways also ends keep-alive.
std::optional<Response> read_request_head(const RequestParser& parser, const Router& router, Exchange& x);

// The answer to bytes the parser refused.
Response parser_problem(const boost::system::error_code& ec, const std::string& request_id);

std::string new_request_id();

}  // namespace lucid::net
