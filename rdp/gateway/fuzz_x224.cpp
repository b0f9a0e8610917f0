// Hostile first packets, cut anywhere: what is accepted obeys every limit, and what is refused early is refused whole.
#include <cstdint>
#include <cstdlib>

#include "rdp/gateway/x224.hpp"

using namespace lucid;
using namespace lucid::gateway;

namespace {
void require(bool good) {
  if (!good) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteView packet(data, size);
  auto request = parse_connection_request(packet);
  auto confirm = parse_connection_confirm(packet);
  for (std::size_t cut = 0; cut <= size && cut <= kTpktHeader; ++cut) {
    auto announced = packet_size(packet.first(cut));
    if (!announced) require(!request && !confirm);
    if (announced && *announced != 0) require(*announced <= kMaxHandshake && cut == kTpktHeader);
  }
  if (request) {
    require(size <= 259 && !confirm);
    require(request->token.empty() || request->account.empty());
    require(request->account.size() <= kMaxName && request->token.find_first_of("\r\n \t") == std::string::npos);
    require(request->negotiates || request->protocols == 0);
    for (std::size_t cut = 0; cut < size; ++cut) require(!parse_connection_request(packet.first(cut)));
  }
  if (confirm) require(!confirm->selected || !confirm->failure);
  return 0;
}
