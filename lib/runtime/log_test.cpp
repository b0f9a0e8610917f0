// What a line of the log says by itself.
#include "lib/runtime/log.hpp"

#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/json.hpp"
#include "lib/net/trace.hpp"

using namespace lucid;
using namespace lucid::runtime;
using testing::HasSubstr;
using testing::Not;

namespace {

constexpr const char* kTraceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

template <class F>
std::string written(F&& write) {
  testing::internal::CaptureStderr();
  write();
  return testing::internal::GetCapturedStderr();
}

}  // namespace

TEST(Log, LinesOfARequestNameItAndItsTrace) {
  Log log("a");
  net::TraceScope scope({"request-1", kTraceparent, nullptr});
  std::string line = written([&] { log.info("hello", {{"n", "1"}}); });
  json::value value = parse_json(line).value();
  EXPECT_EQ(value.at("request_id").as_string(), "request-1");
  EXPECT_EQ(value.at("trace_id").as_string(), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(value.at("n").as_string(), "1");
}

TEST(Log, AFieldThatIsGivenStands) {
  Log log("a");
  net::TraceScope scope({"request-1", "", nullptr});
  std::string line = written([&] { log.warn("hello", {{"request_id", "another"}}); });
  EXPECT_EQ(parse_json(line).value().at("request_id").as_string(), "another");
  EXPECT_THAT(line, Not(HasSubstr("request-1")));
  EXPECT_THAT(line, Not(HasSubstr("trace_id"))) << "the request is part of no trace";
}

TEST(Log, WorkThatGoesOnAfterARequestHasNone) {
  Log log("a");
  { net::TraceScope scope({"request-1", kTraceparent, nullptr}); }
  EXPECT_THAT(written([&] { log.info("later"); }), Not(HasSubstr("_id")));
}

TEST(Log, TextForPeopleHasThemToo) {
  Log log("a");
  configure_log(Level::info, false);
  net::TraceScope scope({"request-1", kTraceparent, nullptr});
  std::string line = written([&] { log.info("hello"); });
  configure_log(Level::info, true);
  EXPECT_THAT(line, HasSubstr("a hello request_id=\"request-1\" trace_id=\"0af7651916cd43dd8448eb211c80319c\"\n"));
}
