#include "sessions/api/http.hpp"

#include <charconv>

#include <fmt/format.h>

#include "lib/base/clock.hpp"
#include "lib/crypto/hash.hpp"
#include "lib/crypto/secret.hpp"
#include "lib/runtime/version.hpp"

namespace lucid::api {
namespace {

net::Response status(Api& api) {
  json::object answer{
      {"service", "session-api"}, {"version", runtime::version()}, {"time", to_rfc3339(SystemClock().wall_ms())}, {"keys", api.keys}};
  try {
    answer["node"] = api.processor->keys().node;
  } catch (const Error& e) {
    answer["node"] = nullptr;
    answer["problem"] = e.what();
  }
  return net::Response::json(200, answer);
}

}  // namespace

Id session_id(const net::Request& request) {
  auto id = Id::parse(request.param("id"));
  if (!id) throw Error(ErrorKind::malformed, "malformed_id", "a session id is a UUID such as 018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e");
  return *id;
}

std::uint64_t sequence_number(const net::Request& request) {
  const std::string& text = request.param("seq");
  std::uint64_t n = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (text.empty() || ec != std::errc{} || end != text.data() + text.size())
    throw Error(ErrorKind::malformed, "malformed_sequence", "a chunk is named by its sequence number: 0, 1, 2, …");
  return n;
}

net::Authenticator admin_door(std::string token) {
  // Digests are compared, so neither content nor length of the token shows in the time taken.
  Hash32 expected = crypto::sha256(as_bytes(token));
  return [expected](const net::Request& request) -> std::optional<std::string> {
    constexpr std::string_view kScheme = "Bearer ";
    auto header = request.headers.get("Authorization");
    if (!header || !header->starts_with(kScheme) || header->size() > 4096) return std::nullopt;
    Hash32 given = crypto::sha256(as_bytes(header->substr(kScheme.size())));
    if (!crypto::equal_constant_time(given, expected)) return std::nullopt;
    return "admin";
  };
}

net::Router make_router(Api& api) {
  net::Router router;
  router.add(net::Method::get, "/api/v1/status", [&api](net::Request&) { return status(api); });
  add_session_routes(router, api);
  add_recording_routes(router, api);
  add_evidence_routes(router, api);
  add_rdp_routes(router, api);
  add_node_routes(router, api);
  add_monitor_routes(router, api);
  return router;
}

}  // namespace lucid::api
