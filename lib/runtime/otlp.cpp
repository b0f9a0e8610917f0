#include "lib/runtime/otlp.hpp"

#include <algorithm>
#include <optional>
#include <string_view>

namespace lucid::runtime {
namespace {

// Field numbers of the .proto files, as far as they are written.
namespace field {
constexpr std::uint32_t kResourceSpans = 1;                                       // ExportTraceServiceRequest
constexpr std::uint32_t kResource = 1, kScopeSpans = 2;                           // ResourceSpans
constexpr std::uint32_t kResourceAttributes = 1;                                  // Resource
constexpr std::uint32_t kScope = 1, kSpans = 2;                                   // ScopeSpans
constexpr std::uint32_t kScopeName = 1, kScopeVersion = 2;                        // InstrumentationScope
constexpr std::uint32_t kTraceId = 1, kSpanId = 2, kParentSpanId = 4, kName = 5;  // Span
constexpr std::uint32_t kKind = 6, kStart = 7, kEnd = 8, kAttributes = 9, kStatus = 15, kFlags = 16;
constexpr std::uint32_t kStatusCode = 3;                     // Status
constexpr std::uint32_t kKey = 1, kValue = 2;                // KeyValue
constexpr std::uint32_t kStringValue = 1, kIntValue = 3;     // AnyValue
constexpr std::uint32_t kPartialSuccess = 1, kRejected = 1;  // ExportTraceServiceResponse, ExportTracePartialSuccess
}  // namespace field

constexpr std::uint32_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;
constexpr std::uint64_t kKindServer = 2, kKindClient = 3;
constexpr std::uint64_t kStatusError = 2;
// SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK, SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
constexpr std::uint32_t kKnowsRemote = 0x100, kRemote = 0x200;
constexpr std::size_t kMaxText = 1024;

class Protobuf {
 public:
  void varint(std::uint32_t number, std::uint64_t value) {
    raw(std::uint64_t{number} << 3 | kVarint);
    raw(value);
  }
  void fixed32(std::uint32_t number, std::uint32_t value) {
    raw(std::uint64_t{number} << 3 | kFixed32);
    little(value, 4);
  }
  void fixed64(std::uint32_t number, std::uint64_t value) {
    raw(std::uint64_t{number} << 3 | kFixed64);
    little(value, 8);
  }
  void bytes(std::uint32_t number, ByteView value) {
    raw(std::uint64_t{number} << 3 | kBytes);
    raw(value.size());
    out_.insert(out_.end(), value.begin(), value.end());
  }
  // A protobuf string must be UTF-8, or the whole request is refused.
  void text(std::uint32_t number, std::string_view value) {
    std::string clean = to_utf8(value, kMaxText);
    bytes(number, as_bytes(clean));
  }
  template <class F>
  void message(std::uint32_t number, F&& write) {
    raw(std::uint64_t{number} << 3 | kBytes);
    std::size_t start = out_.size();
    write();
    // The length is known only now; it goes before what was written.
    std::size_t end = out_.size();
    raw(end - start);
    std::rotate(out_.begin() + static_cast<std::ptrdiff_t>(start), out_.begin() + static_cast<std::ptrdiff_t>(end), out_.end());
  }
  Bytes take() { return std::move(out_); }

 private:
  void raw(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<std::uint8_t>(value | 0x80));
    out_.push_back(static_cast<std::uint8_t>(value));
  }
  void little(std::uint64_t value, int size) {
    for (int i = 0; i < size; ++i) out_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  }
  Bytes out_;
};

void text_attribute(Protobuf& out, std::uint32_t number, std::string_view key, std::string_view value) {
  out.message(number, [&] {
    out.text(field::kKey, key);
    out.message(field::kValue, [&] { out.text(field::kStringValue, value); });
  });
}

void integer_attribute(Protobuf& out, std::uint32_t number, std::string_view key, int value) {
  out.message(number, [&] {
    out.text(field::kKey, key);
    out.message(field::kValue, [&] { out.varint(field::kIntValue, static_cast<std::uint64_t>(value)); });
  });
}

// "GET /api/v1/sessions/{id}"; without a pattern only the method, since a name must have few values.
std::string name_of(const net::Span& span) {
  std::string name = span.method == "_OTHER" ? "HTTP" : span.method;
  return span.route.empty() ? name : name + " " + span.route;
}

void write_attributes(Protobuf& out, const net::Span& span) {
  auto text = [&](std::string_view key, std::string_view value) {
    if (!value.empty()) text_attribute(out, field::kAttributes, key, value);
  };
  auto integer = [&](std::string_view key, int value) {
    if (value != 0) integer_attribute(out, field::kAttributes, key, value);
  };
  text("http.request.method", span.method);
  text("http.route", span.route);
  integer("http.response.status_code", span.status);
  text("url.scheme", span.scheme);
  text("url.path", span.path);
  text("url.full", span.url);
  text("server.address", span.host);
  integer("server.port", span.port);
  text("error.type", span.error);
}

void write_span(Protobuf& out, const net::Span& span) {
  bool server = span.kind == net::Span::Kind::server;
  bool has_parent = span.parent != net::SpanId{};
  out.bytes(field::kTraceId, span.context.trace_id);
  out.bytes(field::kSpanId, span.context.span_id);
  if (has_parent) out.bytes(field::kParentSpanId, span.parent);
  out.text(field::kName, name_of(span));
  out.varint(field::kKind, server ? kKindServer : kKindClient);
  out.fixed64(field::kStart, static_cast<std::uint64_t>(span.start_ns));
  out.fixed64(field::kEnd, static_cast<std::uint64_t>(span.end_ns));
  write_attributes(out, span);
  // A server's answer to a wrong request is no fault of its own: only what the span calls an error is one.
  if (!span.error.empty()) out.message(field::kStatus, [&] { out.varint(field::kStatusCode, kStatusError); });
  out.fixed32(field::kFlags, span.context.flags | kKnowsRemote | (server && has_parent ? kRemote : 0));
}

// Reads the one answer; every step fails rather than go past the end.
class ProtobufReader {
 public:
  explicit ProtobufReader(ByteView bytes) : left_(bytes) {}
  std::optional<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (left_.empty()) return std::nullopt;
      std::uint8_t byte = left_[0];
      left_ = left_.subspan(1);
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }
  std::optional<ByteView> take(std::uint64_t size) {
    if (size > left_.size()) return std::nullopt;
    ByteView taken = left_.first(size);
    left_ = left_.subspan(size);
    return taken;
  }
  // The value of the field of that number and type, whatever else stands before it.
  std::optional<std::uint64_t> number_in(std::uint32_t wanted) { return find(wanted, kVarint); }
  std::optional<ByteView> bytes_in(std::uint32_t wanted) {
    std::optional<std::uint64_t> size = find(wanted, kBytes);
    return size ? take(*size) : std::nullopt;
  }

 private:
  // Up to and with the number after the tag: the value, or its length.
  std::optional<std::uint64_t> find(std::uint32_t wanted, std::uint32_t type) {
    while (!left_.empty()) {
      std::optional<std::uint64_t> tag = varint();
      if (!tag) return std::nullopt;
      std::uint32_t its_type = *tag & 7;
      if (its_type == kFixed64 || its_type == kFixed32) {
        if (!take(its_type == kFixed64 ? 8 : 4)) return std::nullopt;
        continue;
      }
      if (its_type != kVarint && its_type != kBytes) return std::nullopt;
      std::optional<std::uint64_t> value = varint();
      if (!value || (*tag == (std::uint64_t{wanted} << 3 | type))) return value;
      if (its_type == kBytes && !take(*value)) return std::nullopt;
    }
    return std::nullopt;
  }
  ByteView left_;
};

}  // namespace

Bytes encode_export_request(std::span<const OtlpResource> resources) {
  Protobuf out;
  for (const OtlpResource& resource : resources) {
    out.message(field::kResourceSpans, [&] {
      out.message(field::kResource, [&] {
        text_attribute(out, field::kResourceAttributes, "service.name", resource.service_name);
        text_attribute(out, field::kResourceAttributes, "service.version", resource.service_version);
        text_attribute(out, field::kResourceAttributes, "service.instance.id", resource.service_instance);
      });
      out.message(field::kScopeSpans, [&] {
        out.message(field::kScope, [&] {
          out.text(field::kScopeName, "lucid.net");
          out.text(field::kScopeVersion, resource.service_version);
        });
        for (const net::Span* span : resource.spans) out.message(field::kSpans, [&] { write_span(out, *span); });
      });
    });
  }
  return out.take();
}

std::uint64_t rejected_spans(ByteView response) {
  std::optional<ByteView> partial = ProtobufReader(response).bytes_in(field::kPartialSuccess);
  if (!partial) return 0;
  return ProtobufReader(*partial).number_in(field::kRejected).value_or(0);
}

}  // namespace lucid::runtime
