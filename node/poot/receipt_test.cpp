#include "node/poot/receipt.hpp"

#include <gtest/gtest.h>

#include "node/poot/test_receipts.hpp"

namespace lucid::poot {
namespace {

Receipt sample(WorkKind kind) {
  switch (kind) {
    case WorkKind::hosting: return hosting(1056, numbered(7), {{0, 1, 0}, {3, 2, 5u << 20}, {719, kMaxSessionsPerSlot, kMaxBytes}});
    case WorkKind::uptime: return up(1056, numbered(7), 6, 3);
    case WorkKind::storage: return storage(1056, numbered(7), {.bytes = 3u << 30, .chunks = 700, .asked = 24, .passed = 23});
    case WorkKind::validation: return validation(1056, numbered(7), {session(1), session(2), session(300)});
  }
  return {};
}
constexpr WorkKind kKinds[] = {WorkKind::hosting, WorkKind::uptime, WorkKind::storage, WorkKind::validation};

TEST(Slots, CountFromTheGenesis) {
  EXPECT_EQ(slot_at(kGenesisWallMs - 1), std::nullopt);
  EXPECT_EQ(slot_at(std::numeric_limits<std::int64_t>::min()), std::nullopt);
  EXPECT_EQ(slot_at(kGenesisWallMs), 0u);
  EXPECT_EQ(slot_at(kGenesisWallMs + 119'999), 0u);
  EXPECT_EQ(slot_at(kGenesisWallMs + 120'000), 1u);
  // 2026-11-22T00:00:00Z is day 1056 after 2024-01-01.
  EXPECT_EQ(slot_at(1'795'305'600'000), 1056u * 720u);
  EXPECT_EQ(begins_wall_ms(1056), 1'795'305'600'000);
  EXPECT_EQ(epoch_of(1056u * 720u + 719u), 1056u);
  EXPECT_EQ(slot_in_epoch(1056u * 720u + 719u), 719u);
  EXPECT_EQ(ends_wall_ms(1056), begins_wall_ms(1057));
}

TEST(Slots, AWindowIsSevenEpochsAndIsCutAtTheGenesis) {
  EXPECT_EQ(window_begin(1056), 1050u);
  EXPECT_EQ(window_begin(6), 0u);
  EXPECT_EQ(window_begin(2), 0u);
  EXPECT_EQ(kSlotsPerWindow, 5040u);
}

TEST(Receipts, AreReadBackAsWritten) {
  for (WorkKind kind : kKinds) {
    auto read = parse_receipt(to_bytes(sample(kind)));
    ASSERT_TRUE(read) << name(kind) << ": " << read.error().what();
    EXPECT_EQ(*read, sample(kind)) << name(kind);
    EXPECT_EQ(read->kind(), kind);
  }
}

TEST(Receipts, AreWrittenAsVersionOneSays) {
  for (WorkKind kind : kKinds) expect_golden(std::string("receipt/v1/") + name(kind) + ".bin", to_bytes(sample(kind)));
}

TEST(Receipts, CutShortOrWithMoreBehindThemAreRefused) {
  for (WorkKind kind : kKinds) {
    Bytes bytes = to_bytes(sample(kind));
    for (std::size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(parse_receipt(ByteView(bytes).first(n))) << name(kind) << " " << n;
    bytes.push_back(0);
    EXPECT_FALSE(parse_receipt(bytes)) << name(kind);
  }
}

TEST(Receipts, OfAnotherVersionOrKindAreRefused) {
  Bytes bytes = to_bytes(sample(WorkKind::uptime));
  for (std::uint8_t version : {0, 2, 255}) {
    bytes[0] = version;
    EXPECT_FALSE(parse_receipt(bytes));
  }
  bytes[0] = kReceiptVersion;
  for (std::uint8_t kind : {0, 1, 3, 4, 5, 255}) {
    bytes[1] = kind;
    EXPECT_FALSE(parse_receipt(bytes));
  }
}

TEST(Receipts, OutOfBoundsAreNeitherWrittenNorRead) {
  const Id node = numbered(7);
  const std::vector<Receipt> bad = {
      hosting(kMaxEpoch + 1, node, {{0, 1, 1}}),
      hosting(1, Id(), {{0, 1, 1}}),
      hosting(1, node, {}),
      hosting(1, node, {{720, 1, 1}}),
      hosting(1, node, {{1, 1, 1}, {1, 1, 1}}),
      hosting(1, node, {{2, 1, 1}, {1, 1, 1}}),
      hosting(1, node, {{0, 0, 1}}),
      hosting(1, node, {{0, kMaxSessionsPerSlot + 1, 1}}),
      hosting(1, node, {{0, 1, kMaxBytes + 1}}),
      up(1, node, 0, 0),
      storage(1, node, {.bytes = 0, .chunks = 0, .asked = 1, .passed = 1}),
      storage(1, node, {.bytes = 5, .chunks = 6, .asked = 1, .passed = 1}),
      storage(1, node, {.bytes = 5, .chunks = 0, .asked = 1, .passed = 1}),
      storage(1, node, {.bytes = kMaxBytes + 1, .chunks = 1, .asked = 1, .passed = 1}),
      storage(1, node, {.bytes = 5, .chunks = 1, .asked = 1, .passed = 2}),
      storage(1, node, {.bytes = 5, .chunks = 1, .asked = kMaxAsked + 1, .passed = 1}),
      validation(1, node, {}),
      validation(1, node, {Id()}),
      validation(1, node, {session(2), session(1)}),
      validation(1, node, {session(1), session(1)}),
      validation(1, node, std::vector<Id>(kMaxValidations + 1, session(1))),
  };
  for (std::size_t i = 0; i < bad.size(); ++i) {
    EXPECT_FALSE(check(bad[i])) << i;
    EXPECT_THROW(to_bytes(bad[i]), Error) << i;
  }
  // The same mistakes in bytes.
  Bytes bytes = to_bytes(hosting(1, node, {{1, 1, 1}, {2, 1, 1}}));
  const std::size_t first_slot = 28;
  for (std::uint8_t slot : {2, 3}) {  // equal, descending
    bytes[first_slot] = slot;
    EXPECT_FALSE(parse_receipt(bytes));
  }
  bytes[first_slot] = 1;
  EXPECT_TRUE(parse_receipt(bytes));
  bytes[2 + 7] = 1;  // an epoch of 2^56
  EXPECT_FALSE(parse_receipt(bytes));
}

TEST(Receipts, SayingNothingAreKnown) {
  for (WorkKind kind : kKinds) EXPECT_FALSE(sample(kind).says_nothing());
  EXPECT_TRUE(hosting(1, numbered(1), {}).says_nothing());
  EXPECT_TRUE(up(1, numbered(1), 0, 0).says_nothing());
  EXPECT_TRUE(storage(1, numbered(1), {}).says_nothing());
  EXPECT_TRUE(validation(1, numbered(1), {}).says_nothing());
}

}  // namespace
}  // namespace lucid::poot
