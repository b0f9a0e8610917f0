// The routes as the pipeline calls them.
#include "sessions/recorder/http.hpp"
#include "sessions/recorder/tests/fixture.hpp"

using namespace lucid;
using namespace lucid::recorder;
using namespace lucid::recorder::testing;
using namespace std::chrono_literals;

TEST(Http, TheRecorderClientStartsPausesResumesAndStops) {
  if (!test_support::Xvfb::installed()) {
    if (std::getenv("CI") != nullptr) FAIL() << "Xvfb is not installed";
    GTEST_SKIP() << "not run: Xvfb absent";
  }
  TempDir dir;
  SystemRandom random;
  SystemClock clock;
  runtime::Metrics metrics;
  Processor processor;
  Pipeline pipeline;
  test_support::Xvfb xvfb;
  RecorderConfig config;
  config.directory = dir.path();
  Recorder recorder(config, {system_files(), clock, random, metrics, processor.key(), processor.client(), pipeline.client()});
  net::Server server(
      {}, routes([&]() -> Recorder& { return recorder; }),
      [](const net::Request&) { return std::optional<std::string>("service:pipeline"); }, [](const net::RequestRecord&) {});
  server.start();
  auto http = client_of(server.port());
  contracts::RecorderClient client(http);
  contracts::RecordingPlan plan;
  plan.session = new_id();
  plan.name = "by HTTP";
  plan.target.display = xvfb.display();
  plan.target.xauthority = xvfb.xauthority();
  auto started = client.start(plan, {5, 0});
  EXPECT_NEAR(static_cast<double>(started.started_wall_ms), static_cast<double>(clock.wall_ms()), 5000);
  client.pause(plan.session);
  json::value list = http->get_json("/api/v1/recordings");
  EXPECT_EQ(list.at("recordings").at(0).at("state"), "paused");
  EXPECT_EQ(std::string(list.at("recordings").at(0).at("display").as_string()), xvfb.display());
  client.resume(plan.session);
  client.stop(plan.session);
  EXPECT_TRUE(eventually([&] { return processor.ended(plan.session); }));
  EXPECT_EQ(processor.segments(plan.session).at(0).fencing_token, 5u);
  try {
    client.pause(new_id());
    FAIL();
  } catch (const Error& e) { EXPECT_EQ(e.code(), "recording_not_found"); }
  plan.target.display = ":9797";
  plan.session = new_id();
  try {
    client.start(plan, {5, 0});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "display_unavailable");
    EXPECT_EQ(e.kind(), ErrorKind::unavailable);
  }
  EXPECT_THROW(http->send_json(net::Method::post, "/api/v1/recordings", json::object{{"plan", 3}}), Error);
  server.stop(1s);
}
