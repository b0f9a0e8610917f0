// First packets as real clients send them, built from parts. For tests.
#pragma once

#include <string>
#include <string_view>

#include "rdp/gateway/x224.hpp"

namespace lucid::gateway::test {

inline std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (int v : values) out += static_cast<char>(v);
  return out;
}

inline std::string tpdu(int code, std::string_view rest, int source = 0) {
  std::size_t size = 11 + rest.size();
  return bytes({3, 0, static_cast<int>(size >> 8), static_cast<int>(size & 255), static_cast<int>(size - 5), code, 0, 0, source >> 8,
                source & 255, 0}) +
         std::string(rest);
}

inline std::string negotiation(int protocols, int flags = 0) { return bytes({1, flags, 8, 0, protocols, 0, 0, 0}); }
inline std::string correlation() { return bytes({6, 0, 36, 0}) + std::string(16, 'c') + std::string(16, '\0'); }

inline std::string token_request(std::string_view token, int protocols = 3) {
  return tpdu(0xE0, "Cookie: msts=" + std::string(token) + "\r\n" + negotiation(protocols));
}
inline std::string account_request(std::string_view account, int protocols = 3) {
  return tpdu(0xE0, "Cookie: mstshash=" + std::string(account) + "\r\n" + negotiation(protocols));
}

inline std::string confirm(int selected) { return tpdu(0xD0, bytes({2, 0, 8, 0, selected, 0, 0, 0}), 0x1234); }
inline std::string failure(int code) { return tpdu(0xD0, bytes({3, 0, 8, 0, code, 0, 0, 0})); }

}  // namespace lucid::gateway::test
