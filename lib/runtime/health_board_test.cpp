#include <future>

#include <gtest/gtest.h>

#include "lib/runtime/health_board.hpp"

using namespace lucid::runtime;

TEST(HealthBoard, ShowsEveryCheckAndTakesThrowsForProblems) {
  HealthBoard board({{"good", [] { return std::nullopt; }},
                     {"bad", [] { return std::optional<std::string>("full"); }},
                     {"throwing", []() -> std::optional<std::string> { throw std::runtime_error("away"); }}});
  auto results = board.look();
  ASSERT_EQ(results.size(), 3u);
  EXPECT_TRUE(results[0].ok);
  EXPECT_EQ(results[1].detail, "full");
  EXPECT_EQ(results[2].detail, "away");
}

TEST(HealthBoard, AHangingCheckDoesNotHangTheAnswer) {
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  HealthBoard board({{"good", [] { return std::nullopt; }},
                     {"hanging",
                      [released] {
                        released.wait();
                        return std::optional<std::string>();
                      }},
                     {"after", [] { return std::nullopt; }}});
  auto began = std::chrono::steady_clock::now();
  auto results = board.look();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(1'500));
  EXPECT_TRUE(results[0].ok);
  EXPECT_FALSE(results[1].ok);
  EXPECT_FALSE(results[2].ok);
  release.set_value();
}

TEST(HealthBoard, AsksAgainOnlyWhenTheResultIsOld) {
  int asked = 0;
  HealthBoard board({{"counted", [&] {
                        ++asked;
                        return std::nullopt;
                      }}});
  board.look();
  board.look();
  EXPECT_EQ(asked, 1);
}
