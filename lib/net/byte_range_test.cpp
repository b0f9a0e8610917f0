#include "lib/net/byte_range.hpp"

#include <gtest/gtest.h>

using namespace lucid;

TEST(ByteRanges, FollowTheStandard) {
  auto range = [](std::string_view text) { return net::parse_range(text, 100); };
  auto part = [&](std::string_view text) {
    auto r = range(text);
    const auto* p = std::get_if<net::ByteRange>(&r);
    return p != nullptr ? std::to_string(p->first) + "-" + std::to_string(p->last) : std::string("none");
  };
  EXPECT_EQ(part("bytes=0-0"), "0-0");
  EXPECT_EQ(part("bytes=10-19"), "10-19");
  EXPECT_EQ(part("bytes=90-"), "90-99");
  EXPECT_EQ(part("bytes=90-1000"), "90-99");
  EXPECT_EQ(part("bytes=-10"), "90-99");
  EXPECT_EQ(part("bytes=-1000"), "0-99");
  EXPECT_EQ(part("bytes=1-99999999999999999999999"), "1-99");
  for (const char* whole : {"", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=1-2,4-5", "items=0-1"})
    EXPECT_TRUE(std::holds_alternative<net::WholeBody>(range(whole))) << whole;
  for (const char* beyond : {"bytes=100-", "bytes=100-200", "bytes=-0"})
    EXPECT_TRUE(std::holds_alternative<net::Unsatisfiable>(range(beyond))) << beyond;
  EXPECT_TRUE(std::holds_alternative<net::WholeBody>(net::parse_range(std::nullopt, 100)));
}

TEST(ByteRanges, AreServedWithTheirHeaders) {
  net::Request request;
  request.headers.set("Range", "bytes=1-2");
  net::Response part = net::serve_bytes(request, {1, 2, 3, 4}, "application/octet-stream", "\"e\"");
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, (Bytes{2, 3}));
  EXPECT_EQ(part.headers.get("Content-Range"), "bytes 1-2/4");
  request.headers.set("Range", "bytes=4-");
  net::Response beyond = net::serve_bytes(request, {1, 2, 3, 4}, "application/octet-stream", "\"e\"");
  EXPECT_EQ(beyond.status, 416);
  EXPECT_EQ(beyond.headers.get("Content-Range"), "bytes */4");
  request.headers.set("If-None-Match", "\"e\"");
  EXPECT_EQ(net::serve_bytes(request, {1}, "application/octet-stream", "\"e\"").status, 304);
}
