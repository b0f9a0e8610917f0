// Writes spans as OTLP: the protobuf of ExportTraceServiceRequest (opentelemetry-proto 1.x, opentelemetry/proto/collector/trace/v1), body
// of POST /v1/traces. Attributes: OpenTelemetry's semantic conventions for HTTP spans (stable). Reads the one number of the answer that
// matters. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lib/base/bytes.hpp"
#include "lib/net/span.hpp"

namespace lucid::runtime {

// Spans of one service, which is a resource of its own.
struct OtlpResource {
  std::string service_name, service_version, service_instance;
  std::vector<const net::Span*> spans;
};

Bytes encode_export_request(std::span<const OtlpResource> resources);

// ExportTraceServiceResponse.partial_success.rejected_spans; 0 when it says nothing or cannot be read.
std::uint64_t rejected_spans(ByteView response);

}  // namespace lucid::runtime
