#include "rdp/gateway/x224.hpp"

#include <gtest/gtest.h>

#include "rdp/gateway/test_packets.hpp"

namespace lucid::gateway {
namespace {

using namespace test;

X224Fault fault_of(const std::string& packet) {
  auto parsed = parse_connection_request(as_bytes(packet));
  EXPECT_FALSE(parsed.has_value()) << to_hex(as_bytes(packet));
  return parsed ? X224Fault::not_tpkt : parsed.error();
}

const std::string kToken = "lucid1." + std::string(136, 'x');

TEST(X224, ReadsWhatClientsSend) {
  auto freerdp = parse_connection_request(as_bytes(account_request("lu4x7k2aa", 0x0B)));
  ASSERT_TRUE(freerdp);
  EXPECT_EQ(freerdp->account, "lu4x7k2aa");
  EXPECT_EQ(freerdp->protocols, 0x0Bu);
  EXPECT_TRUE(freerdp->token.empty() && freerdp->negotiates);

  auto mstsc =
      parse_connection_request(as_bytes(tpdu(0xE0, "Cookie: msts=" + kToken + "\r\n" + negotiation(3, 8) + correlation(), 0x1234)));
  ASSERT_TRUE(mstsc);
  EXPECT_EQ(mstsc->token, kToken);
  EXPECT_EQ(mstsc->source_reference, 0x1234);
  EXPECT_EQ(mstsc->flags, 8);

  auto rdesktop = parse_connection_request(as_bytes(tpdu(0xE0, "Cookie: mstshash=bob\r\n")));
  ASSERT_TRUE(rdesktop);
  EXPECT_EQ(rdesktop->account, "bob");
  EXPECT_FALSE(rdesktop->negotiates);

  EXPECT_TRUE(parse_connection_request(as_bytes(tpdu(0xE0, ""))));
  EXPECT_TRUE(parse_connection_request(as_bytes(tpdu(0xE0, negotiation(1)))));
  EXPECT_TRUE(parse_connection_request(as_bytes(account_request("ACME\\j.doe@x"))));
}

TEST(X224, EveryTruncationAndEveryExtraByteIsRefused) {
  std::string good = tpdu(0xE0, "Cookie: msts=" + kToken + "\r\n" + negotiation(3, 8) + correlation());
  for (std::size_t cut = 0; cut < good.size(); ++cut) EXPECT_FALSE(parse_connection_request(as_bytes(good.substr(0, cut)))) << cut;
  EXPECT_EQ(fault_of(good + "x"), X224Fault::bad_length);
  EXPECT_EQ(fault_of(tpdu(0xE0, negotiation(1) + "x")), X224Fault::bad_negotiation);
  EXPECT_EQ(fault_of(tpdu(0xE0, negotiation(1) + correlation())), X224Fault::bad_negotiation);  // without its flag
}

TEST(X224, KnowsTheSizeFromTheHeaderAloneAndRefusesOtherProtocolsAtTheFirstByte) {
  EXPECT_EQ(packet_size(as_bytes("")).value(), 0u);
  EXPECT_EQ(packet_size(as_bytes(bytes({3, 0, 1}))).value(), 0u);
  EXPECT_EQ(packet_size(as_bytes(bytes({3, 0, 1, 3}))).value(), 259u);
  EXPECT_EQ(packet_size(as_bytes(bytes({0x16}))).error(), X224Fault::tls_first);
  EXPECT_EQ(packet_size(as_bytes("G")).error(), X224Fault::not_tpkt);
  EXPECT_EQ(packet_size(as_bytes(bytes({3, 1}))).error(), X224Fault::not_tpkt);
  EXPECT_EQ(packet_size(as_bytes(bytes({3, 0, 0xFF, 0xFF}))).error(), X224Fault::bad_length);
  EXPECT_EQ(packet_size(as_bytes(bytes({3, 0, 2, 1}))).error(), X224Fault::bad_length);  // 513
  EXPECT_EQ(packet_size(as_bytes(bytes({3, 0, 0, 10}))).error(), X224Fault::bad_length);
}

TEST(X224, RefusesWhatClassZeroForbids) {
  std::string good = account_request("bob");
  auto with = [&](std::size_t at, int value) {
    std::string copy = good;
    copy[at] = static_cast<char>(value);
    return fault_of(copy);
  };
  EXPECT_EQ(with(4, good[4] + 1), X224Fault::bad_length);
  EXPECT_EQ(with(4, 255), X224Fault::bad_length);
  EXPECT_EQ(with(5, 0xF0), X224Fault::not_expected);
  EXPECT_EQ(with(5, 0xE1), X224Fault::not_expected);  // CDT
  EXPECT_EQ(with(7, 1), X224Fault::not_expected);     // destination reference
  EXPECT_EQ(with(10, 0x10), X224Fault::not_expected);
}

TEST(X224, RefusesCookiesThatAreNot) {
  for (const std::string& cookie :
       {std::string("Cookie: mstshash=\r\n"), std::string("Cookie: msts=\r\n"), std::string("Cookie: mstshash=bob"),
        std::string("Cookie: mstshash=b b\r\n"), std::string("Cookie: mstshash=") + std::string(65, 'a') + "\r\n",
        std::string("Cookie: msts=a b\r\n"), std::string("Cookie: msts=\x7f\r\n"), std::string("cookie: msts=a\r\n"),
        std::string("tsv://x\r\n"), std::string("Cookie: mstshash=a\nb\r\n"), std::string("Cookie: mstshash=a;rm\r\n")})
    EXPECT_EQ(fault_of(tpdu(0xE0, cookie + negotiation(3))), X224Fault::bad_cookie) << cookie;
  EXPECT_EQ(fault_of(tpdu(0xE0, "Cookie: msts=a\r\nCookie: mstshash=b\r\n" + negotiation(3))), X224Fault::bad_negotiation);
}

TEST(X224, ReadsConfirmsAndFailures) {
  EXPECT_EQ(parse_connection_confirm(as_bytes(confirm(2)))->selected, 2u);
  EXPECT_EQ(parse_connection_confirm(as_bytes(failure(5)))->failure, 5u);
  auto plain = parse_connection_confirm(as_bytes(tpdu(0xD0, "")));
  ASSERT_TRUE(plain);
  EXPECT_FALSE(plain->selected || plain->failure);
  EXPECT_FALSE(parse_connection_confirm(as_bytes(tpdu(0xE0, ""))));
  EXPECT_FALSE(parse_connection_confirm(as_bytes(tpdu(0xD0, "xxxxxxxx"))));
  EXPECT_FALSE(parse_connection_confirm(as_bytes(confirm(2).substr(0, 15))));
}

TEST(X224, NegotiationFailureHasTheBytesOfTheSpecification) {
  Bytes packet = negotiation_failure(FailureCode::ssl_required_by_server, 0x1234);
  EXPECT_EQ(to_hex(packet), "030000130ed012340000000300080001000000");
  EXPECT_EQ(parse_connection_confirm(packet)->failure, 1u);
}

}  // namespace
}  // namespace lucid::gateway
