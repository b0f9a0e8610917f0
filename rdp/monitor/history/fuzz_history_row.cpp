// Bytes of a row as a damaged file may have them; rows made from the input must come back as they were.
#include <cstdlib>

#include "rdp/monitor/history/row.hpp"

using namespace lucid;
using namespace lucid::monitor::history;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader in({data, size});
  Tier tier = kTiers[in.u8() % kTiers.size()];
  std::int64_t key = in.i64() & INT64_MAX;
  SummaryBlock block;
  ByteView row = in.bytes(in.remaining());
  decode(row, tier, key, block);
  if (decode_unchecked(row, tier, block) && tier != Tier::raw) {
    Bytes again;
    SummaryBlock back;
    encode(block, tier, key, again);
    if (!decode(again, tier, key, back) || back.present != block.present) std::abort();
  }
  RawBlock raw;
  ByteReader values({data, size});
  raw.present = values.u32();
  for (double& value : raw.values) value = static_cast<double>(values.i64());
  Bytes bytes;
  encode(raw, key, bytes);
  SummaryBlock back;
  if (!decode(bytes, Tier::raw, key, back) || back.present != raw.present) std::abort();
  for (int place = 0; place < kPlaces; ++place)
    if ((raw.present >> place & 1) != 0 && back.values[place].last != raw.values[place]) std::abort();
  return 0;
}
