#include "lib/net/span.hpp"

#include <algorithm>
#include <charconv>

#include "lib/base/random.hpp"

namespace lucid::net {
namespace {

template <std::size_t N>
std::array<std::uint8_t, N> from_hex_digits(std::string_view digits) {
  std::array<std::uint8_t, N> out{};
  for (std::size_t i = 0; i < N; ++i) std::from_chars(digits.data() + 2 * i, digits.data() + 2 * i + 2, out[i], 16);
  return out;
}

void append_hex(std::string& out, std::span<const std::uint8_t> bytes) {
  for (std::uint8_t byte : bytes) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
}

// Ids of all zero bytes stand for none.
template <std::size_t N>
std::array<std::uint8_t, N> new_span_ids() {
  static SystemRandom random;
  std::array<std::uint8_t, N> id{};
  while (id == std::array<std::uint8_t, N>{}) random.fill(id);
  return id;
}

std::int64_t wall_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

SpanContext child_of(const SpanContext& parent) { return {parent.trace_id, new_span_ids<8>(), parent.flags}; }

SpanContext current_context() { return SpanContext::parse(current_trace().traceparent).value_or(SpanContext{}); }

Trace trace_with(const SpanContext& context) {
  Trace trace = current_trace();
  trace.traceparent = context.traceparent();
  return trace;
}

}  // namespace

std::string SpanContext::traceparent() const {
  std::string out = "00-";
  out.reserve(55);
  append_hex(out, trace_id);
  out += '-';
  append_hex(out, span_id);
  out += '-';
  append_hex(out, {&flags, 1});
  return out;
}

std::optional<SpanContext> SpanContext::parse(std::string_view traceparent) {
  if (!is_traceparent(traceparent)) return std::nullopt;
  return SpanContext{from_hex_digits<16>(traceparent.substr(3)), from_hex_digits<8>(traceparent.substr(36)),
                     from_hex_digits<1>(traceparent.substr(53))[0]};
}

OpenSpan::OpenSpan(Span::Kind kind, const SpanContext& context, const SpanId& parent) : started_(std::chrono::steady_clock::now()) {
  span.kind = kind;
  span.context = context;
  span.parent = parent;
  span.start_ns = wall_ns();
}

void OpenSpan::end(SpanSink& sink) {
  // The wall clock may be set meanwhile; a span never ends before it began.
  span.end_ns = span.start_ns + std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - started_).count();
  sink.add(std::move(span));
}

std::unique_ptr<OpenSpan> begin_server_span(const SpanSink& sink, std::string& traceparent) {
  std::optional<SpanContext> parent = SpanContext::parse(traceparent);
  if (parent && !parent->sampled()) return nullptr;
  SpanContext context;
  if (parent) {
    // Of the flags only `sampled` has a meaning here.
    context = child_of(*parent);
    context.flags = 1;
  } else {
    context = {new_span_ids<16>(), new_span_ids<8>(), 0};
    context.flags = sink.samples(context.trace_id) ? 1 : 0;
  }
  traceparent = context.traceparent();
  // Not recorded: the trace goes on under its ids, so that no service further on begins one of its own.
  if (!context.sampled()) return nullptr;
  return std::make_unique<OpenSpan>(Span::Kind::server, context, parent ? parent->span_id : SpanId{});
}

CallSpan::CallSpan(const CallTarget& target)
    : sink_(current_trace().spans),
      open_(Span::Kind::client, child_of(current_context()), current_context().span_id),
      scope_(trace_with(open_.span.context)) {
  Span& span = open_.span;
  span.method = name(target.method);
  span.scheme = target.base_url.substr(0, target.base_url.find(':'));
  span.host = target.host;
  std::from_chars(target.port.data(), target.port.data() + target.port.size(), span.port);
  std::string_view path = target.target.substr(0, target.target.find('?'));
  span.path = path.substr(0, kMaxSpanPath);
  span.url.append(target.base_url).append(span.path);
}

void CallSpan::answered(int status) {
  open_.span.status = status;
  if (status >= 400) open_.span.error = std::to_string(status);
  open_.end(*sink_);
}

void CallSpan::failed(std::string_view error) {
  open_.span.error = error;
  open_.end(*sink_);
}

}  // namespace lucid::net
