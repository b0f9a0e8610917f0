// A receipt: what the service itself measured of one node's work of one kind in one epoch, made when the epoch closes. Its canonical bytes are
// the leaf in the epoch's log and the only thing tallies, ranks and payments are computed from. At most one receipt exists for an epoch, node
// and kind. Whole numbers only. Values; pure; any thread. Format (version 1, little-endian, the first field is the version):
//   u8 version = 1, u8 kind, u64 epoch (at most kMaxEpoch), 16 bytes node id (not nil), then by kind
//   1 hosting     u16 n (1–720), n × {u16 slot in epoch, strictly ascending; u32 sessions 1–10 000; u64 bytes 0–2^53}
//   2 uptime      90 bytes: slot i of the epoch is bit i % 8 (lowest first) of byte i / 8; at least one bit set
//   3 storage     u64 bytes 1–2^53, u32 chunks (1–bytes), u32 asked (at most 1 000 000), u32 passed (at most asked)
//   4 validation  u32 n (1–100 000), n × 16 bytes session id, strictly ascending, none nil
// A receipt that would say nothing (no slot, no bit, no chunk, no session) does not exist: the service makes none.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <variant>
#include <vector>

#include "lib/base/bytes.hpp"
#include "lib/base/error.hpp"
#include "lib/base/id.hpp"
#include "node/poot/slots.hpp"

namespace lucid::poot {

inline constexpr std::uint8_t kReceiptVersion = 1;
inline constexpr std::uint32_t kMaxSessionsPerSlot = 10'000;
inline constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 53;
inline constexpr std::uint32_t kMaxAsked = 1'000'000;
inline constexpr std::uint32_t kMaxValidations = 100'000;

enum class WorkKind : std::uint8_t { hosting = 1, uptime = 2, storage = 3, validation = 4 };
const char* name(WorkKind kind);

struct HostingSlot {
  std::uint16_t slot = 0;      // in the epoch, 0–719
  std::uint32_t sessions = 0;  // of this node that were there in the slot
  std::uint64_t bytes = 0;     // of their chunks, committed in the slot
  auto operator<=>(const HostingSlot&) const = default;
};
struct Hosting {
  std::vector<HostingSlot> slots;  // ascending by slot
  auto operator<=>(const Hosting&) const = default;
};
struct Uptime {
  std::array<std::uint8_t, kSlotsPerEpoch / 8> map{};
  bool up(std::uint32_t slot) const { return slot < kSlotsPerEpoch && (map[slot / 8] >> (slot % 8) & 1) != 0; }
  void set(std::uint32_t slot) {
    if (slot < kSlotsPerEpoch) map[slot / 8] = static_cast<std::uint8_t>(map[slot / 8] | 1u << (slot % 8));
  }
  std::uint32_t count() const;
  auto operator<=>(const Uptime&) const = default;
};
struct Storage {
  std::uint64_t bytes = 0;   // the node was asked to hold at the epoch's end
  std::uint32_t chunks = 0;  // those bytes are of
  std::uint32_t asked = 0;   // challenges of the epoch; one never answered counts as asked
  std::uint32_t passed = 0;
  auto operator<=>(const Storage&) const = default;
};
struct Validation {
  std::vector<Id> sessions;  // whose recordings it recomputed rightly, ascending
  auto operator<=>(const Validation&) const = default;
};

struct Receipt {
  Epoch epoch = 0;
  Id node;
  std::variant<Hosting, Uptime, Storage, Validation> work;
  WorkKind kind() const { return static_cast<WorkKind>(work.index() + 1); }
  bool says_nothing() const;  // no slot, no bit, no chunk, no session
  bool operator==(const Receipt&) const = default;
};

// Error{invalid} naming the first bound the receipt breaks.
Expected<void> check(const Receipt& receipt);
// The canonical bytes. Throws what check() answers.
Bytes to_bytes(const Receipt& receipt);
// Strict: exactly the bytes to_bytes() writes and nothing behind them, else Error{malformed}.
Expected<Receipt> parse_receipt(ByteView bytes);

}  // namespace lucid::poot
