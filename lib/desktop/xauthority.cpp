#include "lib/desktop/xauthority.hpp"

#include <algorithm>
#include <charconv>

namespace lucid::desktop {
namespace {

constexpr std::uint16_t kFamilyInternet = 0, kFamilyInternet6 = 6, kFamilyLocal = 256, kFamilyWild = 65535;

bool parse_number(std::string_view text, int& out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && out >= 0 && out <= 65535;
}

std::uint16_t big16(ByteReader& in) {
  std::uint16_t v = in.u16();
  return static_cast<std::uint16_t>(v << 8 | v >> 8);
}

}  // namespace

Expected<DisplayName> parse_display_name(std::string_view text) {
  auto refuse = [&] {
    return std::unexpected(
        Error(ErrorKind::malformed, "display name \"" + to_utf8(text, 100) + "\" is not of the form [host]:number[.screen]"));
  };
  std::size_t colon = text.rfind(':');
  if (colon == text.npos || text.size() > 300) return refuse();
  DisplayName name;
  name.host = std::string(text.substr(0, colon));
  if (name.host == "unix") name.host.clear();
  std::string_view rest = text.substr(colon + 1);
  std::size_t dot = rest.find('.');
  if (!parse_number(rest.substr(0, dot), name.number)) return refuse();
  if (dot != rest.npos && !parse_number(rest.substr(dot + 1), name.screen)) return refuse();
  return name;
}

Expected<std::optional<AuthCookie>> find_cookie(ByteView file, int wanted, const AuthHost& host) {
  ByteReader in(file);
  std::optional<AuthCookie> wild;
  while (in.ok() && !in.at_end()) {
    std::uint16_t family = big16(in);
    std::string_view address = as_text(in.bytes(big16(in)));
    std::string_view number = as_text(in.bytes(big16(in)));
    std::string_view name = as_text(in.bytes(big16(in)));
    ByteView data = in.bytes(big16(in));
    if (!in.ok()) break;
    int entry = -1;
    bool any_number = number.empty();
    if (!any_number && !parse_number(number, entry)) continue;
    if (name != "MIT-MAGIC-COOKIE-1" || (!any_number && entry != wanted)) continue;
    AuthCookie cookie{std::string(name), Bytes(data.begin(), data.end())};
    bool ip = family == kFamilyInternet || family == kFamilyInternet6;
    bool here = (host.local && family == kFamilyLocal && address == host.hostname) ||
                (ip && std::find(host.addresses.begin(), host.addresses.end(), address) != host.addresses.end());
    if (here) return cookie;
    if (family == kFamilyWild && !wild) wild = std::move(cookie);
  }
  if (!in.ok()) return std::unexpected(Error(ErrorKind::malformed, "the Xauthority file is cut short"));
  return wild;
}

}  // namespace lucid::desktop
