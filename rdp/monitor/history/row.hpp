// The bytes of one row: what up to 32 series (a block) read in one tick, or summed up of one minute or hour. Version 1:
//   raw      u8 1 | u32 present | u32 narrow | values of the places present, f32 where narrow, else f64 | u32 check
//   rolled   u8 1 | u32 present | of each place present: u8 shape, varint count, values | u32 check
// A value is narrow when f32 holds it exactly. `shape`: bit 0 all values of the span were the same (only one follows), else bits 1-4 say
// that minimum, maximum, mean, last are narrow. The check covers the bytes, the tier and the row's key, so a row that was altered or moved
// is known as such. Pure; any thread.
#pragma once

#include <array>
#include <cstdint>

#include "lib/base/bytes.hpp"

namespace lucid::monitor::history {

inline constexpr int kPlaces = 32;

enum class Tier : std::uint8_t { raw, minute, hour };
inline constexpr std::array<Tier, 3> kTiers{Tier::raw, Tier::minute, Tier::hour};
const char* name(Tier tier);
std::int64_t slot_ms(Tier tier);  // the span of one row; 1 for raw
// Start of the span that `at` (not negative) lies in.
inline std::int64_t slot(Tier tier, std::int64_t at) { return at - at % slot_ms(tier); }

// A row's key: time first, so that rows are appended in order.
inline std::int64_t row_key(std::int64_t at_ms, std::int64_t block) { return at_ms << 16 | block; }
inline std::int64_t row_time(std::int64_t key) { return key >> 16; }
inline std::int64_t row_block(std::int64_t key) { return key & 0xffff; }

struct Summary {
  double min = 0, max = 0, sum = 0, last = 0;
  std::uint64_t count = 0;
  double mean() const;  // finite also where the sum is not
  void add(double value) { add({value, value, value, value, 1}); }
  void add(const Summary& later);
};

struct RawBlock {
  std::uint32_t present = 0;  // bit i: place i has a value
  std::array<double, kPlaces> values{};
};
struct SummaryBlock {
  std::uint32_t present = 0;
  std::array<Summary, kPlaces> values{};
  void add(int place, const Summary& later);
};

// Replaces `out`.
void encode(const RawBlock& block, std::int64_t key, Bytes& out);
void encode(const SummaryBlock& block, Tier tier, std::int64_t key, Bytes& out);
// False when the bytes are not what encode() made; `block` is then of no use. A raw row becomes summaries of one value each.
bool decode(ByteView row, Tier tier, std::int64_t key, SummaryBlock& block);
// The same of a row without its check, whatever its bytes.
bool decode_unchecked(ByteView body, Tier tier, SummaryBlock& block);

}  // namespace lucid::monitor::history
