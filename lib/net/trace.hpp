// The request a worker thread is answering right now, so that every further call it makes carries the same X-Request-ID and
// traceparent without handlers passing them by hand. Set by the server around a handler; per thread.
#pragma once

#include <string>
#include <string_view>

namespace lucid::net {

struct Trace {
  std::string request_id;
  std::string traceparent;
};

// Empty members outside of a handler.
const Trace& current_trace();

// Sets the current trace for the lifetime of the object.
class TraceScope {
 public:
  explicit TraceScope(Trace trace);
  ~TraceScope();
  TraceScope(const TraceScope&) = delete;

 private:
  Trace previous_;
};

// [A-Za-z0-9._-]{1,64}
bool is_request_id(std::string_view text);
// W3C Trace Context level 1: version 00, lower-case hex, ids not all zero.
bool is_traceparent(std::string_view text);

}  // namespace lucid::net
