#include "rdp/monitor/history/row.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace lucid::monitor::history {
namespace {

constexpr std::uint8_t kRowVersion = 1;
constexpr std::size_t kCheckSize = 4;

std::uint32_t row_check(ByteView bytes, Tier tier, std::int64_t key) {
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15;
  std::uint64_t hash = (static_cast<std::uint64_t>(key) * 4 + static_cast<std::uint64_t>(tier) + bytes.size()) * kOdd;
  auto mix = [&](std::uint64_t word) { hash = std::rotl((hash ^ word) * kOdd, 29); };
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, 8);
    if constexpr (std::endian::native == std::endian::big) word = std::byteswap(word);
    mix(word);
  }
  std::uint64_t rest = 0;
  for (int shift = 0; at < bytes.size(); ++at, shift += 8) rest |= std::uint64_t{bytes[at]} << shift;
  mix(rest);
  return static_cast<std::uint32_t>(hash ^ hash >> 32);
}

bool narrow(double value) {
  return std::abs(value) <= 3e38 && static_cast<double>(static_cast<float>(value)) == value && (value != 0 || !std::signbit(value));
}

void put_value(ByteWriter& out, double value, bool is_narrow) {
  if (is_narrow)
    out.u32(std::bit_cast<std::uint32_t>(static_cast<float>(value)));
  else
    out.u64(std::bit_cast<std::uint64_t>(value));
}

double get_value(ByteReader& in, bool is_narrow) {
  double value = is_narrow ? static_cast<double>(std::bit_cast<float>(in.u32())) : std::bit_cast<double>(in.u64());
  if (!std::isfinite(value)) in.fail();
  return value;
}

void put_varint(ByteWriter& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.u8(static_cast<std::uint8_t>(value) | 0x80);
  out.u8(static_cast<std::uint8_t>(value));
}

std::uint64_t get_varint(ByteReader& in) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 63; shift += 7) {
    std::uint8_t byte = in.u8();
    value |= std::uint64_t{byte & 0x7fu} << shift;
    if ((byte & 0x80) == 0) return value;
  }
  in.fail();
  return 0;
}

void finish_row(Bytes& out, Tier tier, std::int64_t key) {
  std::uint32_t check = row_check(out, tier, key);
  ByteWriter(out).u32(check);
}

template <class Use>
void each_place(std::uint32_t present, const Use& use) {
  for (; present != 0; present &= present - 1) use(std::countr_zero(present));
}

void decode_raw(ByteReader& in, SummaryBlock& block) {
  std::uint32_t narrows = in.u32();
  if ((narrows & ~block.present) != 0) return in.fail();
  each_place(block.present, [&](int place) {
    double value = get_value(in, (narrows >> place & 1) != 0);
    block.values[place] = {value, value, value, value, 1};
  });
}

void decode_rolled(ByteReader& in, SummaryBlock& block) {
  each_place(block.present, [&](int place) {
    Summary& s = block.values[place];
    std::uint8_t shape = in.u8();
    s.count = get_varint(in);
    if (s.count == 0 || shape >= 32) return in.fail();
    s.min = get_value(in, (shape & 2) != 0);
    if ((shape & 1) != 0) {
      s.max = s.last = s.min;
      s.sum = s.min * static_cast<double>(s.count);
      return;
    }
    s.max = get_value(in, (shape & 4) != 0);
    double mean = get_value(in, (shape & 8) != 0);
    s.sum = mean * static_cast<double>(s.count);
    s.last = get_value(in, (shape & 16) != 0);
    auto inside = [&](double value) { return s.min <= value && value <= s.max; };
    if (!inside(mean) || !inside(s.last)) in.fail();
  });
}

}  // namespace

const char* name(Tier tier) {
  switch (tier) {
    case Tier::raw: return "raw";
    case Tier::minute: return "minute";
    case Tier::hour: return "hour";
  }
  return "";
}

std::int64_t slot_ms(Tier tier) {
  switch (tier) {
    case Tier::raw: return 1;
    case Tier::minute: return 60'000;
    case Tier::hour: return 3'600'000;
  }
  return 1;
}

void Summary::add(const Summary& later) {
  if (count == 0) {
    *this = later;
    return;
  }
  if (later.count == 0) return;
  min = std::min(min, later.min);
  max = std::max(max, later.max);
  last = later.last;
  count += later.count;
  sum += later.sum;
}

double Summary::mean() const {
  double value = sum / static_cast<double>(count);
  return std::isfinite(value) ? std::clamp(value, min, max) : min / 2 + max / 2;
}

void SummaryBlock::add(int place, const Summary& later) {
  std::uint32_t bit = 1u << place;
  if ((present & bit) == 0) values[place] = {};
  present |= bit;
  values[place].add(later);
}

void encode(const RawBlock& block, std::int64_t key, Bytes& out) {
  out.clear();
  ByteWriter w(out);
  std::uint32_t narrows = 0;
  each_place(block.present, [&](int place) { narrows |= narrow(block.values[place]) ? 1u << place : 0; });
  w.u8(kRowVersion);
  w.u32(block.present);
  w.u32(narrows);
  each_place(block.present, [&](int place) { put_value(w, block.values[place], (narrows >> place & 1) != 0); });
  finish_row(out, Tier::raw, key);
}

void encode(const SummaryBlock& block, Tier tier, std::int64_t key, Bytes& out) {
  out.clear();
  ByteWriter w(out);
  w.u8(kRowVersion);
  w.u32(block.present);
  each_place(block.present, [&](int place) {
    const Summary& s = block.values[place];
    bool same = s.min == s.max;
    std::array<double, 4> all{s.min, s.max, s.mean(), s.last};
    std::size_t kept = same ? 1 : all.size();
    std::uint8_t shape = same ? 1 : 0;
    for (std::size_t i = 0; i < kept; ++i) shape |= narrow(all[i]) ? 2 << i : 0;
    w.u8(shape);
    put_varint(w, s.count);
    for (std::size_t i = 0; i < kept; ++i) put_value(w, all[i], (shape >> (i + 1) & 1) != 0);
  });
  finish_row(out, tier, key);
}

bool decode(ByteView row, Tier tier, std::int64_t key, SummaryBlock& block) {
  if (row.size() <= kCheckSize) return false;
  ByteView body = row.first(row.size() - kCheckSize);
  ByteReader check(row.last(kCheckSize));
  return check.u32() == row_check(body, tier, key) && decode_unchecked(body, tier, block);
}

bool decode_unchecked(ByteView body, Tier tier, SummaryBlock& block) {
  ByteReader in(body);
  if (in.u8() != kRowVersion) return false;
  block.present = in.u32();
  if (tier == Tier::raw)
    decode_raw(in, block);
  else
    decode_rolled(in, block);
  return in.at_end();
}

}  // namespace lucid::monitor::history
