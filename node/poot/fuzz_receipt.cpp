// Hostile receipts: what the reader takes, the writer must write back byte for byte.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "node/poot/receipt.hpp"

using namespace lucid;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteView bytes(data, size);
  auto receipt = poot::parse_receipt(bytes);
  if (!receipt) return 0;
  if (receipt->says_nothing() || !std::ranges::equal(poot::to_bytes(*receipt), bytes)) std::abort();
  return 0;
}
