#include <regex>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/error.hpp"
#include "lib/runtime/exposure.hpp"
#include "lib/runtime/metrics.hpp"

using namespace lucid;
using namespace lucid::runtime;
using testing::HasSubstr;
using testing::Not;

TEST(Metrics, ExpositionIsWellFormed) {
  Metrics metrics;
  metrics.counter("lucid_things_total", "Things.", {{"service", "a"}, {"kind", "quote\" and \\ and \nline"}}).add(3);
  metrics.gauge("lucid_level", "Level.").set(-1.5);
  metrics.histogram("lucid_wait_seconds", "Wait.", {{"service", "a"}}).observe(0.02);
  std::string text = metrics.expose();
  std::istringstream in(text);
  static const std::regex sample(
      R"re([a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\["\\n])*",?)*\})? (-?[0-9.eE+-]+|\+Inf|-Inf|Nan|NaN))re");
  std::string line;
  int samples = 0;
  while (std::getline(in, line)) {
    if (line.starts_with("# HELP ") || line.starts_with("# TYPE ")) continue;
    EXPECT_TRUE(std::regex_match(line, sample)) << line;
    ++samples;
  }
  EXPECT_GT(samples, 20);
  EXPECT_THAT(text, HasSubstr("lucid_level -1.5"));
  EXPECT_THAT(text, HasSubstr("lucid_build_info{version=\""));
  EXPECT_THAT(text, HasSubstr("le=\"+Inf\"} 1"));
  EXPECT_THAT(text, HasSubstr("# TYPE process_cpu_seconds_total counter"));
  for (const char* name : {"process_resident_memory_bytes", "process_virtual_memory_bytes", "process_max_fds", "process_threads"}) {
    EXPECT_THAT(text, HasSubstr(std::string("\n") + name + " "));
    EXPECT_THAT(text, Not(HasSubstr(std::string("\n") + name + " 0\n")));
  }
}

TEST(Metrics, SameNameAndLabelsAreTheSameSeries) {
  Metrics metrics;
  Counter& one = metrics.counter("x_total", "X.", {{"a", "1"}});
  EXPECT_EQ(&one, &metrics.counter("x_total", "X.", {{"a", "1"}}));
  EXPECT_NE(&one, &metrics.counter("x_total", "X.", {{"a", "2"}}));
  EXPECT_THROW(metrics.gauge("x_total", "X."), Error);
  EXPECT_THROW(metrics.counter("9x", "X."), Error);
  EXPECT_THROW(metrics.counter("y_total", "Y.", {{"__a", "1"}}), Error);
}

TEST(Metrics, EachServiceShowsItsOwn) {
  Metrics metrics;
  metrics.counter("x_total", "X.", {{"service", "a"}}).add();
  metrics.counter("x_total", "X.", {{"service", "b"}}).add();
  metrics.counter("shared_total", "S.").add();
  std::string text = metrics.expose("a");
  EXPECT_THAT(text, HasSubstr("service=\"a\""));
  EXPECT_THAT(text, Not(HasSubstr("service=\"b\"")));
  EXPECT_THAT(text, HasSubstr("shared_total 1"));
}

TEST(Metrics, GaugesOfAnOwnerAreRefreshedWhenTheyAreAskedForAndNoLongerThanItLives) {
  Metrics metrics;
  Gauge& gauge = metrics.gauge("x_seconds", "X.");
  int asked = 0;
  {
    Exposure exposure(metrics, [&] {
      gauge.set(++asked);
      metrics.gauge("made_meanwhile", "M.").set(1);
    });
    EXPECT_EQ(asked, 0);
    EXPECT_THAT(metrics.expose(), AllOf(HasSubstr("x_seconds 1\n"), HasSubstr("made_meanwhile 1\n")));
    EXPECT_THAT(metrics.expose("a"), HasSubstr("x_seconds 2\n"));
    Exposure failing(metrics, [] { throw Error(ErrorKind::unavailable, "the disk does not answer"); });
    EXPECT_THAT(metrics.expose(), HasSubstr("x_seconds 3\n")) << "what fails hides nothing else";
  }
  EXPECT_THAT(metrics.expose(), HasSubstr("x_seconds 3\n"));
  EXPECT_EQ(asked, 3);
}
