#include <cmath>
#include <limits>

#include "rdp/monitor/readings/service_figures.hpp"
#include "rdp/monitor/readings/services.hpp"
#include "rdp/monitor/readings/test_tree.hpp"

namespace lucid::monitor {
namespace {

std::vector<Sample> parsed(std::string_view text) {
  auto samples = parse_exposition(text);
  EXPECT_TRUE(samples) << (samples ? "" : samples.error().what());
  return samples ? *std::move(samples) : std::vector<Sample>{};
}
std::string refusal(std::string_view text) {
  auto samples = parse_exposition(text);
  return samples ? "taken" : samples.error().what();
}

TEST(Exposition, GivesNamesLabelsAndValues) {
  auto samples =
      parsed("# HELP x_total Things.\n# TYPE x_total counter\n\nx_total{a=\"1\",b=\"two words\"} 3 1700000000000\nx_total 4.5e1");
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0].name, "x_total");
  EXPECT_EQ(samples[0].labels, (std::map<std::string, std::string>{{"a", "1"}, {"b", "two words"}}));
  EXPECT_EQ(samples[0].value, 3);
  EXPECT_TRUE(samples[1].labels.empty());
  EXPECT_EQ(samples[1].value, 45);
}

TEST(Exposition, UndoesTheEscapesOfLabelValues) {
  auto samples = parsed(R"(x{p="C:\\dir\\",q="say \"hi\"",n="one\ntwo",brace="}"} 1)");
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_EQ(samples[0].labels,
            (std::map<std::string, std::string>{{"p", "C:\\dir\\"}, {"q", "say \"hi\""}, {"n", "one\ntwo"}, {"brace", "}"}}));
}

TEST(Exposition, KnowsValuesThatAreNoNumbers) {
  auto samples = parsed("a NaN\nb +Inf\nc -Inf\nd -0.5\ne +7\n");
  ASSERT_EQ(samples.size(), 5u);
  EXPECT_TRUE(std::isnan(samples[0].value));
  EXPECT_EQ(samples[1].value, std::numeric_limits<double>::infinity());
  EXPECT_EQ(samples[2].value, -std::numeric_limits<double>::infinity());
  EXPECT_EQ(samples[3].value, -0.5);
  EXPECT_EQ(samples[4].value, 7);
}

TEST(Exposition, AllowsBlanksWhereTheFormatDoesAndAnEmptySetOfLabels) {
  auto samples = parsed("  x \t{ a = \"1\" , b=\"2\", }  7   -3\ny{} 1\n");
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0].labels.size(), 2u);
  EXPECT_EQ(samples[0].value, 7);
}

TEST(Exposition, NamesTheLineThatIsWrong) {
  EXPECT_THAT(refusal("a 1\n# fine\nb one\n"), testing::HasSubstr("line 3"));
  for (const char* bad : {"a",
                          "a ",
                          "a{",
                          "a{} ",
                          "a{b} 1",
                          "a{b=1} 1",
                          "a{b=\"1} 1",
                          "a{b=\"\\x\"} 1",
                          "a{b=\"1\" c=\"2\"} 1",
                          "a{b=\"1\",b=\"2\"} 1",
                          "a{=\"1\"} 1",
                          "9a 1",
                          "{a=\"1\"} 1",
                          "a 1 2 3",
                          "a 1 x",
                          "a 1 1.5",
                          "a --1",
                          "a +",
                          "a 1x",
                          "a nanx",
                          "a{b=\"\xff\"} 1",
                          "a-b 1",
                          "a 1e999",
                          "a{b=\"\\"})
    EXPECT_THAT(refusal(bad), testing::StartsWith("line 1")) << bad;
}

TEST(Exposition, IsBounded) {
  EXPECT_THAT(refusal(std::string((4 << 20) + 1, '\n')), testing::HasSubstr("4194304"));
  std::string many;
  for (int i = 0; i < 100'000; ++i) many += "a 1\n";
  EXPECT_EQ(parsed(many).size(), 100'000u);
  EXPECT_THAT(refusal(many + "a 1\n"), testing::HasSubstr("line 100001"));
  std::string labels = "a{";
  for (int i = 0; i < 65; ++i) labels += "l" + std::to_string(i) + "=\"\",";
  EXPECT_THAT(refusal(labels + "} 1"), testing::HasSubstr("labels"));
}

TEST(Figures, AreThoseOfTheSeriesTheMonitorNeedsAndNoOther) {
  auto figures = read_figures(
      "lucid_build_info{version=\"0.4.0\"} 1\n"
      "lucid_http_requests_total{method=\"GET\",status=\"200\"} 10\nlucid_http_requests_total{method=\"PUT\",status=\"503\"} 4\n"
      "lucid_http_request_duration_seconds_bucket{le=\"wrong in a way nobody looks at} 1\n"
      "process_cpu_seconds_total 1.5\nprocess_resident_memory_bytes 1e6\nprocess_open_fds 12\nprocess_start_time_seconds 1.7e9\n"
      "lucid_storage_errors_total{operation=\"read\"} 2\nlucid_storage_errors_total{operation=\"write\"} "
      "3\nlucid_storage_corrupt_chunks_total 1\n"
      "lucid_nodes_registered{state=\"active\"} 9\nlucid_nodes_registered{state=\"offline\"} 2\n"
      "lucid_tls_certificate_expiry_timestamp_seconds{certificate=\"rdp\"} 1.8e9\n");
  ASSERT_TRUE(figures);
  EXPECT_EQ(figures->version, "0.4.0");
  EXPECT_EQ(figures->requests, 14);
  EXPECT_EQ(figures->errors, 4);
  EXPECT_EQ(figures->cpu_seconds, 1.5);
  EXPECT_EQ(figures->resident_bytes, 1e6);
  EXPECT_EQ(figures->open_files, 12);
  EXPECT_EQ(figures->started_s, 1.7e9);
  EXPECT_EQ(figures->storage_errors, 6);
  EXPECT_EQ(figures->nodes_offline, 2);
  EXPECT_EQ(figures->certificates, (std::vector<std::pair<std::string, double>>{{"rdp", 1.8e9}}));
  EXPECT_EQ(figures->gaps, std::nullopt);
  EXPECT_FALSE(read_figures("process_open_fds many\n"));
}

}  // namespace
}  // namespace lucid::monitor
