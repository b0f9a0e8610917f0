// Hostile requests: whatever a body, a list query, a cursor, a Range or a stored document says, it is taken or refused
// with an Error, and what was taken can be written and read again. The first byte chooses the parser.
#include <cstdint>
#include <cstdlib>

#include "lib/net/byte_range.hpp"
#include "sessions/api/listing.hpp"
#include "sessions/api/session.hpp"

using namespace lucid;
using namespace lucid::api;

namespace {

void require(bool good) {
  if (!good) std::abort();
}

void body(std::string_view text) {
  auto value = parse_json(text);
  if (!value) return;
  try {
    Session session = read_create(*value);
    session.id = Id(std::array<std::uint8_t, 16>{1});
    require(to_stored(from_stored(to_stored(session))) == to_stored(session));
    apply_patch(json::object{{"name", "x"}}, session);
  } catch (const Error& e) { require(e.kind() == ErrorKind::invalid); }
  try {
    Session session;
    session.name = "n";
    apply_patch(*value, session);
  } catch (const Error& e) { require(e.kind() == ErrorKind::invalid); }
}

void stored(std::string_view text) {
  try {
    Session session = from_stored(text);
    require(to_stored(from_stored(to_stored(session))) == to_stored(session));
  } catch (const Error& e) { require(e.kind() == ErrorKind::corrupt); }
}

// "name=value" lines.
void query(std::string_view text) {
  std::map<std::string, std::string> parameters;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    std::size_t equals = std::min(line.find('='), line.size());
    parameters[std::string(line.substr(0, equals))] = std::string(line.substr(std::min(line.size(), equals + 1)));
  }
  try {
    ListQuery q = read_list_query(parameters);
    require(q.limit >= 1 && q.limit <= 100);
    if (q.after) require(decode_cursor(encode_cursor(*q.after)) == *q.after);
    matches(q, Session{});
  } catch (const Error& e) { require(e.kind() == ErrorKind::invalid || e.kind() == ErrorKind::malformed); }
}

void range(std::string_view text) {
  for (std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1000}, UINT64_MAX}) {
    auto r = net::parse_range(text, size);
    if (const auto* part = std::get_if<net::ByteRange>(&r)) require(part->first <= part->last && part->last < size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view text = as_text({data + 1, size - 1});
  switch (data[0] % 4) {
    case 0: body(text); break;
    case 1: stored(text); break;
    case 2: query(text); break;
    case 3: range(text); break;
  }
  return 0;
}
