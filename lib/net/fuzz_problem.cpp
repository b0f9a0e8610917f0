// Answers of other services: any body at any status becomes an Error whose own problem is well-formed and maps back to the same Error.
#include <cstdlib>

#include "lib/net/http.hpp"

using namespace lucid;
using namespace lucid::net;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  int status = 300 + (data[0] | (data[1] & 1) << 8) % 300;
  ByteView body(data + 2, size - 2);
  Headers headers;
  headers.set("Retry-After", std::string(as_text(body.first(std::min<std::size_t>(body.size(), 8)))));
  Error error = error_from(status, headers, body, "GET http://service/path");
  if (error.code().empty() || error.code().size() > 64) std::abort();
  Response again = problem(error, "id");
  Expected<json::value> parsed = parse_json(as_text(again.body), again.body.size());
  if (!parsed || !parsed->is_object()) std::abort();
  Error back = error_from(again.status, again.headers, again.body, "GET http://service/path");
  if (back.code() != error.code()) std::abort();
  return 0;
}
