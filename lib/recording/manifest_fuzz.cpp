// Text as a manifest: what parses must give a text that parses to the same.
#include "lib/recording/manifest.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lucid;
  using namespace lucid::recording;
  auto manifest = parse_manifest(as_text(ByteView(data, size)));
  if (!manifest) return 0;
  const std::string text = to_json_text(*manifest);
  auto again = parse_manifest(text);
  if (!again || to_json_text(*again) != text) __builtin_trap();
  epoch_of(*manifest, 7);
  find_epoch(*manifest, 7);
  return 0;
}
