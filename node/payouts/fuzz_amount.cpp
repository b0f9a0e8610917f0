// Hostile amounts: what is taken is within bounds and is written back as the same text.
#include <cstdint>
#include <cstdlib>

#include "lib/base/bytes.hpp"
#include "node/payouts/money.hpp"

using namespace lucid;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = as_text({data, size});
  auto micros = payouts::parse_micros(text, payouts::Zero::allowed);
  if (!micros) return 0;
  if (!payouts::check_micros(*micros, payouts::Zero::allowed) || payouts::to_text(*micros) != text) std::abort();
  return 0;
}
