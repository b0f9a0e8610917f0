#include "lib/base/bytes.hpp"

#include <gtest/gtest.h>

#include "lib/base/clock.hpp"

using namespace lucid;

// RFC 4648 section 10.
TEST(Base64, MatchesTheVectorsOfRfc4648) {
  const std::pair<std::string, std::string> vectors[] = {
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : vectors) {
    EXPECT_EQ(to_base64(as_bytes(plain)), encoded);
    auto back = from_base64(encoded);
    ASSERT_TRUE(back);
    EXPECT_EQ(as_text(*back), plain);
  }
}

TEST(Base64, RefusesWhatAnEncoderNeverWrites) {
  for (std::string_view bad : {"Zg", "Zg=", "Zh==", "Zm9v\n", "Z", "====", "Zm9=v", "Zm9_"}) EXPECT_FALSE(from_base64(bad)) << bad;
}

TEST(ByteReader, AnswersZeroAndStaysFailedAfterTheFirstShortRead) {
  Bytes in{1, 2, 3};
  ByteReader reader(in);
  EXPECT_EQ(reader.u16(), 0x0201);
  EXPECT_EQ(reader.u32(), 0u);
  EXPECT_EQ(reader.u8(), 0);
  EXPECT_FALSE(reader.ok());
}

TEST(ByteReader, ReadsBackWhatByteWriterWrote) {
  Bytes out;
  ByteWriter w(out);
  w.u8(1);
  w.u16(2);
  w.u32(3);
  w.u64(4);
  w.i64(-5);
  w.text16("héllo");
  w.text32("x");
  ByteReader r(out);
  EXPECT_EQ(r.u8(), 1);
  EXPECT_EQ(r.u16(), 2);
  EXPECT_EQ(r.u32(), 3u);
  EXPECT_EQ(r.u64(), 4u);
  EXPECT_EQ(r.i64(), -5);
  EXPECT_EQ(r.text16(), "héllo");
  EXPECT_EQ(r.text32(), "x");
  EXPECT_TRUE(r.at_end());
}

TEST(Utf8, KnowsMalformedSequences) {
  for (std::string_view good : {"", "a", "é", "€", "😀"}) EXPECT_TRUE(is_utf8(good));
  for (std::string_view bad : {"\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8", "\xe2\x82"})
    EXPECT_FALSE(is_utf8(bad));
  EXPECT_EQ(to_utf8("a\xff"
                    "b",
                    100),
            "a\xef\xbf\xbd"
            "b");
  EXPECT_EQ(to_utf8("€€", 5), "€");
}

TEST(Time, Rfc3339RoundTripsAndRefusesNonsense) {
  EXPECT_EQ(to_rfc3339(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(to_rfc3339(1700000000123), "2023-11-14T22:13:20.123Z");
  EXPECT_EQ(from_rfc3339("2023-11-14T22:13:20.123Z"), 1700000000123);
  EXPECT_EQ(from_rfc3339("2023-11-14T22:13:20Z"), 1700000000000);
  for (std::string_view bad : {"", "2023-02-31T00:00:00Z", "2023-11-14 22:13:20Z", "2023-11-14T22:13:20", "2023-13-01T00:00:00Z"})
    EXPECT_FALSE(from_rfc3339(bad)) << bad;
}
