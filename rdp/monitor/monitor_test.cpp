#include <thread>

#include <gmock/gmock.h>

#include "rdp/monitor/test_desk.hpp"

namespace lucid::monitor {
namespace {

using namespace std::chrono_literals;

// Waits for what a thread will bring about; the test's own time limit ends it when it does not come.
template <class Condition>
void wait_for(Condition condition) {
  while (!condition()) std::this_thread::yield();
}

class MonitorBeat : public DeskTest {};

TEST_F(MonitorBeat, EachLookIsKeptJudgedAndShownAsGauges) {
  alerts_.put_rule(read_rule("memory_there", {{"metric", "host_memory_total_bytes"}, {"above", 1}}));
  monitor_.start();
  wait_for([this] { return alerts_.last_seq() > 0; });
  wait_for([this] { return history_.size().series > 0; });
  auto snapshot = monitor_.latest();
  ASSERT_NE(snapshot, nullptr);
  EXPECT_GT(snapshot->host.memory_total_bytes, 0u);
  EXPECT_EQ(ask(net::Method::get, "/api/v1/monitor/host").status, 200);
  EXPECT_THAT(metrics_.expose(), testing::HasSubstr("lucid_host_memory_total_bytes "));
  EXPECT_FALSE(monitor_.problem());
}

TEST_F(MonitorBeat, AFailedLookIsSaidAndTheNextOneComesAllTheSame) {
  failing_looks_ = 3;
  monitor_.start();
  wait_for([this] { return monitor_.problem().has_value(); });
  EXPECT_THAT(*monitor_.problem(), testing::HasSubstr("nobody knows the services"));
  wait_for([this] { return monitor_.latest() != nullptr && !monitor_.problem(); });
}

TEST(MonitorGauges, ShowNoSessionAndForgetWhatIsGone) {
  runtime::Metrics metrics;
  Gauges gauges(metrics);
  gauges.show(std::vector<Reading>{
      {"host_disk_used_ratio", "/", 0.5}, {"session_cpu_ratio", "0192f0c1-0000-7000-8000-000000000000", 1}, {"service_up", "x", 1}});
  EXPECT_THAT(metrics.expose(), testing::HasSubstr("lucid_host_disk_used_ratio{mount=\"/\"} 0.5"));
  EXPECT_THAT(metrics.expose(), testing::Not(testing::HasSubstr("session_cpu")));
  EXPECT_THAT(metrics.expose(), testing::Not(testing::HasSubstr("lucid_service_up")));
  gauges.show({});
  EXPECT_THAT(metrics.expose(), testing::HasSubstr("lucid_host_disk_used_ratio{mount=\"/\"} Nan"));
}

TEST(MonitorGauges, StayBoundedWhenSubjectsComeAndGo) {
  runtime::Metrics metrics;
  Gauges gauges(metrics);
  for (int i = 0; i < 2000; ++i) gauges.show(std::vector<Reading>{{"host_network_errors_per_second", "veth" + std::to_string(i), 1}});
  std::string text = metrics.expose();
  std::size_t shown = 0;
  for (std::size_t at = text.find("\nlucid_host_network"); at != std::string::npos; at = text.find("\nlucid_host_network", at + 1)) ++shown;
  EXPECT_EQ(shown, 500u);
}

TEST(MonitorCatalogue, EveryNameIsAMetricNameWithoutDoubts) {
  for (const Metric& metric : catalogue()) {
    EXPECT_EQ(find_metric(metric.name), &metric);
    EXPECT_THAT(std::string(metric.name), testing::MatchesRegex("[a-z][a-z0-9_]*"));
    EXPECT_FALSE(metric.meaning.empty());
  }
  EXPECT_EQ(find_metric("nonsense"), nullptr);
}

}  // namespace
}  // namespace lucid::monitor
