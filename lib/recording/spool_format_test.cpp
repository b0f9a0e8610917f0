#include "lib/recording/spool_format.hpp"

#include <sodium.h>

#include "lib/recording/chunk.hpp"
#include "lib/recording/container_fixture.hpp"

using namespace lucid;
using namespace lucid::recording;
using namespace lucid::recording::fixture;

namespace {

struct Spool {
  SeededRandom random{31};
  crypto::BoxKey processor{key_of(5)};
  SpoolSealer sealer{processor.public_key(), random};
  Id session{random.array<16>()};

  Bytes batch(std::uint32_t index, bool last, ByteView records, std::uint64_t sequence = 4, std::uint64_t token = 12) {
    Bytes out;
    sealer.seal({.session = session,
                 .sequence = sequence,
                 .index = index,
                 .last = last,
                 .flags = static_cast<std::uint16_t>(index == 0 ? kHasFullKeyframe : kHasEvents),
                 .first_ms = 1000 + index,
                 .last_ms = 1500 + index,
                 .fencing_token = token},
                records, out);
    return out;
  }
  Bytes body(std::initializer_list<Bytes> batches) {
    Bytes out = sealer.header();
    for (const Bytes& b : batches) out.insert(out.end(), b.begin(), b.end());
    return out;
  }
  Expected<OpenedSegment> open(ByteView body_bytes) {
    auto header = parse_spool_header(body_bytes);
    if (!header) return std::unexpected(header.error());
    auto key = open_spool_key(*header, processor);
    if (!key) return std::unexpected(Error(ErrorKind::corrupt, "no_key", "no key"));
    return open_segment(body_bytes, *header, *key);
  }
};

}  // namespace

TEST(Spool, ASegmentOpensToItsRecordsInOrder) {
  Spool spool;
  auto opened = spool.open(
      spool.body({spool.batch(0, false, as_bytes("first ")), spool.batch(1, false, {}), spool.batch(2, true, as_bytes("last"))}));
  ASSERT_TRUE(opened) << opened.error().what();
  EXPECT_EQ(as_text(opened->records), "first last");
  EXPECT_EQ(opened->session, spool.session);
  EXPECT_EQ(opened->sequence, 4u);
  EXPECT_EQ(opened->flags, kHasFullKeyframe | kHasEvents);
  EXPECT_EQ(opened->first_ms, 1000);
  EXPECT_EQ(opened->last_ms, 1502);
  EXPECT_EQ(opened->fencing_token, 12u);
  EXPECT_TRUE(opened->closed);
}

TEST(Spool, ASegmentCutShortByACrashIsUsedAndSaysSo) {
  Spool spool;
  auto opened = spool.open(spool.body({spool.batch(0, false, as_bytes("all there is"))}));
  ASSERT_TRUE(opened);
  EXPECT_FALSE(opened->closed);
  EXPECT_EQ(as_text(opened->records), "all there is");
}

TEST(Spool, EveryAlteredByteIsRefused) {
  Spool spool;
  const Bytes body = spool.body({spool.batch(0, false, as_bytes("abc")), spool.batch(1, true, as_bytes("de"))});
  for (std::size_t i = 0; i < body.size(); ++i) {
    Bytes altered = body;
    altered[i] ^= 0x10;
    EXPECT_FALSE(spool.open(altered)) << "byte " << i;
  }
}

TEST(Spool, NamesAlteredBatches) {
  Spool spool;
  Bytes body = spool.body({spool.batch(0, true, as_bytes("abc"))});
  body.back() ^= 1;
  EXPECT_EQ(spool.open(body).error().code(), "segment_altered");
  EXPECT_EQ(spool.open(body).error().kind(), ErrorKind::corrupt);
}

TEST(Spool, BatchesMustFormOneSegment) {
  Spool spool;
  Bytes a = spool.batch(0, false, as_bytes("a")), b = spool.batch(1, true, as_bytes("b"));
  EXPECT_TRUE(spool.open(spool.body({a, b})));
  EXPECT_FALSE(spool.open(spool.body({})));
  EXPECT_FALSE(spool.open(spool.body({b})));
  EXPECT_FALSE(spool.open(spool.body({b, a})));
  EXPECT_FALSE(spool.open(spool.body({a, a})));
  EXPECT_FALSE(spool.open(spool.body({a, b, spool.batch(2, true, as_bytes("c"))})));      // after the closing one
  EXPECT_FALSE(spool.open(spool.body({a, spool.batch(1, true, as_bytes("b"), 5)})));      // another segment
  EXPECT_FALSE(spool.open(spool.body({a, spool.batch(1, true, as_bytes("b"), 4, 11)})));  // a lease that was lost
  EXPECT_TRUE(spool.open(spool.body({a, spool.batch(1, true, as_bytes("b"), 4, 13)})));
  Spool other;
  other.session = Id(std::array<std::uint8_t, 16>{1});
  EXPECT_FALSE(spool.open(spool.body({a, other.batch(1, true, as_bytes("b"))})));
}

TEST(Spool, ABatchOfAnotherSpoolDoesNotOpen) {
  Spool spool;
  SpoolSealer second(spool.processor.public_key(), spool.random);
  Bytes batch;
  second.seal({.session = spool.session, .last = true}, as_bytes("x"), batch);
  EXPECT_EQ(spool.open(spool.body({batch})).error().code(), "segment_altered");
  EXPECT_FALSE(open_spool_key(parse_spool_header(second.header()).value(), crypto::BoxKey(key_of(6))));
}

TEST(Spool, RefusesMoreThanASegmentMayHold) {
  Spool spool;
  Bytes out;
  EXPECT_THROW(spool.sealer.seal({}, Bytes(kMaxBatchBytes + 1), out), Error);
  Bytes half(kMaxBatchBytes / 2 + 1);
  EXPECT_EQ(spool.open(spool.body({spool.batch(0, false, half), spool.batch(1, true, half)})).error().kind(), ErrorKind::too_large);
}

TEST(Spool, TellsATornTailFromAWholeBatch) {
  Spool spool;
  const Bytes batch = spool.batch(0, true, as_bytes("some records"));
  ASSERT_TRUE(parse_batch_header(batch));
  EXPECT_EQ(batch_size(*parse_batch_header(batch)), batch.size());
  for (std::size_t size = 0; size < batch.size(); ++size)
    EXPECT_EQ(parse_batch_header(ByteView(batch).first(size)).error().code(), "torn_batch") << size;
  Bytes zeros = batch;  // the length came to the disk, the content did not
  std::fill(zeros.begin() + 90, zeros.end(), std::uint8_t{0});
  EXPECT_EQ(parse_batch_header(zeros).error().code(), "torn_batch");
  EXPECT_FALSE(parse_batch_header(Bytes(4096)));
  Bytes followed = batch;
  followed.resize(batch.size() + 10);
  EXPECT_TRUE(parse_batch_header(followed));  // what follows is the next batch's matter
}

TEST(Spool, BatchesOpenWithLibsodium) {
  Spool spool;
  const Bytes body = spool.body({spool.batch(0, true, as_bytes("independent"))});
  Bytes key(32);
  ASSERT_EQ(crypto_box_seal_open(key.data(), body.data() + 24, 80, spool.processor.public_key().bytes.data(),
                                 spool.processor.secret().bytes().data()),
            0);
  Bytes associated(body.begin() + 8, body.begin() + 24);
  associated.insert(associated.end(), body.begin() + 104, body.begin() + 104 + 68);
  Bytes plain(body.size());
  unsigned long long size = 0;
  ASSERT_EQ(crypto_aead_xchacha20poly1305_ietf_decrypt(plain.data(), &size, nullptr, body.data() + 200, body.size() - 200,
                                                       associated.data(), associated.size(), body.data() + 176, key.data()),
            0);
  EXPECT_EQ(as_text(ByteView(plain).first(size)), "independent");
}

TEST(Spool, GoldenBytes) {
  Spool spool;
  expect_golden("spool/v1/segment.bin", spool.body({spool.batch(0, false, as_bytes("first ")), spool.batch(1, true, as_bytes("last"))}));
}
