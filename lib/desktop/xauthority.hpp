// Reads an .Xauthority file and chooses the cookie for a display, so that displays with different files can be opened by
// one process. Format: libXau's Xauth(3), big-endian 16-bit lengths. Hostile files are harmless: bounded, no trust in
// lengths. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"

namespace lucid::desktop {

// "host:10.0" split; an empty host means this machine (also "unix").
struct DisplayName {
  std::string host;
  int number = 0;
  int screen = 0;
};
Expected<DisplayName> parse_display_name(std::string_view text);

struct AuthCookie {
  std::string name;  // "MIT-MAGIC-COOKIE-1"
  Bytes data;
};
// Which machine the display is on: this one (`hostname` names it in the file), or one with these addresses (4 or 16 raw
// bytes each, as Xauthority writes them).
struct AuthHost {
  bool local = true;
  std::string hostname;
  std::vector<std::string> addresses;
};
// The first MIT-MAGIC-COOKIE-1 entry for display `number` on `host`, else a wildcard one; nullopt when there is none. A
// cookie of another machine is never answered. Error{malformed} for a file cut short.
Expected<std::optional<AuthCookie>> find_cookie(ByteView file, int number, const AuthHost& host);

}  // namespace lucid::desktop
