#include <thread>

#include <gmock/gmock.h>

#include "rdp/monitor/test_desk.hpp"

namespace lucid::monitor {
namespace {

using net::Method;
using namespace std::chrono_literals;

class MonitorDoor : public DeskTest {
 protected:
  MonitorDoor() {
    told_ = &feed_;
    EXPECT_EQ(
        ask(Method::put, "/api/v1/monitor/rules/busy", {}, {{"metric", "host_load_1m"}, {"above", 10}, {"summary", "load is {value}"}})
            .status,
        200);
  }
};

TEST_F(MonitorDoor, SaysThatNothingIsMeasuredYetInsteadOfShowingZeros) {
  for (const char* path : {"host", "containers", "services", "sessions"}) {
    net::Response response = ask(Method::get, std::string("/api/v1/monitor/") + path);
    EXPECT_EQ(response.status, 503) << path;
    EXPECT_TRUE(response.headers.get("Retry-After")) << path;
  }
}

TEST_F(MonitorDoor, AnswersThePastOfAMetricWithStepAndAggregate) {
  for (int i = 0; i < 12; ++i) measure(i);
  json::value answer =
      parsed(ask(Method::get, "/api/v1/monitor/history",
                 {{"metric", "host_load_1m"}, {"step", "3600"}, {"aggregate", "max"}, {"from", to_rfc3339(clock_.wall_ms() - 3'600'000)}}));
  ASSERT_EQ(answer.at("lines").as_array().size(), 1u);
  double highest = 0;
  for (const json::value& point : answer.at("lines").at(0).at("points").as_array())
    highest = std::max(highest, point.at(1).to_number<double>());
  EXPECT_EQ(highest, 11);
}

TEST_F(MonitorDoor, NamesTheFieldOfANonsensicalQuery) {
  struct Case {
    std::map<std::string, std::string> query;
    const char* pointer;
  };
  for (const Case& c :
       {Case{{}, "/metric"}, Case{{{"metric", "nonsense"}}, "/metric"}, Case{{{"metric", "host_load_1m"}, {"from", "noon"}}, "/from"},
        Case{{{"metric", "host_load_1m"}, {"to", "1"}}, "/to"},
        Case{{{"metric", "host_load_1m"}, {"from", "1970-01-01T00:00:00.000Z"}, {"step", "1"}}, "/step"},
        Case{{{"metric", "host_load_1m"}, {"aggregate", "median"}}, "/aggregate"}}) {
    net::Response response = ask(Method::get, "/api/v1/monitor/history", c.query);
    EXPECT_EQ(response.status, 422) << c.pointer;
    EXPECT_EQ(pointer(response), c.pointer);
  }
  EXPECT_EQ(ask(Method::get, "/api/v1/monitor/alerts", {{"history", "perhaps"}}).status, 422);
  EXPECT_EQ(ask(Method::get, "/api/v1/monitor/alerts", {{"history", "true"}, {"cursor", "x"}}).status, 422);
  EXPECT_EQ(ask(Method::get, "/api/v1/monitor/events", {{"after", "-1"}}).status, 422);
}

TEST_F(MonitorDoor, ALongPollAnswersWhenAnAlertFires) {
  std::uint64_t before = alerts_.last_seq();
  std::thread later([this] { measure(20); });
  json::value answer = parsed(ask(Method::get, "/api/v1/monitor/events", {{"after", std::to_string(before)}, {"wait_ms", "20000"}}));
  later.join();
  ASSERT_EQ(answer.at("events").as_array().size(), 1u);
  EXPECT_EQ(answer.at("events").at(0).at("alert").at("rule"), "busy");
  EXPECT_EQ(answer.at("events").at(0).at("alert").at("state"), "firing");
  EXPECT_GT(answer.at("next").to_number<std::uint64_t>(), before);
}

TEST_F(MonitorDoor, AnEventStreamResumesAfterTheLastEventSeenAndEndsWhenTheServiceStops) {
  measure(20);
  measure(1);
  std::uint64_t resolved = alerts_.last_seq();
  net::Headers headers;
  headers.set("Accept", "text/event-stream");
  headers.set("Last-Event-ID", std::to_string(resolved - 1));
  net::Response response = ask(Method::get, "/api/v1/monitor/events", {}, nullptr, headers);
  EXPECT_EQ(response.headers.get("Content-Type"), "text/event-stream");
  Bytes piece(4096);
  auto next = [&] { return std::string(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(response.stream(piece))); };
  EXPECT_EQ(next(), "retry: 2000\n\n");
  EXPECT_THAT(next(), testing::AllOf(testing::StartsWith("event: alert\nid: " + std::to_string(resolved) + "\ndata: {"),
                                     testing::HasSubstr("\"resolved\""), testing::EndsWith("}\n\n")));
  feed_.stop();
  EXPECT_EQ(next(), "");
}

TEST_F(MonitorDoor, RefusesMoreStreamsThanItCarriesAndTakesThemAgainWhenOneEnds) {
  net::Headers headers;
  headers.set("Accept", "text/event-stream");
  std::vector<net::Response> open;
  for (int i = 0; i < kMaxStreams; ++i) open.push_back(ask(Method::get, "/api/v1/monitor/events", {}, nullptr, headers));
  EXPECT_EQ(ask(Method::get, "/api/v1/monitor/events", {}, nullptr, headers).status, 503);
  open.pop_back();
  EXPECT_EQ(ask(Method::get, "/api/v1/monitor/events", {}, nullptr, headers).status, 200);
}

TEST_F(MonitorDoor, SilencesNeedAReasonAndAnEnd) {
  const std::string path = "/api/v1/monitor/silences";
  EXPECT_EQ(pointer(ask(Method::post, path, {}, {{"minutes", 5}})), "/reason");
  EXPECT_EQ(pointer(ask(Method::post, path, {}, {{"reason", "x"}})), "/until");
  EXPECT_EQ(pointer(ask(Method::post, path, {}, {{"reason", "x"}, {"until", "later"}})), "/until");
  EXPECT_EQ(pointer(ask(Method::post, path, {}, {{"reason", "x"}, {"until", "later"}, {"minutes", 1}})), "/until");
  net::Response made = ask(Method::post, path, {}, {{"reason", "upgrade"}, {"minutes", 5}, {"rule", "busy"}});
  ASSERT_EQ(made.status, 201);
  measure(20);
  EXPECT_EQ(alerts_.last_seq(), 0u) << "a silenced alert was told";
  std::string id(parsed(made).at("id").as_string());
  EXPECT_EQ(ask(Method::del, path + "/" + id).status, 204);
  measure(20);
  EXPECT_EQ(alerts_.last_seq(), 1u) << "what still fires is told when its silence has ended";
  EXPECT_EQ(ask(Method::del, path + "/" + id).status, 404);
  EXPECT_EQ(ask(Method::del, path + "/nonsense").status, 404);
}

TEST_F(MonitorDoor, ShowsAWebhooksSecretOnceAndOnlyToItsMaker) {
  const std::string path = "/api/v1/monitor/webhooks";
  net::Response made = ask(Method::post, path, {}, {{"url", "http://127.0.0.1:9/x"}, {"kinds", {"alert.firing"}}});
  ASSERT_EQ(made.status, 201);
  EXPECT_TRUE(parsed(made).at("secret").as_string().starts_with("whsec_"));
  EXPECT_EQ(made.headers.get("Cache-Control"), "no-store");
  EXPECT_THAT(std::string(as_text(ask(Method::get, path).body)), testing::Not(testing::HasSubstr("whsec_")));
  EXPECT_EQ(pointer(ask(Method::post, path, {}, {{"url", "http://127.0.0.1:9/x"}, {"kinds", {"session.created"}}})), "/kinds");
  EXPECT_EQ(pointer(ask(Method::post, path, {}, {{"url", "gopher://x"}})), "/url");
}

}  // namespace
}  // namespace lucid::monitor
