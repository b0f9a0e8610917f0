#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>

#include <sys/mount.h>
#include <unistd.h>

#include "sessions/recorder/tests/fixture.hpp"

using namespace lucid;
using namespace lucid::recorder;
using namespace lucid::recorder::testing;
using namespace std::chrono_literals;

namespace {

struct SpoolBench {
  TempDir dir;
  SystemRandom random;
  crypto::BoxKey key = crypto::BoxKey::make(random);
  runtime::Log log{"test"};
  std::vector<bool> pressures;
  int removals = 0;
  SpoolConfig config{.directory = dir.path() + "/spool", .sync_interval = 20ms, .retry_interval = 20ms};
  std::unique_ptr<Spool> spool;

  Spool& open(FileOps& files = system_files()) {
    spool.reset();
    spool = std::make_unique<Spool>(config, files, random, key.public_key(), log,
                                    Spool::Hooks{[this](bool full) { pressures.push_back(full); }, [this] { ++removals; }});
    return *spool;
  }
  // The records of a segment as the processor would read them.
  std::string records(const Segment& segment) {
    Bytes body = spool->body(segment);
    auto header = rec::parse_spool_header(body);
    if (!header) return header.error().what();
    auto opened = rec::open_segment(body, *header, *rec::open_spool_key(*header, key));
    if (!opened) return opened.error().what();
    return std::string(as_text(opened->records));
  }
  std::vector<std::string> files() { return system_files().list(config.directory); }
};

BatchInfo info(std::int64_t ms, bool last = false) { return {rec::kHasEvents, ms, ms + 5, last}; }

bool put(Spool& spool, const SegmentPtr& segment, std::int64_t ms, std::string_view text, bool last = false) {
  return spool.append(segment, info(ms, last), as_bytes(text));
}

}  // namespace

TEST(Spool, WhatWasAppendedIsFoundByTheNextProcessInOrder) {
  SpoolBench b;
  Spool& spool = b.open();
  Id session = new_id(), other = new_id();
  SegmentPtr first = spool.open_segment(session, 7, 3), beside = spool.open_segment(other, 0, 9);
  ASSERT_TRUE(put(spool, first, 10, "one "));
  ASSERT_TRUE(put(spool, beside, 5, "beside"));
  ASSERT_TRUE(put(spool, first, 20, "two", true));
  SegmentPtr second = spool.open_segment(session, 8, 3);
  ASSERT_TRUE(put(spool, second, 30, "cut short"));
  auto found = b.open().recover();
  ASSERT_EQ(found.size(), 3u);
  std::erase_if(found, [&](const auto& s) { return s->session == other; });
  EXPECT_EQ(found[0]->sequence, 7u);
  EXPECT_TRUE(found[0]->closed);
  EXPECT_EQ(found[0]->first_ms, 10);
  EXPECT_EQ(found[0]->last_ms, 25);
  EXPECT_EQ(found[0]->fencing_token, 3u);
  EXPECT_EQ(b.records(*found[0]), "one two");
  EXPECT_FALSE(found[1]->closed);
  EXPECT_EQ(b.records(*found[1]), "cut short");
}

TEST(Spool, ATornTailIsIgnoredWhereverItWasCut) {
  SpoolBench b;
  Id session = new_id();
  {
    Spool& spool = b.open();
    SegmentPtr s = spool.open_segment(session, 0, 1);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(put(spool, s, i, std::string(300, static_cast<char>('a' + i))));
  }
  b.spool.reset();
  std::string path = b.config.directory + "/" + b.files().at(0);
  Bytes whole = system_files().read_file(path);
  std::size_t batch = (whole.size() - rec::kSpoolHeaderSize) / 3;
  for (std::size_t cut = rec::kSpoolHeaderSize; cut < whole.size(); cut += 37) {
    system_files().replace_file(path, ByteView(whole).first(cut));
    auto found = b.open().recover();
    std::size_t expected = (cut - rec::kSpoolHeaderSize) / batch;
    ASSERT_EQ(found.size(), expected > 0 ? 1u : 0u) << "cut at " << cut;
    if (expected > 0) { EXPECT_EQ(found[0]->pieces.size(), expected) << "cut at " << cut; }
    b.spool.reset();
    if (expected == 0) system_files().replace_file(path, whole);
  }
}

TEST(Spool, EveryBatchAppendedBeforeAKillIsFound) {
  SpoolBench b;
  std::mt19937 dice(7);
  for (int round = 0; round < 12; ++round) {
    TempDir dir;
    // The child appends numbered batches and writes each number to its output once append() has returned.
    std::string out = dir.path() + "/out", directory = dir.path() + "/spool";
    test_support::Child child({RECORDER_CHILD, "spool-writer", directory, b.key.public_key().text()}, {}, out);
    ASSERT_TRUE(eventually([&] { return system_files().exists(out) && system_files().read_file(out).size() > 40; }));
    std::this_thread::sleep_for(std::chrono::microseconds(dice() % 60'000));
    child.send_signal(SIGKILL);
    child.wait();
    std::ifstream in(out);
    long last = -1, n;
    while (in >> n) last = n;
    b.config.directory = directory;
    auto found = b.open().recover();
    std::string all;
    for (const auto& segment : found) all += b.records(*segment);
    long expected = 0;
    std::istringstream words(all);
    while (words >> n) ASSERT_EQ(n, expected++);
    EXPECT_GE(expected, last + 1);
  }
}

TEST(Spool, AReleasedFileGoesOnceItIsNotTheCurrentOneAndTheBoundsAreSaved) {
  SpoolBench b;
  b.config.rotate_bytes = 2000;
  Spool& spool = b.open();
  Id session = new_id();
  std::vector<SegmentPtr> segments;
  for (std::uint64_t i = 0; i < 6; ++i) {
    segments.push_back(spool.open_segment(session, i, 1));
    ASSERT_TRUE(put(spool, segments.back(), 0, std::string(1500, 'x'), true));
  }
  EXPECT_EQ(b.files().size(), 3u);  // two segments reach the limit, the third begins a new file
  for (int i = 0; i < 4; ++i) spool.release(*segments[static_cast<std::size_t>(i)]);
  EXPECT_TRUE(eventually([&] { return b.files().size() == 1; }));
  EXPECT_GE(b.removals, 1);
  EXPECT_TRUE(b.records(*segments[5]) == std::string(1500, 'x'));
  spool.release(*segments[4]);
  spool.release(*segments[5]);
  spool.rotate_if_empty();
  EXPECT_TRUE(eventually([&] { return b.files().empty(); }));
}

TEST(Spool, ASegmentStaysInTheFileItsKeySealsThoughOthersRotate) {
  SpoolBench b;
  b.config.rotate_bytes = 1000;
  Spool& spool = b.open();
  SegmentPtr slow = spool.open_segment(new_id(), 0, 1);
  ASSERT_TRUE(put(spool, slow, 0, std::string(1200, 's')));
  SegmentPtr next = spool.open_segment(new_id(), 0, 1);
  ASSERT_TRUE(put(spool, next, 0, "n", true));
  ASSERT_TRUE(put(spool, slow, 1, "end", true));
  EXPECT_TRUE(b.records(*slow) == std::string(1200, 's') + "end");
  EXPECT_EQ(b.files().size(), 2u);
}

TEST(Spool, AFullDiskKeepsBatchesInMemoryUpToTheLimitAndWritesThemLater) {
  SpoolBench b;
  std::atomic<bool> disk_full{false};
  FaultyFileOps faulty([&](std::string_view call, const std::string&, std::uint64_t) { return disk_full && call == "write" ? ENOSPC : 0; });
  b.config.memory_limit = 4000;
  Spool& spool = b.open(faulty);
  Id session = new_id();
  SegmentPtr s = spool.open_segment(session, 0, 1);
  ASSERT_TRUE(put(spool, s, 0, "before "));
  disk_full = true;
  ASSERT_TRUE(put(spool, s, 1, std::string(1500, 'm')));
  EXPECT_TRUE(spool.in_memory(*s));
  EXPECT_TRUE(spool.problem().has_value());
  EXPECT_EQ(spool.problem_kind(), ErrorKind::storage_full);
  ASSERT_TRUE(put(spool, s, 2, std::string(1500, 'n')));
  EXPECT_FALSE(put(spool, s, 3, std::string(1500, 'o')));
  EXPECT_TRUE(spool.full());
  EXPECT_TRUE(b.records(*s) == "before " + std::string(1500, 'm') + std::string(1500, 'n'));  // sent from memory all the same
  disk_full = false;
  ASSERT_TRUE(eventually([&] { return !spool.full() && !spool.in_memory(*s); }));
  EXPECT_EQ(b.pressures, (std::vector<bool>{true, false}));
  ASSERT_TRUE(put(spool, s, 3, "after", true));
  std::string expected = "before " + std::string(1500, 'm') + std::string(1500, 'n') + "after";
  EXPECT_TRUE(b.records(*s) == expected);
  auto found = b.open().recover();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(found[0]->closed);
  EXPECT_TRUE(b.records(*found[0]) == expected);
}

TEST(Spool, AHalfWrittenBatchThatCannotBeTruncatedDoesNotSpoilThoseAfterIt) {
  SpoolBench b;
  std::atomic<int> broken{0};
  FaultyFileOps faulty([&](std::string_view call, const std::string&, std::uint64_t) {
    return broken > 0 && (call == "write" || call == "truncate") ? (--broken, EIO) : 0;
  });
  Spool& spool = b.open(faulty);
  SegmentPtr s = spool.open_segment(new_id(), 0, 1);
  ASSERT_TRUE(put(spool, s, 0, "whole "));
  broken = 2;  // half of the write happens, then truncating fails as well
  ASSERT_TRUE(put(spool, s, 1, "once broken "));
  ASSERT_TRUE(eventually([&] { return !spool.in_memory(*s); }));
  ASSERT_TRUE(put(spool, s, 2, "end", true));
  auto found = b.open().recover();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(b.records(*found[0]), "whole once broken end");
}

TEST(Spool, ARealFullFileSystemLosesNothing) {
  TempDir mount_point;
  if (::mount("tmpfs", mount_point.path().c_str(), "tmpfs", 0, "size=256k") != 0) {
    if (std::getenv("CI") != nullptr) FAIL() << "mounting a tmpfs needs root";
    GTEST_SKIP() << "not run: mounting a tmpfs needs root";
  }
  {
    SpoolBench b;
    b.config.directory = mount_point.path() + "/spool";
    Spool& spool = b.open();
    SegmentPtr s = spool.open_segment(new_id(), 0, 1);
    std::string expected;
    for (int i = 0; i < 20; ++i) {
      std::string text(20'000, static_cast<char>('a' + i));
      ASSERT_TRUE(put(spool, s, i, text, i == 19));
      expected += text;
    }
    EXPECT_TRUE(spool.in_memory(*s));
    EXPECT_TRUE(b.records(*s) == expected);
    ASSERT_EQ(::mount("tmpfs", mount_point.path().c_str(), "tmpfs", MS_REMOUNT, "size=2m"), 0);
    ASSERT_TRUE(eventually([&] { return !spool.in_memory(*s); }));
    auto found = b.open().recover();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_TRUE(b.records(*found[0]) == expected);
  }
  ::umount2(mount_point.path().c_str(), MNT_DETACH);
}

TEST(Spool, IsDurableWithinTheIntervalAndAtOnceOnDemand) {
  SpoolBench b;
  std::atomic<int> syncs{0};
  FaultyFileOps counting([&](std::string_view call, const std::string&, std::uint64_t) { return syncs += call == "sync_data", 0; });
  Spool& spool = b.open(counting);
  SegmentPtr s = spool.open_segment(new_id(), 0, 1);
  ASSERT_TRUE(put(spool, s, 0, "a"));
  spool.make_durable(*s);
  EXPECT_GE(syncs, 1);
  int before = syncs;
  spool.make_durable(*s);
  EXPECT_EQ(syncs, before);  // nothing new: no second sync
  ASSERT_TRUE(put(spool, s, 1, "b", true));
  EXPECT_TRUE(eventually([&] { return syncs > before; }));
  std::this_thread::sleep_for(200ms);
  before = syncs;
  std::this_thread::sleep_for(200ms);
  EXPECT_EQ(syncs, before);  // idle: asleep
}
