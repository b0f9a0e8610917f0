// The first bytes of an answer: status line and headers as text. Internal to lib/net; pure, any thread.
#pragma once

#include <string>
#include <string_view>

#include "lib/net/http.hpp"

namespace lucid::net {

const char* reason_phrase(int status);

// A problem whose status has no ErrorKind of its own (414, 417, 431).
Response problem_with_status(int status, const Error& error, const std::string& request_id);

struct HeadOptions {
  std::string_view request_id;
  bool keep_alive = true;
  bool http_1_0 = false;
  bool chunked = false;  // else Content-Length: length, unless the status has no body
  std::uint64_t length = 0;
};

// Appends the head to `out`. Adds Date, X-Request-ID, X-Content-Type-Options: nosniff and, unless the handler chose
// otherwise, Cache-Control: no-store. Framing headers a handler set are left out: the connection alone decides framing.
// Control characters in header values become spaces (no response splitting).
void append_head(std::string& out, const Response& response, const HeadOptions& options);

// 1xx, 204 and 304 never carry a body.
bool may_have_body(int status);

}  // namespace lucid::net
