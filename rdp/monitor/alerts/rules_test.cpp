// Rules from outside: every refused field by its pointer; the built-in ones are sound and stand in the operations handbook.
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include "rdp/monitor/alerts/alerts.hpp"
#include "rdp/monitor/alerts/values.hpp"

using namespace lucid;
using namespace lucid::monitor;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

std::vector<std::string> refused(const std::string& name, const json::value& body) {
  try {
    read_rule(name, body);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::invalid);
    std::vector<std::string> out;
    for (const FieldError& f : e.fields()) out.push_back(f.pointer);
    return out;
  }
  return {};
}

// A good body with one member more or another.
std::vector<std::string> refused_with(const char* key, const json::value& value) {
  json::object body{{"metric", "host_disk_used_ratio"}, {"above", 0.9}};
  body[key] = value;
  json::value v = std::move(body);
  return refused("mine", v);
}

TEST(AlertRule, OfAllMembersIsReadAndWrittenAsItWas) {
  json::value body = json::parse(R"({"metric":"host_disk_used_ratio","subject":"/mnt/*","above":0.8,"clear":0.7,"for_seconds":2.5,
                                     "severity":"critical","summary":"{subject} is {value} full","enabled":false})");
  Rule r = read_rule("mine_2", body);
  EXPECT_EQ(r.name, "mine_2");
  EXPECT_EQ(r.subject, "/mnt/*");
  EXPECT_TRUE(r.above);
  EXPECT_EQ(r.threshold, 0.8);
  EXPECT_EQ(r.clear, 0.7);
  EXPECT_EQ(r.for_ms, 2'500);
  EXPECT_EQ(r.severity, Severity::critical);
  EXPECT_FALSE(r.enabled);
  EXPECT_FALSE(r.built_in);
  json::object again = to_json(r).as_object();
  EXPECT_EQ(again.at("name"), "mine_2");
  EXPECT_EQ(again.at("built_in"), false);
  again.erase("name");
  again.erase("built_in");
  EXPECT_EQ(json::value(again), body);
}

TEST(AlertRule, WithTheLeastNeedsAMetricAndAThresholdOnly) {
  Rule r = read_rule("mine", json::value{{"metric", "service_up"}, {"below", 1}});
  EXPECT_FALSE(r.above);
  EXPECT_EQ(r.clear, 1);
  EXPECT_EQ(r.for_ms, 0);
  EXPECT_EQ(r.severity, Severity::warning);
  EXPECT_TRUE(r.enabled);
  EXPECT_THAT(r.summary, testing::HasSubstr("{subject}"));
}

TEST(AlertRule, RefusesABadName) {
  json::value body{{"metric", "host_load_1m"}, {"above", 4}};
  for (const std::string& bad :
       {std::string(), std::string(65, 'a'), std::string("Big"), std::string("a-b"), std::string("a/b"), std::string("ä")})
    EXPECT_THAT(refused(bad, body), ElementsAre("/name")) << bad;
  EXPECT_THAT(refused(std::string(64, 'a'), body), IsEmpty());
}

TEST(AlertRule, RefusesAnUnknownOrMissingMetric) {
  EXPECT_THAT(refused_with("metric", "host_cpu"), ElementsAre("/metric"));
  EXPECT_THAT(refused_with("metric", nullptr), ElementsAre("/metric"));
  EXPECT_THAT(refused_with("metric", 7), Contains("/metric"));
}

TEST(AlertRule, RefusesAThresholdThatIsNoFiniteNumber) {
  EXPECT_THAT(refused_with("above", std::nan("")), ElementsAre("/above"));
  EXPECT_THAT(refused_with("above", HUGE_VAL), ElementsAre("/above"));
  EXPECT_THAT(refused_with("above", -HUGE_VAL), ElementsAre("/above"));
  EXPECT_THAT(refused_with("above", "90"), ElementsAre("/above"));
  EXPECT_THAT(refused_with("above", nullptr), ElementsAre("/above"));
}

TEST(AlertRule, RefusesBothThresholdsAtOnce) { EXPECT_THAT(refused_with("below", 0.5), ElementsAre("/below")); }

TEST(AlertRule, RefusesAThresholdThatCanNeverBePassedOrAlwaysIs) {
  EXPECT_THAT(refused_with("above", 1.5), ElementsAre("/above"));
  EXPECT_THAT(refused_with("above", 1), ElementsAre("/above"));
  EXPECT_THAT(refused_with("above", -0.1), ElementsAre("/above"));
  EXPECT_THAT(refused("mine", json::value{{"metric", "host_disk_used_ratio"}, {"below", 0}}), ElementsAre("/below"));
  EXPECT_THAT(refused("mine", json::value{{"metric", "host_disk_used_ratio"}, {"below", 1.1}}), ElementsAre("/below"));
  EXPECT_THAT(refused("mine", json::value{{"metric", "host_disk_free_bytes"}, {"below", -1}}), ElementsAre("/below"));
  EXPECT_THAT(refused("mine", json::value{{"metric", "session_cpu_ratio"}, {"above", 3}}), IsEmpty());
  EXPECT_THAT(refused("mine", json::value{{"metric", "host_temperature_celsius"}, {"below", -20}}), IsEmpty());
  EXPECT_THAT(refused("mine", json::value{{"metric", "certificate_expires_seconds"}, {"below", 0}}), IsEmpty());
}

TEST(AlertRule, RefusesClearOnTheWrongSideOrOutOfReach) {
  EXPECT_THAT(refused_with("clear", 0.91), ElementsAre("/clear"));
  EXPECT_THAT(refused_with("clear", -0.1), ElementsAre("/clear"));
  EXPECT_THAT(refused_with("clear", std::nan("")), ElementsAre("/clear"));
  EXPECT_THAT(refused_with("clear", true), ElementsAre("/clear"));
  EXPECT_THAT(refused("mine", json::value{{"metric", "service_up"}, {"below", 1}, {"clear", 0.5}}), ElementsAre("/clear"));
  EXPECT_THAT(refused("mine", json::value{{"metric", "service_up"}, {"below", 0.5}, {"clear", 2}}), ElementsAre("/clear"));
}

TEST(AlertRule, RefusesABadSubjectPattern) {
  for (const std::string& bad : {std::string("a*b"), std::string("**"), std::string("*a"), std::string("a\nb"), std::string(256, 'a')})
    EXPECT_THAT(refused_with("subject", json::value(bad)), Contains("/subject")) << bad;
  EXPECT_THAT(refused_with("subject", 5), ElementsAre("/subject"));
  EXPECT_THAT(refused_with("subject", "*"), IsEmpty());
}

TEST(AlertRule, RefusesASubjectForAMetricWithoutSubjects) {
  EXPECT_THAT(refused("mine", json::value{{"metric", "host_load_1m"}, {"above", 4}, {"subject", "x"}}), ElementsAre("/subject"));
}

TEST(AlertRule, RefusesABadDuration) {
  for (const json::value& bad : {json::value(-1), json::value(86'401), json::value(1e300), json::value("60"), json::value(std::nan(""))})
    EXPECT_THAT(refused_with("for_seconds", bad), ElementsAre("/for_seconds"));
  EXPECT_THAT(refused_with("for_seconds", 86'400), IsEmpty());
}

TEST(AlertRule, RefusesAnUnknownSeverity) {
  EXPECT_THAT(refused_with("severity", "fatal"), ElementsAre("/severity"));
  EXPECT_THAT(refused_with("severity", 2), ElementsAre("/severity"));
}

TEST(AlertRule, RefusesABadSummary) {
  EXPECT_THAT(refused_with("summary", json::value(std::string(501, 'a'))), ElementsAre("/summary"));
  EXPECT_THAT(refused_with("summary", "two\nlines"), ElementsAre("/summary"));
  EXPECT_THAT(refused_with("summary", "esc \x1b[31m"), ElementsAre("/summary"));
  EXPECT_THAT(refused_with("summary", 1), ElementsAre("/summary"));
}

TEST(AlertRule, RefusesABadFlagAndMembersNobodyKnows) {
  EXPECT_THAT(refused_with("enabled", "yes"), ElementsAre("/enabled"));
  EXPECT_THAT(refused_with("thresold", 1), ElementsAre("/thresold"));
  EXPECT_THAT(refused_with("built_in", true), ElementsAre("/built_in"));
  EXPECT_THAT(refused("mine", json::value(json::array{1})), Contains(""));
}

TEST(AlertRule, NamesEveryMistakeAtOnce) {
  EXPECT_THAT(refused("No", json::parse(R"({"metric":"none","above":"x","for_seconds":-1,"severity":1,"more":1})")),
              testing::UnorderedElementsAre("/name", "/metric", "/above", "/for_seconds", "/severity", "/more"));
}

TEST(BuiltInRules, WouldAllBeTakenFromOutsideAndSayWhatToLookAt) {
  std::set<std::string> names;
  for (const Rule& r : default_rules()) {
    SCOPED_TRACE(r.name);
    EXPECT_TRUE(names.insert(r.name).second);
    EXPECT_TRUE(r.built_in);
    json::object body = to_json(r).as_object();
    body.erase("name");
    body.erase("built_in");
    json::value v = std::move(body);
    Rule again = read_rule(r.name, v);
    again.built_in = true;
    EXPECT_EQ(to_json(again), to_json(r));
    const Metric* metric = find_metric(r.metric);
    EXPECT_EQ(metric->subject == Subject::none, r.summary.find("{subject}") == std::string::npos);
    EXPECT_GT(r.summary.size(), 40u);
    EXPECT_TRUE(r.summary.ends_with('.'));
  }
}

// "| `host_cpu_high` | warning | `host_cpu_used_ratio` above 80 % | 2 min | 70 % |"
std::string row_of(const Rule& r) {
  std::string held = r.for_ms == 0       ? "at once"
                     : r.for_ms < 60'000 ? fmt::format("{} s", r.for_ms / 1'000)
                                         : fmt::format("{} min", r.for_ms / 60'000);
  return fmt::format("| `{}` | {} | `{}` {} {} | {} | {} |", r.name, name(r.severity), r.metric, r.above ? "above" : "below",
                     value_text(r.metric, r.threshold), held, value_text(r.metric, r.clear));
}

TEST(BuiltInRules, StandInTheOperationsHandbookAsTheyAre) {
  std::ifstream in("docs/operations/alerts.md");
  std::stringstream text;
  text << in.rdbuf();
  for (const Rule& r : default_rules())
    EXPECT_THAT(text.str(), testing::HasSubstr("\n" + row_of(r))) << "docs/operations/alerts.md lacks a row";
  std::size_t rows = 0;
  for (std::string line; std::getline(text, line);) rows += line.starts_with("| `") ? 1u : 0u;
  EXPECT_EQ(rows, default_rules().size());
}

}  // namespace
