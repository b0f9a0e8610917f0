#include "rdp/gateway/guard.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace lucid::gateway {
namespace {

using Verdict = Guard::Verdict;
constexpr std::int64_t kNow = 1'700'000'000'000;

sockaddr_storage v4(const char* ip, int port) {
  sockaddr_storage out{};
  auto* in = reinterpret_cast<sockaddr_in*>(&out);
  in->sin_family = AF_INET;
  in->sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, ip, &in->sin_addr);
  return out;
}
sockaddr_storage v6(const char* ip, int port) {
  sockaddr_storage out{};
  auto* in = reinterpret_cast<sockaddr_in6*>(&out);
  in->sin6_family = AF_INET6;
  in->sin6_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET6, ip, &in->sin6_addr);
  return out;
}

TEST(Guard, NamesAddressesAndCountsIpv6ByNetwork) {
  EXPECT_EQ(address_text(v4("192.0.2.7", 50312)), "192.0.2.7:50312");
  EXPECT_EQ(address_key(v4("192.0.2.7", 50312)), "192.0.2.7");
  EXPECT_EQ(address_text(v6("2001:db8::7", 1)), "[2001:db8::7]:1");
  EXPECT_EQ(address_key(v6("2001:db8:0:0:1:2:3:4", 1)), "2001:db8::/64");
  EXPECT_EQ(address_key(v6("::ffff:192.0.2.7", 1)), "192.0.2.7");
  EXPECT_EQ(address_text(v6("::ffff:192.0.2.7", 9)), "192.0.2.7:9");
  EXPECT_EQ(address_key(v6("::1", 1)), "::1");
}

TEST(Guard, LimitsTheRateOfNewConnectionsOfOneAddressOnly) {
  Guard guard({.connections_per_second = 2, .burst = 3});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(guard.enter("a", kNow), Verdict::welcome);
  EXPECT_EQ(guard.enter("a", kNow), Verdict::too_fast);
  EXPECT_EQ(guard.enter("b", kNow), Verdict::welcome);
  EXPECT_EQ(guard.enter("a", kNow + 500), Verdict::welcome);
  EXPECT_EQ(guard.enter("a", kNow + 500), Verdict::too_fast);
}

TEST(Guard, LimitsConcurrentConnections) {
  Guard guard({.concurrent = 2});
  EXPECT_EQ(guard.enter("a", kNow), Verdict::welcome);
  EXPECT_EQ(guard.enter("a", kNow), Verdict::welcome);
  EXPECT_EQ(guard.enter("a", kNow), Verdict::too_many);
  guard.leave("a");
  EXPECT_EQ(guard.enter("a", kNow), Verdict::welcome);
}

TEST(Guard, BansAfterRepeatedFailuresUntilTheTimeIsOverOrTheBanLifted) {
  Guard guard({.ban_after = 3, .ban_window_ms = 1'000, .ban_ms = 5'000});
  EXPECT_FALSE(guard.failed("a", kNow));
  EXPECT_FALSE(guard.failed("a", kNow + 900));
  EXPECT_FALSE(guard.failed("a", kNow + 1'100));  // a new window
  EXPECT_FALSE(guard.failed("a", kNow + 1'200));
  EXPECT_TRUE(guard.failed("a", kNow + 1'300));
  EXPECT_EQ(guard.enter("a", kNow + 1'400), Verdict::banned);
  ASSERT_EQ(guard.bans(kNow + 1'400).size(), 1u);
  EXPECT_EQ(guard.bans(kNow + 1'400)[0].failures, 3);
  EXPECT_EQ(guard.enter("a", kNow + 6'301), Verdict::welcome);
  EXPECT_TRUE(guard.bans(kNow + 6'301).empty());

  Guard other({});
  other.restore({"a", kNow + 1'000, 10});
  EXPECT_EQ(other.enter("a", kNow), Verdict::banned);
  EXPECT_TRUE(other.lift("a"));
  EXPECT_FALSE(other.lift("b"));
  EXPECT_EQ(other.enter("a", kNow), Verdict::welcome);
}

TEST(Guard, LoopbackIsFreeOnlyWhenSet) {
  Guard strict({.burst = 1});
  EXPECT_EQ(strict.enter("127.0.0.1", kNow), Verdict::welcome);
  EXPECT_EQ(strict.enter("127.0.0.1", kNow), Verdict::too_fast);
  Guard free({.burst = 1, .concurrent = 1, .ban_after = 1, .exempt_loopback = true});
  EXPECT_FALSE(free.failed("127.0.0.1", kNow));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(free.enter("127.0.0.1", kNow), Verdict::welcome);
}

TEST(Guard, AFloodOfAddressesForgetsNeitherBansNorConnectionsButStaysBounded) {
  Guard guard({.ban_after = 1, .max_addresses = 100});
  EXPECT_EQ(guard.enter("open", kNow), Verdict::welcome);
  EXPECT_TRUE(guard.failed("bad", kNow));
  for (int i = 0; i < 10'000; ++i) {
    std::string key = "flood" + std::to_string(i);
    guard.enter(key, kNow);
    guard.leave(key);
  }
  EXPECT_EQ(guard.enter("bad", kNow), Verdict::banned);
  EXPECT_LE(guard.size(), 100u);
}

}  // namespace
}  // namespace lucid::gateway
