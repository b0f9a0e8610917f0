// Exports the spans of lib/net by OTLP/HTTP (protobuf) to a collector: POST <endpoint>/v1/traces. Handing over a span costs one short
// lock and never waits: spans are kept up to a bound and dropped beyond it, and one thread sends them in batches. A collector that is
// away is tried again for a while (429, 502, 503, 504 and failed connections, with growing pauses), then the batch is given up. Counted
// in lucid_trace_spans_total{service,outcome=exported|dropped|failed}. Owned by the process; sinks may outlive it and then take nothing.
// What has not been sent when the process ends, beyond a second of trying, is lost: spans are a view, never evidence.
// Sources: OpenTelemetry Protocol 1.x (OTLP/HTTP), OTEL_* environment variables.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "lib/net/client.hpp"
#include "lib/net/span.hpp"
#include "lib/runtime/log.hpp"
#include "lib/runtime/metrics.hpp"

namespace lucid::runtime {

struct TracingConfig {
  std::string endpoint;         // "http://collector:4318"
  std::string headers;          // "name=value,name=value", values percent-encoded
  double ratio = 1;             // of the traces that begin here
  std::size_t capacity = 4096;  // spans kept while they wait
  std::size_t batch = 512;
  std::chrono::milliseconds delay{2'000};         // the longest a span waits for others
  std::chrono::milliseconds retry_pause{500};     // doubled with each further attempt
  std::chrono::milliseconds retry_limit{30'000};  // then the batch is given up
};

// The headers as they are sent; nothing when the text is not such a list.
std::optional<net::Headers> parse_export_headers(const std::string& text);
// Nothing unless a number from 0 to 1.
std::optional<double> parse_ratio(const std::string& text);

class Tracing {
 public:
  // Throws Error{invalid} for an endpoint or headers that are not usable.
  Tracing(TracingConfig config, Metrics& metrics);
  ~Tracing();  // sends what is left, for up to a second
  Tracing(const Tracing&) = delete;
  // Where the spans of that service go. Any thread.
  std::shared_ptr<net::SpanSink> sink(const std::string& service);

 private:
  struct Service;
  struct Waiting;
  struct Kept;
  class Sink;
  enum class Outcome { done, again, refused };

  void run();
  void send(std::span<const Waiting> batch);
  Outcome attempt(const Bytes& request, std::chrono::milliseconds timeout, std::uint64_t& rejected, std::chrono::milliseconds& pause);
  void complain(const std::string& why);

  const TracingConfig config_;
  const std::string instance_;
  Metrics& metrics_;
  const Log log_;
  net::Client client_;
  net::Headers headers_;
  std::shared_ptr<Kept> kept_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<net::SpanSink>> sinks_;
  bool failing_ = false;  // of the thread: one line when it begins and one when it ends
  std::thread thread_;
};

}  // namespace lucid::runtime
