// The URL of a hook, taken apart: http or https, a host, no user info and no fragment, at most 2000 bytes. Addresses of private networks are
// allowed: an operator's receiver usually stands in one, and only operators register hooks. Pure; any thread. Source: RFC 3986.
#pragma once

#include <string>

#include "lib/base/error.hpp"

namespace lucid::webhooks {

struct Address {
  std::string base;    // "https://host:port"
  std::string target;  // path and query, as a request line has it
};

// Error{invalid} whose text is the reason alone.
Expected<Address> parse_address(const std::string& url);

}  // namespace lucid::webhooks
