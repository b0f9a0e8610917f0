// The answer of a collector: any bytes, read without going past them; and what is read is what the field says.
#include <cstdlib>

#include "lib/runtime/otlp.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Of exactly this size, so that one byte too far is seen.
  lucid::Bytes answer(data, data + size);
  std::uint64_t rejected = lucid::runtime::rejected_spans(answer);
  // A message that says so and nothing else, in front: its number wins.
  lucid::Bytes with_one{0x0a, 0x02, 0x08, 0x01};
  with_one.insert(with_one.end(), answer.begin(), answer.end());
  if (lucid::runtime::rejected_spans(with_one) != 1 || (size == 0 && rejected != 0)) std::abort();
  return 0;
}
