#include "node/payouts/money.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace lucid::payouts {
namespace {

std::string refusal(std::string_view text, Zero zero = Zero::refused) {
  auto read = parse_micros(text, zero);
  return read ? "taken as " + std::to_string(*read) : read.error().code();
}

TEST(Amounts, AreReadAndWrittenExactly) {
  for (auto [text, micros] : std::vector<std::pair<std::string, Micros>>{{"10.000000", 10'000'000},
                                                                         {"0.000001", 1},
                                                                         {"0.100000", 100'000},
                                                                         {"10000.000001", 10'000'000'001},
                                                                         {"9007199254.740992", kMaxMicros}}) {
    auto read = parse_micros(text, Zero::refused);
    ASSERT_TRUE(read) << text;
    EXPECT_EQ(*read, micros);
    EXPECT_EQ(to_text(micros), text);
  }
  EXPECT_EQ(*parse_micros("0.000000", Zero::allowed), 0);
}

TEST(Amounts, ThatAreZeroNegativeTooLargeOrOddlyWrittenAreRefused) {
  EXPECT_EQ(refusal("0.000000"), "amount_zero");
  EXPECT_EQ(refusal("9007199254.740993"), "amount_too_large");
  EXPECT_EQ(refusal("9999999999.999999"), "amount_too_large");
  EXPECT_EQ(refusal("99999999999999999999999999999999.000000"), "amount_too_large");
  for (const char* text : {"",           ".",         "10",         "10.",       ".000001",         "10.0",       "10.00000", "10.0000000",
                           "-1.000000",  "+1.000000", "010.000000", "00.000000", " 1.000000",       "1.000000 ",  "1,000000", "1e1.000000",
                           "0x1.000000", "1.00000a",  "1.0000.0",   "1..00000",  "\xd9\xa1.000000", "1.00000\xc2"})
    EXPECT_EQ(refusal(text, Zero::allowed), "amount_malformed") << text;
}

TEST(Amounts, AsNumbersHaveTheSameBounds) {
  EXPECT_TRUE(check_micros(1, Zero::refused));
  EXPECT_TRUE(check_micros(0, Zero::allowed));
  EXPECT_EQ(check_micros(0, Zero::refused).error().code(), "amount_zero");
  EXPECT_EQ(check_micros(-1, Zero::allowed).error().code(), "amount_negative");
  EXPECT_EQ(check_micros(std::numeric_limits<Micros>::min(), Zero::allowed).error().code(), "amount_negative");
  EXPECT_TRUE(check_micros(kMaxMicros, Zero::refused));
  EXPECT_EQ(check_micros(kMaxMicros + 1, Zero::refused).error().code(), "amount_too_large");
}

TEST(Amounts, AddUpOrAreRefused) {
  EXPECT_EQ(add(kMaxMicros - 1, 1), kMaxMicros);
  EXPECT_THROW(add(kMaxMicros, 1), Error);
  EXPECT_THROW(add(std::numeric_limits<Micros>::max(), 1), Error);
  EXPECT_THROW(add(-1, 1), Error);
}

TEST(Currencies, AreCheckedAndNeverMixed) {
  for (const char* text : {"", "US", "usdt", "USD T", "TOOLONGCODE", "US\xc3\x84"}) EXPECT_FALSE(Currency::parse(text)) << text;
  EXPECT_EQ(Currency::parse("USDT")->code(), "USDT");
  auto money = parse_money("10.000000", "USDT", Currency::usdt(), Zero::refused);
  ASSERT_TRUE(money);
  EXPECT_EQ(*money, (Money{10'000'000, Currency::usdt()}));
  EXPECT_EQ(parse_money("10.000000", "EUR", Currency::usdt(), Zero::refused).error().code(), "currency_mismatch");
  EXPECT_EQ(parse_money("10.000000", "eur", Currency::usdt(), Zero::refused).error().code(), "currency_invalid");
  EXPECT_EQ(parse_money("-10.000000", "USDT", Currency::usdt(), Zero::refused).error().code(), "amount_malformed");
}

}  // namespace
}  // namespace lucid::payouts
