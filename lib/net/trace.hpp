// The request a worker thread is answering right now, so that every further call it makes carries the same X-Request-ID and
// traceparent without handlers passing them by hand, and every line it logs names them. Set by the server around a handler; per thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace lucid::net {

class SpanSink;

struct Trace {
  std::string request_id;
  std::string traceparent;
  std::shared_ptr<SpanSink> spans;  // set while the request is recorded: its calls are too (span.hpp)
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
// Its 32 digits of trace id; empty for anything that is no traceparent.
std::string_view trace_id_of(std::string_view traceparent);

}  // namespace lucid::net
