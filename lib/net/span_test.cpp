// Spans as a server and the clients its handlers use make them.
#include "lib/net/span.hpp"

#include "lib/net/client.hpp"
#include "lib/net/server_fixture.hpp"

using namespace lucid;
using namespace lucid::net;
using testing::HasSubstr;
using testing::Not;

namespace {

constexpr const char* kParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
constexpr const char* kUnsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

class KeptSpans final : public SpanSink {
 public:
  explicit KeptSpans(bool sampling = true) : sampling_(sampling) {}
  bool samples(const TraceId&) const noexcept override { return sampling_; }
  void add(Span span) noexcept override {
    std::lock_guard lock(mutex_);
    spans_.push_back(std::move(span));
    more_.notify_all();
  }
  // A span is over a moment after its answer was read.
  std::vector<Span> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    more_.wait_for(lock, std::chrono::seconds(5), [&] { return spans_.size() >= count; });
    return spans_;
  }

 private:
  const bool sampling_;
  std::mutex mutex_;
  std::condition_variable more_;
  std::vector<Span> spans_;
};

class SpanTest : public ServerTest {
 protected:
  void start_traced(Router router, bool sampling = true) {
    spans_ = std::make_shared<KeptSpans>(sampling);
    ServerConfig config = short_deadlines();
    config.spans = spans_;
    start(std::move(router), config);
  }
  std::string url() { return "http://127.0.0.1:" + std::to_string(server_->port()); }
  static std::string with_parent(const char* parent) { return std::string("traceparent: ") + parent + "\r\n"; }
  // The traceparent that /echo was handled with.
  static std::string echoed(const std::string& answer) { return answer.substr(answer.rfind('|') + 1); }

  std::shared_ptr<KeptSpans> spans_;
};

}  // namespace

TEST(SpanContext, IsReadAndWrittenAsTraceparent) {
  std::optional<SpanContext> context = SpanContext::parse(kParent);
  ASSERT_TRUE(context);
  EXPECT_EQ(context->trace_id[0], 0x0a);
  EXPECT_EQ(context->trace_id[15], 0x9c);
  EXPECT_EQ(context->span_id[7], 0x31);
  EXPECT_TRUE(context->sampled());
  EXPECT_EQ(context->traceparent(), kParent);
  EXPECT_FALSE(SpanContext::parse(kUnsampled)->sampled());
  for (const char* bad :
       {"", "00-", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"})
    EXPECT_FALSE(SpanContext::parse(bad)) << bad;
  EXPECT_EQ(trace_id_of(kParent), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(trace_id_of("nonsense"), "");
}

TEST_F(SpanTest, ARequestContinuesItsCallersTrace) {
  start_traced(usual());
  std::string answer = get("/items/7?token=hunter2", with_parent(kParent));
  EXPECT_THAT(answer, HasSubstr("HTTP/1.1 200"));
  std::vector<Span> spans = spans_->wait_for(1);
  ASSERT_EQ(spans.size(), 1u);
  const Span& span = spans[0];
  EXPECT_EQ(span.kind, Span::Kind::server);
  EXPECT_EQ(span.context.trace_id, SpanContext::parse(kParent)->trace_id);
  EXPECT_EQ(span.parent, SpanContext::parse(kParent)->span_id);
  EXPECT_NE(span.context.span_id, span.parent);
  EXPECT_EQ(span.method, "GET");
  EXPECT_EQ(span.route, "/items/{id}");
  EXPECT_EQ(span.path, "/items/7");
  EXPECT_EQ(span.scheme, "http");
  EXPECT_EQ(span.status, 200);
  EXPECT_EQ(span.error, "");
  EXPECT_GE(span.end_ns, span.start_ns);
  EXPECT_LT(span.end_ns - span.start_ns, 5'000'000'000);
}

TEST_F(SpanTest, HandlersPassOnTheirOwnSpanAsTheParent) {
  start_traced(usual());
  std::string carried = echoed(get("/echo?q=1", with_parent(kParent)));
  std::vector<Span> spans = spans_->wait_for(1);
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(carried, spans[0].context.traceparent());
}

TEST_F(SpanTest, TheCallersDecisionNotToRecordStands) {
  start_traced(usual());
  EXPECT_EQ(echoed(get("/echo", with_parent(kUnsampled))), kUnsampled);
  // A later request's span shows that none of the first is still to come.
  get("/items/1", with_parent(kParent));
  EXPECT_EQ(spans_->wait_for(1).size(), 1u);
}

TEST_F(SpanTest, ATraceBeginsWhereNoneCame) {
  start_traced(usual());
  std::optional<SpanContext> carried = SpanContext::parse(echoed(get("/echo")));
  std::vector<Span> spans = spans_->wait_for(1);
  ASSERT_EQ(spans.size(), 1u);
  ASSERT_TRUE(carried);
  EXPECT_EQ(carried->trace_id, spans[0].context.trace_id);
  EXPECT_EQ(spans[0].parent, SpanId{});
}

TEST_F(SpanTest, ATraceThatIsNotRecordedTellsFurtherServicesSo) {
  start_traced(usual(), false);
  std::optional<SpanContext> carried = SpanContext::parse(echoed(get("/echo")));
  ASSERT_TRUE(carried);
  EXPECT_FALSE(carried->sampled());
  server_->stop(std::chrono::milliseconds(100));
  EXPECT_EQ(spans_->wait_for(0).size(), 0u);
}

TEST_F(SpanTest, ACallOfAHandlerIsTheParentOfWhatItCauses) {
  auto client = std::make_shared<std::unique_ptr<Client>>();
  Router router = usual();
  router.add(
      Method::get, "/outer",
      [client](Request&) {
        Call call;
        call.target = "/items/5?token=hunter2";
        (*client)->expect(call);
        call.target = "/nowhere";
        (*client)->send(call);
        return Response::empty();
      },
      kOpen);
  start_traced(std::move(router));
  *client = std::make_unique<Client>(ClientConfig{.base_url = url(), .bearer = {}});
  get("/outer", with_parent(kParent));
  std::vector<Span> spans = spans_->wait_for(5);
  ASSERT_EQ(spans.size(), 5u);
  auto one = [&](Span::Kind kind, const std::string& path) {
    auto found = std::find_if(spans.begin(), spans.end(), [&](const Span& s) { return s.kind == kind && s.path == path; });
    EXPECT_NE(found, spans.end()) << path;
    return found == spans.end() ? Span{} : *found;
  };
  Span outer = one(Span::Kind::server, "/outer"), call = one(Span::Kind::client, "/items/5"), inner = one(Span::Kind::server, "/items/5");
  EXPECT_EQ(call.parent, outer.context.span_id);
  EXPECT_EQ(inner.parent, call.context.span_id);
  EXPECT_EQ(inner.context.trace_id, SpanContext::parse(kParent)->trace_id);
  EXPECT_EQ(call.host, "127.0.0.1");
  EXPECT_EQ(call.port, server_->port());
  EXPECT_EQ(call.url, url() + "/items/5");
  EXPECT_EQ(call.scheme, "http");
  EXPECT_EQ(call.route, "");
  Span missed = one(Span::Kind::client, "/nowhere"), missing = one(Span::Kind::server, "/nowhere");
  EXPECT_EQ(missed.status, 404);
  EXPECT_EQ(missed.error, "404") << "for a caller an answer 404 is a failure";
  EXPECT_EQ(missing.error, "") << "for the server it is none";
  EXPECT_EQ(missing.route, "");
}

TEST_F(SpanTest, ACallThatIsNotAnsweredNamesWhy) {
  Router router;
  router.add(
      Method::get, "/outer",
      [](Request&) -> Response {
        Client client({.base_url = "http://127.0.0.1:1", .bearer = {}});
        Call call;
        call.target = "/x";
        return client.expect(call);
      },
      kOpen);
  start_traced(std::move(router));
  get("/outer");
  std::vector<Span> spans = spans_->wait_for(2);
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].kind, Span::Kind::client);
  EXPECT_EQ(spans[0].error, "unreachable");
  EXPECT_EQ(spans[0].status, 0);
  EXPECT_EQ(spans[1].error, "503");
}

TEST_F(SpanTest, NothingOfAnExceptionsTextGetsOut) {
  start_traced(usual());
  get("/broken");
  std::vector<Span> spans = spans_->wait_for(1);
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(spans[0].status, 500);
  EXPECT_EQ(spans[0].error, "500");
}

TEST_F(SpanTest, OddRequestsHaveSpansOfFewNames) {
  start_traced(usual());
  ask("BREW /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  get("/" + std::string(4000, 'x'));
  ask("no request at all\r\n\r\n");
  get("/hello");
  std::vector<Span> spans = spans_->wait_for(3);
  ASSERT_EQ(spans.size(), 3u);
  EXPECT_EQ(spans[0].method, "_OTHER");
  EXPECT_EQ(spans[0].status, 405);
  EXPECT_EQ(spans[1].route, "");
  EXPECT_EQ(spans[1].path.size(), kMaxSpanPath);
  EXPECT_EQ(spans[2].route, "/hello");
}

TEST_F(SpanTest, RoutesThatAreNotTracedLeaveNone) {
  Router router = usual();
  router.add(Method::get, "/health", [](Request& r) { return Response::text("|" + r.traceparent); }, {.auth = Auth::open, .traced = false});
  start_traced(std::move(router));
  EXPECT_EQ(echoed(get("/health", with_parent(kParent))), kParent);
  get("/hello");
  EXPECT_EQ(spans_->wait_for(1)[0].route, "/hello");
}

TEST_F(SpanTest, CallsOutsideOfARequestLeaveNone) {
  start_traced(usual());
  Client client({.base_url = url(), .bearer = {}});
  client.expect({.target = "/hello", .headers = {}, .body = {}, .content_type = {}, .timeout = {}, .sink = {}});
  std::vector<Span> spans = spans_->wait_for(1);
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(spans[0].kind, Span::Kind::server);
}

TEST_F(SpanTest, TheAuthenticatorAndTheStreamBelongToTheRequestToo) {
  Router router;
  router.add(
      Method::get, "/stream",
      [](Request&) {
        Response response;
        response.stream = [done = false](std::span<std::uint8_t> out) mutable -> std::size_t {
          if (std::exchange(done, true)) return 0;
          std::string text = "|" + current_trace().traceparent;
          std::copy(text.begin(), text.end(), out.begin());
          return text.size();
        };
        return response;
      },
      kOpen);
  router.add(Method::put, "/sent", [](Request&) { return Response::empty(); });
  spans_ = std::make_shared<KeptSpans>();
  ServerConfig config = short_deadlines();
  config.spans = spans_;
  std::string seen_by_authenticator;
  auto authenticate = [&](const Request&) {
    seen_by_authenticator = current_trace().traceparent;
    return std::optional<std::string>("admin");
  };
  server_ = std::make_unique<Server>(config, std::move(router), authenticate, Observer());
  server_->start();
  EXPECT_THAT(get("/stream", with_parent(kParent)), HasSubstr("|00-0af7651916cd43dd8448eb211c80319c-"));
  ask("PUT /sent HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n" + with_parent(kParent) + "\r\n{}");
  EXPECT_EQ(spans_->wait_for(2).size(), 2u);
  EXPECT_THAT(seen_by_authenticator, HasSubstr("00-0af7651916cd43dd8448eb211c80319c-"));
}
