#include "node/poot/receipt.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

namespace lucid::poot {
namespace {

constexpr std::size_t kHostingSlotBytes = 14;
constexpr std::size_t kIdBytes = 16;

std::unexpected<Error> broken(const std::string& why) {
  return std::unexpected(Error(ErrorKind::invalid, "receipt_invalid", "check a receipt: " + why));
}

struct Checker {
  Expected<void> operator()(const Hosting& hosting) const {
    if (hosting.slots.empty()) return broken("hosting without a slot");
    for (std::size_t i = 0; i < hosting.slots.size(); ++i) {
      const HostingSlot& slot = hosting.slots[i];
      if (slot.slot >= kSlotsPerEpoch) return broken("a hosting slot is not below 720");
      if (i > 0 && slot.slot <= hosting.slots[i - 1].slot) return broken("hosting slots do not ascend");
      if (slot.sessions < 1 || slot.sessions > kMaxSessionsPerSlot) return broken("sessions of a slot are not 1 to 10000");
      if (slot.bytes > kMaxBytes) return broken("bytes of a slot exceed 2^53");
    }
    return {};
  }
  Expected<void> operator()(const Uptime& uptime) const {
    if (uptime.count() == 0) return broken("uptime without a slot");
    return {};
  }
  Expected<void> operator()(const Storage& storage) const {
    if (storage.bytes < 1 || storage.bytes > kMaxBytes) return broken("stored bytes are not 1 to 2^53");
    if (storage.chunks < 1 || storage.chunks > storage.bytes) return broken("stored chunks are not 1 to the number of bytes");
    if (storage.asked > kMaxAsked) return broken("more than 1000000 challenges");
    if (storage.passed > storage.asked) return broken("more challenges passed than asked");
    return {};
  }
  Expected<void> operator()(const Validation& validation) const {
    if (validation.sessions.empty() || validation.sessions.size() > kMaxValidations)
      return broken("validated sessions are not 1 to 100000");
    if (validation.sessions.front().is_nil()) return broken("a validated session is the nil id");
    for (std::size_t i = 1; i < validation.sessions.size(); ++i)
      if (validation.sessions[i] <= validation.sessions[i - 1]) return broken("validated sessions do not ascend");
    return {};
  }
};

// Little-endian, of bytes known to be there. A month has hundreds of millions of hosting slots: this is one load each.
template <class T>
T number_at(const std::uint8_t* at) {
  T number;
  std::memcpy(&number, at, sizeof number);
  if constexpr (std::endian::native == std::endian::big) number = std::byteswap(number);
  return number;
}

std::unexpected<Error> malformed(const std::string& why) {
  return std::unexpected(Error(ErrorKind::malformed, "receipt_malformed", "read a receipt: " + why));
}

}  // namespace

const char* name(WorkKind kind) {
  switch (kind) {
    case WorkKind::hosting: return "hosting";
    case WorkKind::uptime: return "uptime";
    case WorkKind::storage: return "storage";
    case WorkKind::validation: return "validation";
  }
  return "unknown";
}

std::uint32_t Uptime::count() const {
  std::uint32_t bits = 0;
  for (std::uint8_t byte : map) bits += static_cast<std::uint32_t>(std::popcount(byte));
  return bits;
}

bool Receipt::says_nothing() const {
  struct Empty {
    bool operator()(const Hosting& hosting) const { return hosting.slots.empty(); }
    bool operator()(const Uptime& uptime) const { return uptime.count() == 0; }
    bool operator()(const Storage& storage) const { return storage.chunks == 0; }
    bool operator()(const Validation& validation) const { return validation.sessions.empty(); }
  };
  return std::visit(Empty{}, work);
}

Expected<void> check(const Receipt& receipt) {
  if (receipt.epoch > kMaxEpoch) return broken("the epoch is beyond the last");
  if (receipt.node.is_nil()) return broken("the node is the nil id");
  return std::visit(Checker{}, receipt.work);
}

Bytes to_bytes(const Receipt& receipt) {
  if (auto good = check(receipt); !good) throw good.error();
  Bytes bytes;
  ByteWriter out(bytes);
  out.u8(kReceiptVersion);
  out.u8(static_cast<std::uint8_t>(receipt.kind()));
  out.u64(receipt.epoch);
  out.bytes(receipt.node.bytes());
  if (const auto* hosting = std::get_if<Hosting>(&receipt.work)) {
    bytes.reserve(bytes.size() + 2 + kHostingSlotBytes * hosting->slots.size());
    out.u16(static_cast<std::uint16_t>(hosting->slots.size()));
    for (const HostingSlot& slot : hosting->slots) {
      out.u16(slot.slot);
      out.u32(slot.sessions);
      out.u64(slot.bytes);
    }
  } else if (const auto* uptime = std::get_if<Uptime>(&receipt.work)) {
    out.bytes(uptime->map);
  } else if (const auto* storage = std::get_if<Storage>(&receipt.work)) {
    out.u64(storage->bytes);
    out.u32(storage->chunks);
    out.u32(storage->asked);
    out.u32(storage->passed);
  } else {
    const auto& sessions = std::get<Validation>(receipt.work).sessions;
    out.u32(static_cast<std::uint32_t>(sessions.size()));
    for (const Id& session : sessions) out.bytes(session.bytes());
  }
  return bytes;
}

Expected<Receipt> parse_receipt(ByteView bytes) {
  ByteReader in(bytes);
  if (in.u8() != kReceiptVersion) return malformed("not version 1");
  std::uint8_t kind = in.u8();
  Receipt receipt;
  receipt.epoch = in.u64();
  receipt.node = Id(in.array<kIdBytes>());
  if (!in.ok()) return malformed("cut short");
  // Counts are believed only as far as the bytes behind them reach, so nothing is reserved for what is not there.
  switch (static_cast<WorkKind>(kind)) {
    case WorkKind::hosting: {
      std::size_t n = in.u16();
      if (n > kSlotsPerEpoch || in.remaining() != n * kHostingSlotBytes) return malformed("the number of slots and the length differ");
      Hosting hosting;
      hosting.slots.resize(n);
      const std::uint8_t* at = in.bytes(n * kHostingSlotBytes).data();
      for (HostingSlot& slot : hosting.slots) {
        slot = {number_at<std::uint16_t>(at), number_at<std::uint32_t>(at + 2), number_at<std::uint64_t>(at + 6)};
        at += kHostingSlotBytes;
      }
      receipt.work = std::move(hosting);
      break;
    }
    case WorkKind::uptime: receipt.work = Uptime{in.array<kSlotsPerEpoch / 8>()}; break;
    case WorkKind::storage: {
      Storage storage;
      storage.bytes = in.u64();
      storage.chunks = in.u32();
      storage.asked = in.u32();
      storage.passed = in.u32();
      receipt.work = storage;
      break;
    }
    case WorkKind::validation: {
      std::size_t n = in.u32();
      if (n > kMaxValidations || in.remaining() != n * kIdBytes) return malformed("the number of sessions and the length differ");
      Validation validation;
      validation.sessions.reserve(n);
      for (std::size_t i = 0; i < n; ++i) validation.sessions.emplace_back(in.array<kIdBytes>());
      receipt.work = std::move(validation);
      break;
    }
    default: return malformed("unknown kind of work");
  }
  if (!in.at_end()) return malformed("its length is not that of its kind");
  if (auto good = check(receipt); !good) return malformed(good.error().what());
  return receipt;
}

}  // namespace lucid::poot
