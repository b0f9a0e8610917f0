// Time as PoOT counts it: slots of 120 s since 2024-01-01T00:00:00Z, epochs of 720 slots (one day, UTC), windows of seven epochs ending with
// the epoch asked for. A window is always 5040 slots: what lies before slot 0 was never up. The time is the service's, given by the caller.
// Pure; any thread. docs/services/node-management/scores.md.
#pragma once

#include <cstdint>
#include <optional>

namespace lucid::poot {

using Slot = std::uint64_t;
using Epoch = std::uint64_t;

inline constexpr std::int64_t kGenesisWallMs = 1'704'067'200'000;  // 2024-01-01T00:00:00Z
inline constexpr std::int64_t kSlotMs = 120'000;
inline constexpr std::uint32_t kSlotsPerEpoch = 720;
inline constexpr std::uint32_t kEpochsPerWindow = 7;
inline constexpr std::uint32_t kSlotsPerWindow = kSlotsPerEpoch * kEpochsPerWindow;  // 5040
inline constexpr Epoch kMaxEpoch = 10'000'000;                                       // the year 29403; later ones are refused as malformed

constexpr std::optional<Slot> slot_at(std::int64_t wall_ms) {  // nothing before slot 0
  if (wall_ms < kGenesisWallMs) return std::nullopt;
  return static_cast<Slot>((wall_ms - kGenesisWallMs) / kSlotMs);
}
constexpr Epoch epoch_of(Slot slot) { return slot / kSlotsPerEpoch; }
constexpr std::uint32_t slot_in_epoch(Slot slot) { return static_cast<std::uint32_t>(slot % kSlotsPerEpoch); }
constexpr Slot first_slot(Epoch epoch) { return epoch * kSlotsPerEpoch; }
constexpr std::int64_t begins_wall_ms(Epoch epoch) { return kGenesisWallMs + static_cast<std::int64_t>(first_slot(epoch)) * kSlotMs; }
constexpr std::int64_t ends_wall_ms(Epoch epoch) { return begins_wall_ms(epoch + 1); }  // the first millisecond after it
constexpr Epoch window_begin(Epoch epoch) {
  return epoch < kEpochsPerWindow ? 0 : epoch - (kEpochsPerWindow - 1);
}  // first epoch of the window

}  // namespace lucid::poot
