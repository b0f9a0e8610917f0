#include "rdp/gateway/x224.hpp"

#include <algorithm>
#include <array>

namespace lucid::gateway {
namespace {

constexpr std::uint8_t kTpktVersion = 3, kTlsHandshake = 0x16;
constexpr std::uint8_t kConnectionRequest = 0xE0, kConnectionConfirm = 0xD0;
constexpr std::size_t kFixedPart = 11;  // TPKT header, length indicator, code, two references, class
constexpr std::uint8_t kNegRequest = 1, kNegResponse = 2, kNegFailure = 3, kCorrelation = 6;
constexpr std::uint8_t kCorrelationPresent = 8;
constexpr std::uint16_t kNegSize = 8, kCorrelationSize = 36;
constexpr std::string_view kToken = "Cookie: msts=", kHash = "Cookie: mstshash=";

struct Tpdu {
  std::uint16_t destination = 0, source = 0;
  ByteView rest;
};

std::uint16_t big16(ByteView bytes, std::size_t at) { return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]); }

std::expected<Tpdu, X224Fault> open_tpdu(ByteView packet, std::uint8_t code) {
  auto size = packet_size(packet);
  if (!size) return std::unexpected(size.error());
  if (*size != packet.size() || packet.size() < kFixedPart) return std::unexpected(X224Fault::bad_length);
  // The length indicator counts the header without itself; in a connection TPDU everything belongs to the header. 255 is reserved.
  if (packet[4] == 255 || packet[4] != packet.size() - kTpktHeader - 1) return std::unexpected(X224Fault::bad_length);
  if (packet[5] != code || packet[10] != 0) return std::unexpected(X224Fault::not_expected);
  return Tpdu{big16(packet, 6), big16(packet, 8), packet.subspan(kFixedPart)};
}

bool in_token(char c) { return c > ' ' && c < 0x7F; }
bool in_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::string_view("._-@\\$").contains(c);
}

// Takes the cookie line off `rest`, where there is one.
bool read_cookie(ByteView& rest, ConnectionRequest& out) {
  std::string_view text = as_text(rest);
  if (text.empty() || text[0] == kNegRequest) return true;
  std::size_t end = text.find("\r\n");
  if (end == std::string_view::npos) return false;
  std::string_view line = text.substr(0, end);
  if (line.starts_with(kToken)) {
    line.remove_prefix(kToken.size());
    if (line.empty() || !std::all_of(line.begin(), line.end(), in_token)) return false;
    out.token = line;
  } else if (line.starts_with(kHash)) {
    line.remove_prefix(kHash.size());
    if (line.empty() || line.size() > kMaxName || !std::all_of(line.begin(), line.end(), in_name)) return false;
    out.account = line;
  } else {
    return false;
  }
  rest = rest.subspan(end + 2);
  return true;
}

}  // namespace

const char* name(X224Fault fault) {
  constexpr std::array<const char*, 6> names{"tls_first", "not_tpkt", "bad_length", "not_expected", "bad_cookie", "bad_negotiation"};
  return names[static_cast<std::size_t>(fault)];
}

std::expected<std::size_t, X224Fault> packet_size(ByteView start) {
  if (!start.empty() && start[0] == kTlsHandshake) return std::unexpected(X224Fault::tls_first);
  if ((!start.empty() && start[0] != kTpktVersion) || (start.size() > 1 && start[1] != 0)) return std::unexpected(X224Fault::not_tpkt);
  if (start.size() < kTpktHeader) return 0;
  std::size_t size = big16(start, 2);
  if (size < kFixedPart || size > kMaxHandshake) return std::unexpected(X224Fault::bad_length);
  return size;
}

std::expected<ConnectionRequest, X224Fault> parse_connection_request(ByteView packet) {
  auto tpdu = open_tpdu(packet, kConnectionRequest);
  if (!tpdu) return std::unexpected(tpdu.error());
  if (tpdu->destination != 0) return std::unexpected(X224Fault::not_expected);
  ConnectionRequest out;
  out.source_reference = tpdu->source;
  ByteView rest = tpdu->rest;
  if (!read_cookie(rest, out)) return std::unexpected(X224Fault::bad_cookie);
  if (rest.empty()) return out;
  ByteReader in(rest);
  std::uint8_t type = in.u8();
  out.flags = in.u8();
  std::uint16_t length = in.u16();
  out.protocols = in.u32();
  if (!in.ok() || type != kNegRequest || length != kNegSize) return std::unexpected(X224Fault::bad_negotiation);
  out.negotiates = true;
  if ((out.flags & kCorrelationPresent) != 0) {
    type = in.u8();
    std::uint8_t flags = in.u8();
    length = in.u16();
    in.bytes(kCorrelationSize - 4);
    if (!in.ok() || type != kCorrelation || flags != 0 || length != kCorrelationSize) return std::unexpected(X224Fault::bad_negotiation);
  }
  if (!in.at_end()) return std::unexpected(X224Fault::bad_negotiation);
  return out;
}

std::expected<ConnectionConfirm, X224Fault> parse_connection_confirm(ByteView packet) {
  auto tpdu = open_tpdu(packet, kConnectionConfirm);
  if (!tpdu) return std::unexpected(tpdu.error());
  ConnectionConfirm out;
  if (tpdu->rest.empty()) return out;
  ByteReader in(tpdu->rest);
  std::uint8_t type = in.u8();
  in.u8();  // flags: what the server can do, for the client to read
  std::uint16_t length = in.u16();
  std::uint32_t value = in.u32();
  if (!in.at_end() || length != kNegSize) return std::unexpected(X224Fault::bad_negotiation);
  if (type == kNegResponse)
    out.selected = value;
  else if (type == kNegFailure)
    out.failure = value;
  else
    return std::unexpected(X224Fault::bad_negotiation);
  return out;
}

Bytes negotiation_failure(FailureCode code, std::uint16_t source_reference) {
  Bytes out{kTpktVersion, 0, 0, kFixedPart + kNegSize, kFixedPart + kNegSize - kTpktHeader - 1, kConnectionConfirm};
  ByteWriter write(out);
  write.u8(static_cast<std::uint8_t>(source_reference >> 8));  // theirs becomes the destination
  write.u8(static_cast<std::uint8_t>(source_reference));
  write.u16(0);
  write.u8(0);
  write.u8(kNegFailure);
  write.u8(0);
  write.u16(kNegSize);
  write.u32(static_cast<std::uint32_t>(code));
  return out;
}

}  // namespace lucid::gateway
