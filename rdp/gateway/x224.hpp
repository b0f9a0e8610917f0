// The first packets of an RDP connection: TPKT (RFC 1006), X.224 class 0 Connection Request and Confirm (ITU-T X.224 13.3, 13.4) and the
// RDP negotiation structures inside (MS-RDPBCGR 2.2.1.1, 2.2.1.2). Strict: every length must agree with every other, nothing may follow.
// Pure functions over bytes nobody vouches for; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "lib/base/bytes.hpp"

namespace lucid::gateway {

inline constexpr std::size_t kTpktHeader = 4;
inline constexpr std::size_t kMaxHandshake = 512;  // bytes read from anyone before admission
inline constexpr std::size_t kMaxName = 64;

// Bits of requestedProtocols and selectedProtocol.
inline constexpr std::uint32_t kProtocolSsl = 1, kProtocolHybrid = 2, kProtocolHybridEx = 8;
inline constexpr std::uint32_t kSecureProtocols = kProtocolSsl | kProtocolHybrid | kProtocolHybridEx;

enum class X224Fault {
  tls_first,     // a TLS record where the TPKT header belongs
  not_tpkt,      // version is not 3, or the reserved byte is not 0
  bad_length,    // TPKT, X.224 and contents disagree, or more than kMaxHandshake
  not_expected,  // another TPDU, another class, CDT or references that class 0 forbids
  bad_cookie,    // neither "Cookie: msts=…" nor "Cookie: mstshash=…", or characters that do not belong there
  bad_negotiation,
};
const char* name(X224Fault fault);

// Size of the whole packet as its TPKT header says; 0 while fewer than 4 bytes are there and nothing is wrong with them.
std::expected<std::size_t, X224Fault> packet_size(ByteView start);

struct ConnectionRequest {
  std::uint16_t source_reference = 0;
  std::string token;    // the value after "Cookie: msts="
  std::string account;  // the value after "Cookie: mstshash="
  bool negotiates = false;
  std::uint8_t flags = 0;
  std::uint32_t protocols = 0;  // as requested
};
std::expected<ConnectionRequest, X224Fault> parse_connection_request(ByteView packet);

enum class FailureCode : std::uint32_t {
  ssl_required_by_server = 1,
  ssl_not_allowed_by_server = 2,
  ssl_cert_not_on_server = 3,
  inconsistent_flags = 4,
  hybrid_required_by_server = 5,
  ssl_with_user_auth_required_by_server = 6,
};

struct ConnectionConfirm {
  std::optional<std::uint32_t> selected;  // of RDP_NEG_RSP
  std::optional<std::uint32_t> failure;   // of RDP_NEG_FAILURE
};
std::expected<ConnectionConfirm, X224Fault> parse_connection_confirm(ByteView packet);

// A Connection Confirm that carries RDP_NEG_FAILURE, for the client whose request had `source_reference`.
Bytes negotiation_failure(FailureCode code, std::uint16_t source_reference);

}  // namespace lucid::gateway
