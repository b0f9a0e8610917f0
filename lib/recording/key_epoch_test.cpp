#include "lib/recording/key_epoch.hpp"

#include <chrono>

#include "lib/crypto/kdf.hpp"
#include "lib/recording/container_fixture.hpp"

using namespace lucid;
using namespace lucid::recording;
using namespace lucid::recording::fixture;

TEST(Ratchet, GivesTheDocumentedKeys) {
  Ratchet ratchet(key_of(1));
  crypto::Secret32 k = key_of(1);
  for (std::uint64_t i = 0; i < 5; ++i) {
    EXPECT_TRUE(ratchet.chunk_key(i).equals(crypto::derive(k, "chunk")));
    k = crypto::derive(k, "next");
  }
}

TEST(Ratchet, SkipsAheadToTheSameKeys) {
  Ratchet slow(key_of(1)), fast(key_of(1));
  for (std::uint64_t i = 0; i < 100; ++i) slow.chunk_key(i);
  EXPECT_TRUE(fast.chunk_key(99).equals(slow.chunk_key(99)));
  EXPECT_EQ(fast.position(), 99u);
}

TEST(Ratchet, NeverGoesBack) {
  Ratchet ratchet(key_of(1));
  ratchet.chunk_key(7);
  ratchet.chunk_key(7);  // the same chunk again, as a retry needs
  EXPECT_THROW(ratchet.chunk_key(6), Error);
  ratchet.advance_past(7);
  EXPECT_THROW(ratchet.chunk_key(7), Error);
  ratchet.advance_past(3);  // long gone: nothing happens
  EXPECT_EQ(ratchet.position(), 8u);
}

TEST(Ratchet, RefusesGapsNoRecordingHas) {
  Ratchet ratchet(key_of(1));
  EXPECT_THROW(ratchet.chunk_key(Ratchet::kMaxSteps + 1), Error);
  EXPECT_THROW(ratchet.chunk_key(UINT64_MAX), Error);
  EXPECT_EQ(ratchet.position(), 0u);
}

TEST(KeyEpoch, EveryRecipientAndNobodyElseRecoversTheKeys) {
  SeededRandom random(3);
  crypto::BoxKey playback = crypto::BoxKey::make(random), auditor = crypto::BoxKey::make(random), stranger = crypto::BoxKey::make(random);
  auto [epoch, ratchet] = start_epoch(4, 100, {playback.public_key(), auditor.public_key()}, random);
  EXPECT_EQ(epoch.epoch, 4u);
  EXPECT_EQ(epoch.first_sequence, 100u);
  ASSERT_EQ(epoch.keys.size(), 2u);
  EXPECT_EQ(epoch.keys[0].recipient, playback.public_key().fingerprint());
  auto key = ratchet.chunk_key(23);
  for (const auto* who : {&playback, &auditor}) {
    auto recovered = recover_chunk_key(epoch, 123, *who);
    ASSERT_TRUE(recovered);
    EXPECT_TRUE(recovered->equals(key));
    EXPECT_TRUE(recover_ratchet(epoch, *who)->chunk_key(23).equals(key));
  }
  EXPECT_FALSE(recover_chunk_key(epoch, 123, stranger));
  EXPECT_FALSE(recover_chunk_key(epoch, 99, auditor));            // before the epoch
  EXPECT_FALSE(recover_chunk_key(epoch, UINT64_MAX, auditor));    // farther than any recording
  epoch.keys[1].recipient = stranger.public_key().fingerprint();  // a false name does not open anything
  EXPECT_FALSE(recover_chunk_key(epoch, 123, stranger));
  epoch.keys.clear();  // crypto-shredded
  EXPECT_FALSE(recover_chunk_key(epoch, 123, playback));
}

TEST(KeyEpoch, TwoEpochsShareNoKey) {
  SeededRandom random(3);
  auto a = start_epoch(0, 0, {}, random), b = start_epoch(1, 0, {}, random);
  EXPECT_FALSE(a.ratchet.chunk_key(0).equals(b.ratchet.chunk_key(0)));
}
