// The exporter against a collector that is there, slow, full, or away.
#include "lib/runtime/tracing.hpp"

#include <atomic>
#include <condition_variable>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/random.hpp"
#include "lib/net/server.hpp"

using namespace lucid;
using namespace lucid::runtime;
using namespace std::chrono_literals;
using testing::HasSubstr;

namespace {

// Answers as told and keeps what came. Span names are counted by the path they carry: "/n" stands once in every span.
class Collector {
 public:
  explicit Collector(std::uint16_t port = 0) {
    net::Router router;
    router.add(net::Method::post, "/v1/traces",
               [this](net::Request& request) {
                 std::unique_lock lock(mutex_);
                 requests_.push_back(std::string(as_text(request.body)));
                 headers_.push_back(std::string(request.headers.get("x-api-key").value_or("")) + "|" +
                                    std::string(request.headers.get("Content-Type").value_or("")) + "|" +
                                    std::string(request.headers.get("traceparent").value_or("")));
                 changed_.notify_all();
                 changed_.wait(lock, [this] { return !held_; });
                 net::Response response = net::Response::bytes(answer_);
                 response.status = statuses_.empty() ? 200 : statuses_.front();
                 if (!statuses_.empty()) statuses_.erase(statuses_.begin());
                 return response;
               },
               {.max_body = 4 << 20, .auth = net::Auth::open});
    server_ = std::make_unique<net::Server>(net::ServerConfig{.port = port}, std::move(router), net::Authenticator(), net::Observer());
    server_->start();
  }
  ~Collector() { hold(false); }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_->port()); }
  std::uint16_t port() const { return server_->port(); }
  void answer(std::vector<int> statuses, Bytes body = {}) {
    std::lock_guard lock(mutex_);
    statuses_ = std::move(statuses);
    answer_ = std::move(body);
  }
  void hold(bool held) {
    std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  std::vector<std::string> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, 10s, [&] { return requests_.size() >= count; })) << requests_.size();
    return requests_;
  }
  std::vector<std::string> headers() {
    std::lock_guard lock(mutex_);
    return headers_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> requests_, headers_;
  std::vector<int> statuses_;
  Bytes answer_;
  bool held_ = false;
  std::unique_ptr<net::Server> server_;  // last: ends first
};

net::Span span(int number) {
  net::Span span;
  span.context.trace_id[0] = span.context.span_id[0] = 1;
  span.method = "GET";
  span.path = "/n" + std::to_string(number) + ";";
  return span;
}

std::size_t spans_in(const std::vector<std::string>& requests) {
  std::size_t count = 0;
  for (const std::string& request : requests)
    for (std::size_t at = 0; (at = request.find("/n", at)) != std::string::npos; ++at) ++count;
  return count;
}

TracingConfig quick(const std::string& endpoint) {
  return {.endpoint = endpoint, .headers = {}, .delay = 20ms, .retry_pause = 10ms, .retry_limit = 30s};
}

std::string counted(const Metrics& metrics, const std::string& outcome, const std::string& service = "a") {
  std::string text = metrics.expose(), start = "lucid_trace_spans_total{outcome=\"" + outcome + "\",service=\"" + service + "\"} ";
  std::size_t at = text.find(start);
  return at == std::string::npos ? "absent" : text.substr(at + start.size(), text.find('\n', at) - at - start.size());
}

}  // namespace

TEST(Tracing, SpansArriveWithTheirServiceAndTheHeadersAsked) {
  Collector collector;
  Metrics metrics;
  TracingConfig config = quick(collector.url());
  config.headers = "x-api-key=a%20secret, other = 1";
  {
    Tracing tracing(config, metrics);
    net::TraceScope scope({"r", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", nullptr});
    tracing.sink("a")->add(span(1));
    tracing.sink("b")->add(span(2));
    EXPECT_EQ(tracing.sink("a"), tracing.sink("a"));
    collector.wait_for(1);
  }
  std::vector<std::string> requests = collector.wait_for(1);
  EXPECT_EQ(spans_in(requests), 2u);
  EXPECT_THAT(requests[0], HasSubstr("service.name"));
  for (const std::string& headers : collector.headers())
    EXPECT_EQ(headers, "a secret|application/x-protobuf|") << "and is no call of a trace";
  EXPECT_EQ(counted(metrics, "exported", "a"), "1");
  EXPECT_EQ(counted(metrics, "exported", "b"), "1");
  EXPECT_EQ(counted(metrics, "failed"), "0");
}

TEST(Tracing, WhatIsLeftIsSentAtTheEnd) {
  Collector collector;
  Metrics metrics;
  {
    TracingConfig config = quick(collector.url());
    config.delay = 1h;
    Tracing tracing(config, metrics);
    for (int i = 0; i < 100; ++i) tracing.sink("a")->add(span(i));
  }
  EXPECT_EQ(spans_in(collector.wait_for(1)), 100u);
  EXPECT_EQ(counted(metrics, "exported"), "100");
}

TEST(Tracing, AFullBatchDoesNotWait) {
  Collector collector;
  Metrics metrics;
  TracingConfig config = quick(collector.url());
  config.delay = 1h;
  config.batch = 8;
  Tracing tracing(config, metrics);
  for (int i = 0; i < 8; ++i) tracing.sink("a")->add(span(i));
  EXPECT_EQ(spans_in(collector.wait_for(1)), 8u);
}

TEST(Tracing, ACollectorThatIsFullIsAskedAgain) {
  Collector collector;
  collector.answer({503, 429, 502, 504});
  Metrics metrics;
  {
    TracingConfig config = quick(collector.url());
    Tracing tracing(config, metrics);
    tracing.sink("a")->add(span(1));
    EXPECT_EQ(spans_in(collector.wait_for(5)), 5u);
  }
  EXPECT_EQ(counted(metrics, "exported"), "1");
  EXPECT_EQ(counted(metrics, "failed"), "0");
}

TEST(Tracing, ABatchThatIsNeverTakenIsGivenUpForTheNext) {
  Collector collector;
  collector.answer(std::vector<int>(10'000, 503));
  Metrics metrics;
  TracingConfig config = quick(collector.url());
  config.retry_limit = 100ms;
  Tracing tracing(config, metrics);
  tracing.sink("a")->add(span(1));
  std::size_t seen = collector.wait_for(1).size();
  tracing.sink("a")->add(span(2));
  while (collector.wait_for(seen).back().find("/n2;") == std::string::npos) ++seen;
  EXPECT_NE(counted(metrics, "failed"), "0");
}

TEST(Tracing, ARefusalIsNotRepeated) {
  Collector collector;
  collector.answer({400});
  Metrics metrics;
  {
    Tracing tracing(quick(collector.url()), metrics);
    tracing.sink("a")->add(span(1));
    collector.wait_for(1);
    tracing.sink("a")->add(span(2));
    collector.wait_for(2);
  }
  EXPECT_EQ(collector.wait_for(2).size(), 2u);
  EXPECT_EQ(counted(metrics, "failed"), "1");
  EXPECT_EQ(counted(metrics, "exported"), "1");
}

TEST(Tracing, SpansTheCollectorRejectedCountAsFailed) {
  Collector collector;
  collector.answer({}, {0x0a, 0x02, 0x08, 0x02});
  Metrics metrics;
  {
    TracingConfig config = quick(collector.url());
    config.delay = 1h;
    Tracing tracing(config, metrics);
    for (int i = 0; i < 5; ++i) tracing.sink("a")->add(span(i));
  }
  EXPECT_EQ(counted(metrics, "failed"), "2");
  EXPECT_EQ(counted(metrics, "exported"), "3");
}

TEST(Tracing, ACollectorThatComesBackGetsWhatItMissed) {
  Metrics metrics;
  auto first = std::make_unique<Collector>();
  std::uint16_t port = first->port();
  TracingConfig config = quick(first->url());
  first.reset();
  Tracing tracing(config, metrics);
  tracing.sink("a")->add(span(1));
  Collector second(port);
  EXPECT_EQ(spans_in(second.wait_for(1)), 1u);
}

TEST(Tracing, MoreSpansThanFitAreDroppedAndNobodyWaits) {
  Collector collector;
  collector.hold(true);
  Metrics metrics;
  TracingConfig config = quick(collector.url());
  config.capacity = 10;
  config.batch = 1;
  {
    Tracing tracing(config, metrics);
    std::shared_ptr<net::SpanSink> sink = tracing.sink("a");
    sink->add(span(0));
    collector.wait_for(1);  // the thread now waits for the collector
    auto began = std::chrono::steady_clock::now();
    for (int i = 1; i <= 1'000; ++i) sink->add(span(i));
    EXPECT_LT(std::chrono::steady_clock::now() - began, 1s);
    EXPECT_EQ(counted(metrics, "dropped"), "990");
    collector.hold(false);
    collector.wait_for(11);
  }
  EXPECT_EQ(counted(metrics, "exported"), "11");
}

TEST(Tracing, ACollectorThatIsAwayHoldsNothingUp) {
  Metrics metrics;
  std::shared_ptr<net::SpanSink> sink;
  auto began = std::chrono::steady_clock::now();
  {
    TracingConfig config = quick("http://127.0.0.1:1");
    config.retry_limit = 1h;
    Tracing tracing(config, metrics);
    sink = tracing.sink("a");
    for (int i = 0; i < 600; ++i) sink->add(span(i));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, 3s);
  EXPECT_EQ(counted(metrics, "failed"), "600");
  sink->add(span(1));  // outlives the exporter and takes nothing
}

TEST(Tracing, TheShareOfRecordedTracesIsTheOneAsked) {
  Metrics metrics;
  for (double ratio : {0.0, 0.25, 1.0}) {
    TracingConfig config = quick("http://127.0.0.1:1");
    config.ratio = ratio;
    Tracing tracing(config, metrics);
    std::shared_ptr<net::SpanSink> sink = tracing.sink("a");
    SeededRandom random(3);
    int recorded = 0;
    for (int i = 0; i < 4'000; ++i) recorded += sink->samples(random.array<16>()) ? 1 : 0;
    EXPECT_NEAR(recorded, ratio * 4'000, ratio == 0.25 ? 120 : 0);
  }
}

TEST(Tracing, SettingsAreReadStrictly) {
  EXPECT_EQ(parse_ratio("0.25"), 0.25);
  EXPECT_EQ(parse_ratio("1"), 1);
  for (const char* bad : {"", "1.1", "-0.1", "nan", "inf", "half", "0.5 "}) EXPECT_FALSE(parse_ratio(bad)) << bad;
  EXPECT_EQ(parse_export_headers("")->all().size(), 0u);
  EXPECT_EQ(parse_export_headers("a=1,b=x%3Dy")->get("b"), "x=y");
  for (const char* bad : {"a", "=1", "a b=1", "a=%0d%0aX: y", "a=%2", "a=%zz", "a=\n"}) EXPECT_FALSE(parse_export_headers(bad)) << bad;
}
