// Spans: one for every request a server answers and for every call a handler makes meanwhile, handed to a SpanSink once they are over.
// What becomes of them there (lib/runtime exports them by OTLP) is not known here. The ids follow W3C Trace Context level 1: a request
// that brings a traceparent continues that trace and its `sampled` flag decides; otherwise a trace begins here and the sink decides.
// Without a sink nothing is made and traceparent is passed on as it came. Attributes are those of OpenTelemetry's stable conventions for
// HTTP; a query string is never part of a span. Any thread; a span belongs to one thread at a time.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.hpp"
#include "lib/net/http.hpp"
#include "lib/net/trace.hpp"

namespace lucid::net {

using TraceId = std::array<std::uint8_t, 16>;
using SpanId = std::array<std::uint8_t, 8>;
inline constexpr std::size_t kMaxSpanPath = 1024;

struct SpanContext {
  TraceId trace_id{};
  SpanId span_id{};
  std::uint8_t flags = 0;

  bool sampled() const { return (flags & 1) != 0; }
  std::string traceparent() const;
  // Nothing unless is_traceparent().
  static std::optional<SpanContext> parse(std::string_view traceparent);
};

struct Span {
  enum class Kind { server, client };
  Kind kind = Kind::server;
  SpanContext context;
  SpanId parent{};                        // all zero: none
  std::int64_t start_ns = 0, end_ns = 0;  // since the epoch
  std::string method;                     // "GET", "_OTHER"
  std::string route;                      // server: the pattern, empty where none matched
  std::string path;                       // without query; any bytes
  std::string scheme;                     // "http", "https"
  std::string host;                       // client: where the call goes
  std::string url;                        // client: whole, without query
  std::uint16_t port = 0;
  int status = 0;     // 0: there was no answer
  std::string error;  // error.type; empty: it went well
};

class SpanSink {
 public:
  virtual ~SpanSink() = default;
  // Whether a trace that begins here is recorded.
  virtual bool samples(const TraceId& trace) const noexcept = 0;
  // A span that is over. Must not block.
  virtual void add(Span span) noexcept = 0;
};

// A span under way.
class OpenSpan {
 public:
  // Begins now, as a child of `parent` or as the first of a trace. Nothing when that trace is not sampled.
  OpenSpan(Span::Kind kind, const SpanContext& context, const SpanId& parent);
  Span span;
  void end(SpanSink& sink);

 private:
  std::chrono::steady_clock::time_point started_;
};

// The span of a request that came with `traceparent` (which may be empty), and what the request's further calls carry as theirs.
// No span when the trace is not sampled.
std::unique_ptr<OpenSpan> begin_server_span(const SpanSink& sink, std::string& traceparent);

// Runs `call` (which answers a Response) inside a client span when the request being handled is recorded; else just runs it.
struct CallTarget {
  Method method;
  std::string_view target;                // path and query
  std::string_view base_url, host, port;  // of the client
};
class CallSpan {
 public:
  explicit CallSpan(const CallTarget& target);
  void answered(int status);
  void failed(std::string_view error);

 private:
  std::shared_ptr<SpanSink> sink_;
  OpenSpan open_;
  TraceScope scope_;  // the callee's parent is this call
};

template <class F>
Response traced_call(const CallTarget& target, F&& call) {
  if (!current_trace().spans) return call();
  CallSpan span(target);
  try {
    Response response = call();
    span.answered(response.status);
    return response;
  } catch (const Error& e) {
    span.failed(e.code());
    throw;
  } catch (const std::exception&) {
    span.failed("_OTHER");
    throw;
  }
}

}  // namespace lucid::net
