#include "lib/base/id.hpp"

#include <gtest/gtest.h>

using namespace lucid;

TEST(Id, IsAVersion7UuidThatSortsByTime) {
  ManualClock clock;
  SeededRandom random(1);
  Id first = Id::make(clock, random);
  clock.advance(1);
  Id second = Id::make(clock, random);
  EXPECT_LT(first, second);
  EXPECT_LT(first.text(), second.text());
  EXPECT_EQ(first.text()[14], '7');
  EXPECT_EQ(Id::parse(first.text()), first);
}

TEST(Id, RefusesEverythingButTheCanonicalForm) {
  for (std::string_view bad :
       {"", "../../../../etc/passwd", "018bcfe5-6800-7000-8000-00000000000", "018bcfe5-6800-7000-8000-0000000000000",
        "018bcfe5x6800-7000-8000-000000000000", "018bcfe5-6800-7000-8000-00000000000g", "018bcfe568007000800000000000000012345"})
    EXPECT_FALSE(Id::parse(bad)) << bad;
  EXPECT_FALSE(Id::parse(std::string(10'000'000, 'a')));
  std::string with_nul = "018bcfe5-6800-7000-8000-000000000000";
  ASSERT_TRUE(Id::parse(with_nul));
  with_nul[33] = '\0';
  EXPECT_FALSE(Id::parse(with_nul));
}
