// Bytes as a segment body with the keys of the golden files, and as a spool file walked by whoever forwards it.
#include <array>

#include "lib/recording/spool_format.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lucid;
  using namespace lucid::recording;
  static const crypto::BoxKey processor = [] {
    std::array<std::uint8_t, 32> secret;
    secret.fill(5);
    return crypto::BoxKey(crypto::Secret32(secret));
  }();
  ByteView bytes(data, size);
  auto header = parse_spool_header(bytes);
  if (!header) return 0;
  auto key = open_spool_key(*header, processor);
  static_cast<void>(open_segment(bytes, *header, key ? *key : processor.secret()));
  for (bytes = bytes.subspan(kSpoolHeaderSize); !bytes.empty();) {
    auto batch = parse_batch_header(bytes);
    if (!batch) break;
    if (batch_size(*batch) > bytes.size()) __builtin_trap();
    bytes = bytes.subspan(batch_size(*batch));
  }
  return 0;
}
