// What anyone may send to node-management before it is known who they are: the signature header, and the bodies of nodes. The first byte says which.
// Whatever is read is written back to the same.
#include <cstdlib>

#include "lib/contracts/nodes.hpp"

using namespace lucid;
using namespace lucid::contracts;

namespace {

template <class Read>
void body(std::string_view text, Read read) {
  auto value = parse_json(text);
  if (!value) return;
  try {
    auto first = json::serialize(to_json(read(*value)));
    if (json::serialize(to_json(read(*parse_json(first)))) != first) std::abort();
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::invalid) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view text = as_text({data + 1, size - 1});
  switch (data[0]) {
    case 'h':
      if (auto header = parse_node_header(text); header && node_header(*header) != text) std::abort();
      break;
    case 'r': body(text, read_node_registration); break;
    case 'l': body(text, read_node_load); break;
    case 'a': body(text, read_work_answer); break;
    case 'p': body(text, read_place_request); break;
    case 'b': body(text, read_beat_reply); break;
    case 's': body(text, read_node_status); break;
    case 'e': body(text, read_node_events); break;
    default: break;
  }
  return 0;
}
