// Request targets from outside: whatever the bytes, a decoded path is valid UTF-8 without NUL or dot segments, and matching it is safe.
#include <cstdlib>

#include "lib/net/client.hpp"
#include "lib/net/http.hpp"
#include "lib/net/target.hpp"
#include "lib/net/trace.hpp"

using namespace lucid;
using namespace lucid::net;

static Router routes() {
  Router router;
  auto nothing = [](Request&) { return Response::empty(); };
  for (const char* pattern : {"/", "/health", "/api/v1/sessions", "/api/v1/sessions/{id}", "/api/v1/sessions/{id}/chunks/{seq}",
                              "/api/v1/sessions/recent/{n}", "/api/{version}/sessions/{id}/start"}) {
    router.add(Method::get, pattern, nothing);
    router.add(Method::put, pattern, nothing);
  }
  return router;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Router router = routes();
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (percent_decode(percent_encode(text)) != text) std::abort();
  is_request_id(text);
  is_traceparent(text);
  Expected<Target> target = parse_target(text);
  if (!target) return 0;
  const std::string& path = target->path;
  if (path.empty() || path[0] != '/' || path.find('\0') != std::string::npos || !is_utf8(path)) std::abort();
  if ((path + "/").find("/../") != std::string::npos || (path + "/").find("/./") != std::string::npos) std::abort();
  Router::Match match = router.match(Method::get, path);
  if (match.route == nullptr) {
    if (!match.allowed.empty()) std::abort();
    return 0;
  }
  for (const auto& [name, value] : match.params)
    if (value.empty() || value.find('/') != std::string::npos) std::abort();
  return 0;
}
