#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/net/client.hpp"
#include "lib/net/http.hpp"
#include "lib/net/target.hpp"
#include "lib/net/trace.hpp"

using namespace lucid;
using namespace lucid::net;

namespace {
Response nothing(Request&) { return Response::empty(); }
}  // namespace

TEST(Router, TriesTheParameterWhenTheLiteralLeadsNowhere) {
  Router router;
  router.add(Method::get, "/a/new/x", nothing);
  router.add(Method::get, "/a/{id}/y", nothing);
  router.add(Method::get, "/", nothing);
  EXPECT_EQ(router.match(Method::get, "/a/new/x").route->pattern, "/a/new/x");
  Router::Match match = router.match(Method::get, "/a/new/y");
  EXPECT_EQ(match.route->pattern, "/a/{id}/y");
  EXPECT_EQ(match.params.at("id"), "new");
  EXPECT_EQ(router.match(Method::get, "/").route->pattern, "/");
  EXPECT_EQ(router.match(Method::get, "").route, nullptr);
}

TEST(Router, ParameterNamesMayDifferByMethod) {
  Router router;
  router.add(Method::get, "/a/{x}", nothing);
  router.add(Method::put, "/a/{y}", nothing);
  EXPECT_EQ(router.match(Method::put, "/a/1").params.at("y"), "1");
  EXPECT_THAT(router.match(Method::post, "/a/1").allowed, testing::ElementsAre(Method::get, Method::head, Method::put));
}

TEST(Router, RefusesTheSameRouteTwiceAndBlockingInline) {
  Router router;
  router.add(Method::get, "/a/{x}", nothing);
  EXPECT_THROW(router.add(Method::get, "/a/{y}", nothing), Error);
  EXPECT_THROW(router.add(Method::put, "/b", nothing, {.body = BodyMode::stream, .run = Run::inline_}), Error);
  EXPECT_THROW(router.add(Method::get, "b", nothing), Error);
}

TEST(Target, DecodesStrictly) {
  EXPECT_EQ(parse_target("/a%41?x=1&y=%2B+&x=2&z").value().path, "/aA");
  auto query = parse_target("/a?x=1&y=%2B+&x=2&z").value().query;
  EXPECT_EQ(query.at("x"), "2");
  EXPECT_EQ(query.at("y"), "+ ");
  EXPECT_EQ(query.at("z"), "");
  EXPECT_FALSE(parse_target("/%"));
  EXPECT_FALSE(parse_target("/%4"));
  EXPECT_FALSE(parse_target("/%g1"));
  EXPECT_TRUE(parse_target("/..."));
}

TEST(Target, EncodingRoundTrips) {
  std::string every;
  for (int c = 0; c < 256; ++c) every.push_back(static_cast<char>(c));
  EXPECT_EQ(percent_decode(percent_encode(every)), every);
}

TEST(Trace, AcceptsOnlyWhatIsWellFormed) {
  EXPECT_TRUE(is_request_id("a.B_c-9"));
  EXPECT_FALSE(is_request_id(""));
  EXPECT_FALSE(is_request_id(std::string(65, 'a')));
  EXPECT_FALSE(is_request_id("a b"));
  EXPECT_TRUE(is_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"));
  EXPECT_FALSE(is_traceparent("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"));
  EXPECT_FALSE(is_traceparent("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"));
  EXPECT_FALSE(is_traceparent("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-00"));
}

TEST(Headers, AreComparedWithoutCase) {
  Headers headers;
  headers.add("X-A", "1");
  headers.add("x-a", "2");
  headers.set("X-a", "3");
  EXPECT_EQ(headers.all().size(), 1u);
  EXPECT_EQ(headers.get("x-A"), "3");
}

TEST(Problem, RoundTripsThroughItsBody) {
  for (int kind = 0; kind <= static_cast<int>(ErrorKind::storage_full); ++kind) {
    Error error = Error(static_cast<ErrorKind>(kind), "it is so").with_fields({{"/a", "bad"}}).with_retry_after(std::chrono::seconds(7));
    Response response = problem(error, "r1");
    Error back = error_from(response.status, response.headers, response.body, "GET x");
    EXPECT_EQ(back.kind(), error.kind());
    EXPECT_EQ(back.code(), error.code());
    EXPECT_STREQ(back.what(), error.what());
    EXPECT_EQ(back.fields().size(), 1u);
    EXPECT_EQ(back.retry_after(), std::chrono::seconds(7));
  }
}

TEST(Problem, AnswersThatAreNoProblemsStillBecomeErrors) {
  Error error = error_from(502, {}, as_bytes("<html>"), "GET http://a/b");
  EXPECT_EQ(error.kind(), ErrorKind::unavailable);
  EXPECT_STREQ(error.what(), "GET http://a/b was answered with status 502");
}

TEST(Request, RefusesQueryIntegersOutsideTheRange) {
  Request request;
  request.query["limit"] = "7";
  EXPECT_EQ(request.query_integer_or("limit", 1, 1, 100), 7);
  EXPECT_EQ(request.query_integer_or("other", 1, 1, 100), 1);
  for (const char* bad : {"0", "101", "7x", "", " 7", "99999999999999999999"}) {
    request.query["limit"] = bad;
    EXPECT_THROW(request.query_integer_or("limit", 1, 1, 100), Error) << bad;
  }
}

TEST(Request, JsonBodyNeedsItsContentType) {
  Request request;
  request.body = Bytes{'{', '}'};
  EXPECT_THROW(request.json_body(), Error);
  request.headers.set("content-type", "application/JSON; charset=utf-8");
  EXPECT_TRUE(request.json_body().is_object());
  request.body = Bytes{'{'};
  EXPECT_THROW(request.json_body(), Error);
}
