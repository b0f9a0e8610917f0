#include "lib/webhooks/address.hpp"

#include <boost/url/parse.hpp>

namespace lucid::webhooks {

Expected<Address> parse_address(const std::string& url) {
  auto refuse = [](const char* why) { return std::unexpected(Error(ErrorKind::invalid, why)); };
  constexpr std::size_t kMaxUrl = 2'000;
  if (url.empty() || url.size() > kMaxUrl) return refuse("must have 1 to 2000 bytes");
  auto parsed = boost::urls::parse_uri(url);
  if (!parsed) return refuse("must be a URL as RFC 3986 has it");
  if (parsed->scheme() != "http" && parsed->scheme() != "https") return refuse("must begin with http:// or https://");
  if (parsed->host_address().empty()) return refuse("must name a host");
  if (parsed->has_userinfo()) return refuse("must not have a user name or password");
  if (parsed->has_fragment()) return refuse("must not have a fragment");
  if (parsed->has_port() && parsed->port_number() == 0) return refuse("must have a port from 1 to 65535, or none");
  auto text = [](auto piece) { return std::string(piece.data(), piece.size()); };
  std::string target = text(parsed->encoded_target());
  if (!target.starts_with('/')) target.insert(0, "/");
  return Address{.base = text(parsed->scheme()) + "://" + text(parsed->encoded_host_and_port()), .target = std::move(target)};
}

}  // namespace lucid::webhooks
