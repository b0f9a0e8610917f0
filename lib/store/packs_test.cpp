#include "lib/store/packs.hpp"

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include <gtest/gtest.h>

#include "lib/crypto/hash.hpp"
#include "lib/store/packs_test_support.hpp"

namespace lucid::store {
namespace {

using test::chunk_of;
using test::make_packs;
using test::session_id;

class PacksTest : public ::testing::Test {
 protected:
  void restart(std::uint64_t pack_size = 1 << 20) { packs_ = make_packs(dir_.path(), system_files(), pack_size); }
  void SetUp() override { restart(); }
  std::string pack_path(std::uint32_t pack) { return packs_->path(session_, pack); }
  std::uint64_t size_of(const std::string& path) { return system_files().read_file(path, 1 << 30).size(); }
  void write_at_end(const std::string& path, ByteView bytes) {
    File file = system_files().open(path, OpenMode::append);
    system_files().write(file, bytes, path);
  }
  void cut_file(const std::string& path, std::uint64_t size) {
    File file = system_files().open(path, OpenMode::append);
    system_files().truncate(file, size, path);
  }
  void corrupt(const std::string& path, std::uint64_t at) {
    Bytes bytes = system_files().read_file(path, 1 << 30);
    bytes.at(at) ^= 0x40;
    system_files().replace_file(path, bytes);
  }

  TempDir dir_;
  Id session_ = session_id(1);
  std::unique_ptr<Packs> packs_;
};

TEST_F(PacksTest, WhatWasAppendedReadsBackAlsoAfterARestart) {
  std::vector<std::pair<PackLocation, Bytes>> stored;
  for (std::uint32_t i = 0; i < 20; ++i) {
    Bytes chunk = chunk_of(i, 100 + i * 37);
    stored.emplace_back(packs_->append(session_, chunk), chunk);
  }
  for (int round = 0; round < 2; ++round) {
    for (auto& [location, chunk] : stored) EXPECT_EQ(packs_->read(session_, location), chunk);
    restart();
  }
  EXPECT_EQ(packs_->read_range(session_, stored[3].first, 10, 20), Bytes(stored[3].second.begin() + 10, stored[3].second.begin() + 30));
  EXPECT_TRUE(packs_->read_range(session_, stored[3].first, 211, 0).empty());
  EXPECT_THROW(packs_->read_range(session_, stored[3].first, 200, 12), Error);
}

// docs/formats/pack.md: stored chunk, then its BLAKE3, nothing between or before.
TEST_F(PacksTest, APackIsChunksEachFollowedByItsHash) {
  Bytes one = chunk_of(1, 50), two = chunk_of(2, 70), expected;
  packs_->append(session_, one);
  packs_->append(session_, two);
  for (const Bytes& chunk : {one, two}) {
    expected.insert(expected.end(), chunk.begin(), chunk.end());
    Hash32 hash = crypto::blake3(chunk);
    expected.insert(expected.end(), hash.begin(), hash.end());
  }
  EXPECT_EQ(system_files().read_file(dir_.path() + "/" + session_.text() + "/00000000.pack"), expected);
}

// The golden pack was put together by a script with the program b3sum.
TEST_F(PacksTest, APackIsByteForByteTheGoldenOne) {
  packs_->append(session_, chunk_of(1, 50));
  packs_->append(session_, chunk_of(2, 70));
  EXPECT_EQ(system_files().read_file(dir_.path() + "/" + session_.text() + "/00000000.pack"),
            system_files().read_file("tests/golden/pack/v1/two_chunks.pack"));
}

TEST_F(PacksTest, APackThatIsFullIsFollowedByTheNext) {
  restart(1000);
  std::vector<PackLocation> locations;
  for (std::uint32_t i = 0; i < 10; ++i) locations.push_back(packs_->append(session_, chunk_of(i, 300)));
  EXPECT_EQ(packs_->list(session_), (std::vector<std::uint32_t>{0, 1, 2, 3}));
  EXPECT_EQ(locations[2].pack, 0u);
  EXPECT_EQ(locations[3], (PackLocation{1, 0, 300}));
  for (std::uint32_t i = 0; i < 10; ++i) EXPECT_EQ(packs_->read(session_, locations[i]), chunk_of(i, 300));
  restart(1000);
  EXPECT_EQ(packs_->append(session_, chunk_of(10, 300)).pack, 3u);
}

TEST_F(PacksTest, AChunkLargerThanAPackGetsOneOfItsOwn) {
  restart(1000);
  packs_->append(session_, chunk_of(0, 100));
  PackLocation big = packs_->append(session_, chunk_of(1, 5000));
  EXPECT_EQ(big, (PackLocation{1, 0, 5000}));
  EXPECT_EQ(packs_->append(session_, chunk_of(2, 100)).pack, 2u);
}

TEST_F(PacksTest, ATornTailIsCutAndTheWholeEntriesBeforeItStay) {
  PackLocation first = packs_->append(session_, chunk_of(0, 500));
  std::uint64_t good = size_of(pack_path(0));
  Bytes torn = chunk_of(1, 500);
  for (std::size_t cut : {1, 4, 7, 8, 100, 499, 500}) {
    write_at_end(pack_path(0), ByteView(torn).first(cut));
    restart();
    PackLocation next = packs_->append(session_, chunk_of(2, 60));
    EXPECT_EQ(next.offset, good) << cut;
    EXPECT_EQ(packs_->read(session_, next), chunk_of(2, 60));
    EXPECT_EQ(packs_->read(session_, first), chunk_of(0, 500));
    good = size_of(pack_path(0));
  }
}

TEST_F(PacksTest, OpenHandsOutWhatTheIndexDoesNotKnow) {
  std::vector<PackLocation> locations;
  for (std::uint32_t i = 0; i < 6; ++i) locations.push_back(packs_->append(session_, chunk_of(i, 100)));
  restart();
  std::vector<PackLocation> seen;
  packs_->open(session_, PackEnd::after(locations[3]), [&](const PackEntry& entry) {
    seen.push_back(entry.location);
    EXPECT_EQ(Bytes(entry.stored.begin(), entry.stored.end()), chunk_of(3 + static_cast<std::uint32_t>(seen.size()), 100));
    EXPECT_EQ(entry.blake3, crypto::blake3(entry.stored));
  });
  EXPECT_EQ(seen, (std::vector<PackLocation>{locations[4], locations[5]}));
  packs_->open(session_, {}, [](const PackEntry&) { FAIL() << "it is open already"; });
}

TEST_F(PacksTest, OpenLooksThroughEveryPackBehindTheKnownEnd) {
  restart(1000);
  std::vector<PackLocation> locations;
  for (std::uint32_t i = 0; i < 9; ++i) locations.push_back(packs_->append(session_, chunk_of(i, 300)));
  restart(1000);
  std::vector<PackLocation> seen;
  packs_->open(session_, PackEnd::after(locations[1]), [&](const PackEntry& entry) { seen.push_back(entry.location); });
  EXPECT_EQ(seen, std::vector<PackLocation>(locations.begin() + 2, locations.end()));
}

TEST_F(PacksTest, BytesTheIndexKnowsAreNeverWrittenAgain) {
  PackLocation a = packs_->append(session_, chunk_of(0, 100)), b = packs_->append(session_, chunk_of(1, 100));
  cut_file(pack_path(0), 150);  // b is lost
  restart();
  packs_->open(session_, PackEnd::after(b), [](const PackEntry&) {});
  PackLocation c = packs_->append(session_, chunk_of(2, 100));
  EXPECT_EQ(c.pack, 1u);
  EXPECT_EQ(packs_->read(session_, a), chunk_of(0, 100));
  EXPECT_THROW(packs_->read(session_, b), Error);
  packs_->close(session_);
  system_files().remove(pack_path(1));
  system_files().remove(pack_path(0));
  restart();
  packs_->open(session_, PackEnd::after(c), [](const PackEntry&) {});
  EXPECT_EQ(packs_->append(session_, chunk_of(3, 100)).pack, 2u);
}

TEST_F(PacksTest, ADamagedEntryBetweenWholeOnesIsSteppedOverNotCut) {
  std::vector<PackLocation> l;
  for (std::uint32_t i = 0; i < 5; ++i) l.push_back(packs_->append(session_, chunk_of(i, 100)));
  for (std::uint64_t at : {l[1].offset + 50, l[3].offset + 1}) corrupt(pack_path(0), at);  // content; header
  restart();
  std::vector<PackLocation> seen;
  auto each = [&](const PackEntry& entry) { seen.push_back(entry.location); };
  packs_->open(session_, {}, each);
  EXPECT_EQ(seen, (std::vector<PackLocation>{l[0], l[2], l[4]}));
  EXPECT_EQ(packs_->append(session_, chunk_of(9, 100)).offset, l[4].offset + 132);
  PackWalk walk = packs_->walk(session_, 0, 0, UINT64_MAX, [](const PackEntry&) {});
  using Range = std::pair<std::uint64_t, std::uint64_t>;
  EXPECT_EQ(walk.bad, (std::vector<Range>{{l[1].offset, l[2].offset}, {l[3].offset, l[4].offset}}));
  std::size_t scanned = 0;
  EXPECT_EQ(packs_->scan(session_, 0, [&](const PackLocation&, ByteView) { ++scanned; }), l[1].offset);
  EXPECT_EQ(scanned, 1u);
}

TEST_F(PacksTest, ALocationOutsideThePackIsRefusedBeforeAnythingIsAllocated) {
  packs_->append(session_, chunk_of(0, 100));
  for (PackLocation location : {PackLocation{0, 0, 4'000'000'000u}, PackLocation{0, UINT64_MAX - 10, 100}, PackLocation{0, 100, 100}}) {
    try {
      packs_->read(session_, location);
      FAIL();
    } catch (const Error& error) { EXPECT_EQ(error.code(), "pack_short"); }
  }
  EXPECT_THROW(packs_->read(session_, {7, 0, 10}), Error);
  EXPECT_THROW(packs_->append(session_, Bytes(3)), Error);
}

TEST_F(PacksTest, SessionsAreListedAndRemovedWhole) {
  packs_->append(session_, chunk_of(0, 100));
  packs_->append(session_id(2), chunk_of(0, 100));
  system_files().make_directories(dir_.path() + "/not-a-session");
  EXPECT_EQ(packs_->sessions(), (std::vector<Id>{session_, session_id(2)}));
  packs_->remove(session_);
  packs_->remove(session_);
  EXPECT_EQ(packs_->sessions(), (std::vector<Id>{session_id(2)}));
  EXPECT_TRUE(packs_->list(session_).empty());
  EXPECT_EQ(packs_->append(session_, chunk_of(1, 100)), (PackLocation{0, 0, 100}));
}

TEST_F(PacksTest, AppendAfterCloseOpensAgainBehindWhatIsThere) {
  PackLocation first = packs_->append(session_, chunk_of(0, 100));
  packs_->close(session_);
  packs_->close(session_);
  EXPECT_EQ(packs_->append(session_, chunk_of(1, 100)).offset, first.offset + 132);
}

TEST_F(PacksTest, ConcurrentAppendsRotationsAndClosesKeepEveryChunk) {
  restart(2000);
  std::mutex mutex;
  std::map<std::uint32_t, PackLocation> locations;
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 6; ++t)
    threads.emplace_back([&, t] {
      for (std::uint32_t i = 0; i < 40; ++i) {
        std::uint32_t number = t * 100 + i;
        PackLocation location = packs_->append(session_, chunk_of(number, 50 + number));
        if (t == 0 && i % 10 == 0) packs_->close(session_);
        std::lock_guard lock(mutex);
        locations[number] = location;
      }
    });
  for (auto& thread : threads) thread.join();
  ASSERT_EQ(locations.size(), 240u);
  for (auto& [number, location] : locations) EXPECT_EQ(packs_->read(session_, location), chunk_of(number, 50 + number));
  std::size_t whole = 0;
  for (std::uint32_t pack : packs_->list(session_)) {
    PackWalk walk = packs_->walk(session_, pack, 0, UINT64_MAX, [&](const PackEntry&) { ++whole; });
    EXPECT_TRUE(walk.bad.empty());
    EXPECT_EQ(walk.end, walk.size);
    EXPECT_GT(walk.size, 0u) << "an empty pack was left behind";
  }
  EXPECT_EQ(whole, 240u);
}

TEST_F(PacksTest, ConcurrentAppendsShareSyncs) {
  std::atomic<int> syncs{0};
  FaultyFileOps slow([&](std::string_view call, const std::string&, std::uint64_t) {
    if (call == "sync_data") {
      ++syncs;
      ::usleep(2000);  // the disk of the test: slow enough for others to queue up
    }
    return 0;
  });
  auto packs = make_packs(dir_.path(), slow, 1 << 20);
  packs->append(session_, chunk_of(0, 100));
  syncs = 0;
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (std::uint32_t i = 0; i < 20; ++i) packs->append(session_, chunk_of(t, 100));
    });
  for (auto& thread : threads) thread.join();
  EXPECT_LT(syncs, 80);
  EXPECT_GT(syncs, 0);
}

}  // namespace
}  // namespace lucid::store
