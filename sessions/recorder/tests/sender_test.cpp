#include <fcntl.h>

#include "sessions/recorder/segment_builder.hpp"
#include "sessions/recorder/tests/fixture.hpp"

using namespace lucid;
using namespace lucid::recorder;
using namespace lucid::recorder::testing;
using namespace std::chrono_literals;

namespace {

struct Bench {
  TempDir dir;
  SystemRandom random;
  Processor processor;
  runtime::Log log{"test"};
  Spool spool{{.directory = dir.path() + "/spool"}, system_files(), random, processor.key(), log, {}};
  std::atomic<int> committed{0}, lost{0}, holes{0};
  std::unique_ptr<Sender> sender = make(processor.client());

  std::unique_ptr<Sender> make(std::shared_ptr<net::Client> client) {
    Sender::Hooks hooks;
    hooks.committed = [this](const Segment&) { ++committed; };
    hooks.lost = [this](const Id&, std::uint64_t, const Error&) { ++lost; };
    hooks.hole = [this](const Id&) { ++holes; };
    return std::make_unique<Sender>(SenderConfig{.first_delay = 5ms, .longest_delay = 40ms}, std::move(client), spool, log,
                                    std::move(hooks));
  }
  SegmentPtr segment(const Id& session, std::uint64_t sequence, std::uint16_t flags = 0) {
    SegmentPtr s = spool.open_segment(session, sequence, 1);
    std::int64_t ms = static_cast<std::int64_t>(sequence) * 100;
    EXPECT_TRUE(spool.append(s, {flags, ms, ms + 10, false}, records_of(ms, "first")));
    EXPECT_TRUE(spool.append(s, {flags, ms + 20, ms + 90, true}, records_of(ms + 20, "second")));
    return s;
  }
  std::vector<std::uint64_t> sequences(const Id& session) {
    std::vector<std::uint64_t> out;
    for (const auto& s : processor.segments(session)) out.push_back(s.sequence);
    return out;
  }
};

std::vector<std::uint64_t> up_to(std::uint64_t n) {
  std::vector<std::uint64_t> out;
  for (std::uint64_t i = 0; i < n; ++i) out.push_back(i);
  return out;
}

}  // namespace

TEST(Sender, KeepsTheOrderOfEverySessionWithOneUnderWayEach) {
  Bench b;
  Id one = new_id(), two = new_id();
  for (std::uint64_t i = 0; i < 20; ++i) {
    b.sender->enqueue(b.segment(one, i));
    b.sender->enqueue(b.segment(two, i));
  }
  ASSERT_TRUE(b.sender->wait_until_empty(10s));
  EXPECT_EQ(b.sequences(one), up_to(20));
  EXPECT_EQ(b.sequences(two), up_to(20));
  EXPECT_EQ(b.processor.most_at_once(), 1u);
  EXPECT_EQ(b.committed, 40);
  auto records = b.processor.records(one);
  ASSERT_EQ(records.size(), 40u);
  EXPECT_EQ(std::get<rec::Annotation>(records[1].payload).text, "second");
  EXPECT_EQ(records[3].ms, 120);
}

TEST(Sender, TriesAgainUntilTheProcessorTakesTheSegment) {
  Bench b;
  std::atomic<int> calls{0};
  b.processor.judge([&](const rec::OpenedSegment&) {
    int n = ++calls;
    if (n % 4 == 1) throw Error(ErrorKind::unavailable, "away");
    if (n % 4 == 2) throw Error(ErrorKind::storage_full, "full");
    if (n % 4 == 3) throw Error(ErrorKind::internal, "bug");
  });
  Id id = new_id();
  for (std::uint64_t i = 0; i < 3; ++i) b.sender->enqueue(b.segment(id, i));
  ASSERT_TRUE(b.sender->wait_until_empty(20s));
  EXPECT_EQ(b.sequences(id), up_to(3));
  EXPECT_EQ(calls, 12);
}

TEST(Sender, WaitsForAProcessorThatIsNotThereAndAnotherSessionIsNotHeldUp) {
  Bench b;
  Id stuck = new_id(), fine = new_id();
  b.processor.judge([&](const rec::OpenedSegment& s) {
    if (s.session == stuck) throw Error(ErrorKind::unavailable, "away");
  });
  b.sender->enqueue(b.segment(stuck, 0));
  for (std::uint64_t i = 0; i < 10; ++i) b.sender->enqueue(b.segment(fine, i));
  EXPECT_TRUE(eventually([&] { return b.sequences(fine).size() == 10; }));
  EXPECT_EQ(b.sender->backlog(stuck), 1u);
  EXPECT_GT(b.sender->waiting_ms(), 0);
  b.processor.judge({});
  EXPECT_TRUE(b.sender->wait_until_empty(5s));
  EXPECT_EQ(b.sequences(stuck), up_to(1));
}

TEST(Sender, TheAgeOfTheOldestSegmentGrowsWhileTheProcessorHangsAndGapsMakeItNoYounger) {
  Bench b;
  EXPECT_EQ(b.sender->waiting_ms(), 0);
  std::promise<void> go_on;
  std::shared_future<void> gone_on = go_on.get_future();
  std::atomic<int> calls{0};
  b.processor.judge([&](const rec::OpenedSegment&) {
    ++calls;
    gone_on.wait();
  });
  Id id = new_id();
  b.processor.expect_from(id, 3);  // it will ask for 3 and 4, which nobody has: gaps go in front
  auto closed = std::chrono::steady_clock::now();
  b.sender->enqueue(b.segment(id, 5));
  ASSERT_TRUE(eventually([&] { return calls == 1; }));
  ASSERT_TRUE(eventually([&] { return b.sender->waiting_ms() >= 30; }));
  auto age = [&] { return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - closed).count(); };
  EXPECT_LE(b.sender->waiting_ms(), age());
  std::atomic<int> judged{0};
  std::promise<void> last;
  std::shared_future<void> at_last = last.get_future();
  b.processor.judge([&](const rec::OpenedSegment& s) {
    ++judged;
    if (s.sequence == 3) at_last.wait();
  });
  go_on.set_value();
  ASSERT_TRUE(eventually([&] { return b.sender->backlog(id) == 3; }));
  std::int64_t least = age();
  EXPECT_GE(b.sender->waiting_ms() + 5, least) << "a gap is as old as what it stands before";
  last.set_value();
  EXPECT_TRUE(b.sender->wait_until_empty(5s));
  EXPECT_EQ(b.sender->waiting_ms(), 0);
}

TEST(Sender, DropsASessionThatIsNotOursAnyMoreAndSaysSo) {
  Bench b;
  b.processor.judge([](const rec::OpenedSegment& s) {
    if (s.sequence == 1) throw Error(ErrorKind::conflict, "lease_lost", "another holder");
  });
  Id id = new_id();
  std::vector<SegmentPtr> all;
  for (std::uint64_t i = 0; i < 4; ++i) b.sender->enqueue(all.emplace_back(b.segment(id, i)));
  ASSERT_TRUE(eventually([&] { return b.lost == 1; }));
  EXPECT_TRUE(b.sender->wait_until_empty(5s));
  EXPECT_EQ(b.sequences(id), up_to(1));
  for (const SegmentPtr& s : all) EXPECT_TRUE(s->released);
}

TEST(Sender, TakesUpWhereTheProcessorStandsAfterALostAnswer) {
  Bench b;
  Id id = new_id();
  b.processor.expect_from(id, 2);
  b.processor.judge([](const rec::OpenedSegment& s) {
    if (s.sequence < 2) throw Error(ErrorKind::conflict, "out_of_order", "behind").with_fields({{"/expected", "2"}});
  });
  for (std::uint64_t i = 0; i < 4; ++i) b.sender->enqueue(b.segment(id, i));
  ASSERT_TRUE(b.sender->wait_until_empty(5s));
  EXPECT_EQ(b.sequences(id), (std::vector<std::uint64_t>{2, 3}));
  EXPECT_EQ(b.committed, 4);
}

TEST(Sender, FillsSegmentsTheSpoolHasLostWithGapRecords) {
  Bench b;
  Id id = new_id();
  b.sender->enqueue(b.segment(id, 3));
  b.sender->enqueue(b.segment(id, 4));
  ASSERT_TRUE(b.sender->wait_until_empty(5s));
  EXPECT_EQ(b.sequences(id), up_to(5));
  auto records = b.processor.records(id);
  EXPECT_EQ(std::get<rec::Gap>(records.at(0).payload).reason, rec::GapReason::spool_lost);
  EXPECT_EQ(b.holes, 1);
}

TEST(Sender, PutsAGapInPlaceOfASegmentThatWasDamagedOnDisk) {
  Bench b;
  Id id = new_id();
  b.processor.judge([](const rec::OpenedSegment&) { throw Error(ErrorKind::unavailable, "not yet"); });
  std::vector<SegmentPtr> all;
  for (std::uint64_t i = 0; i < 3; ++i) b.sender->enqueue(all.emplace_back(b.segment(id, i, i == 2 ? rec::kEnd : 0)));
  std::string path = b.dir.path() + "/spool/" + system_files().list(b.dir.path() + "/spool").at(0);
  for (std::size_t which : {1u, 2u}) {
    int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    std::uint64_t at = all[which]->pieces[1].offset + all[which]->pieces[1].size - 3;
    ASSERT_EQ(::pwrite(fd, "XXX", 3, static_cast<off_t>(at)), 3);
    ::close(fd);
  }
  b.processor.judge({});
  ASSERT_TRUE(b.sender->wait_until_empty(10s));
  EXPECT_EQ(b.sequences(id), up_to(3));
  auto segments = b.processor.segments(id);
  EXPECT_TRUE(segments.at(1).flags & rec::kGap);
  EXPECT_EQ(segments.at(1).first_ms, 100);
  EXPECT_EQ(segments.at(1).last_ms, 190);
  EXPECT_TRUE(b.processor.ended(id));  // the end is not lost with the segment that told it
  EXPECT_EQ(b.holes, 2);
}

TEST(Sender, ForwardsASegmentCutByACrashAsItIs) {
  Bench b;
  Id id = new_id();
  {
    Spool before({.directory = b.dir.path() + "/old"}, system_files(), b.random, b.processor.key(), b.log, {});
    SegmentPtr s = before.open_segment(id, 0, 1);
    ASSERT_TRUE(before.append(s, {0, 1, 2, false}, records_of(1, "all there is")));
  }
  Spool after({.directory = b.dir.path() + "/old"}, system_files(), b.random, b.processor.key(), b.log, {});
  auto found = after.recover();
  ASSERT_EQ(found.size(), 1u);
  Sender sender({}, b.processor.client(), after, b.log, {});
  sender.enqueue(found[0]);
  ASSERT_TRUE(sender.wait_until_empty(5s));
  ASSERT_EQ(b.processor.segments(id).size(), 1u);
  EXPECT_FALSE(b.processor.segments(id)[0].closed);
  EXPECT_TRUE(eventually([&] { return system_files().list(b.dir.path() + "/old").empty(); }));
}

// ---- segment building ----------------------------------------------------------------------------------------------

namespace {

struct Builder {
  TempDir dir;
  SystemRandom random;
  crypto::BoxKey key = crypto::BoxKey::make(random);
  Spool spool{{.directory = dir.path() + "/spool"}, system_files(), random, key.public_key(), runtime::Log("test"), {}};
  std::vector<SegmentPtr> closed;
  SegmentBuilder builder{spool, new_id(), 0, 1, [this](const SegmentPtr& s) { closed.push_back(s); }};
  void add(std::int64_t now, std::size_t bytes) { builder.add({now, rec::Annotation{"", std::string(bytes, 'x')}}, now); }
};

}  // namespace

TEST(SegmentBuilder, SealsABatchAtOnceThenEvery200MsAndClosesASmallSegmentAfterFiveSeconds) {
  Builder b;
  EXPECT_FALSE(b.builder.next_deadline());
  b.add(1000, 100);
  EXPECT_EQ(b.builder.next_deadline(), 6000);  // the batch is in the spool, the segment stays open
  b.add(1100, 100);
  EXPECT_EQ(b.builder.next_deadline(), 1200);
  b.builder.tick(1199);
  EXPECT_EQ(b.builder.next_deadline(), 1200);
  b.builder.tick(1200);
  EXPECT_EQ(b.builder.next_deadline(), 6000);
  b.add(3000, 100);
  EXPECT_EQ(b.builder.next_deadline(), 6000);
  b.builder.tick(6000);
  ASSERT_EQ(b.closed.size(), 1u);
  EXPECT_EQ(b.closed[0]->pieces.size(), 4u);
  EXPECT_EQ(b.closed[0]->first_ms, 1000);
  EXPECT_EQ(b.closed[0]->last_ms, 3000);
  EXPECT_EQ(b.closed[0]->flags, rec::kHasEvents);
  EXPECT_FALSE(b.builder.next_deadline());  // nothing while idle
}

TEST(SegmentBuilder, ClosesASegmentOf16KiBAfterOneSecondAndOneOf1MiBAtOnce) {
  Builder b;
  for (int i = 0; i < 5; ++i) b.add(1000 + i, 4000);
  EXPECT_TRUE(b.closed.empty());
  b.builder.tick(2000);
  EXPECT_EQ(b.closed.size(), 1u);
  for (int i = 0; i < 270; ++i) b.add(3000, 4000);
  EXPECT_EQ(b.closed.size(), 2u);
  EXPECT_GE(b.closed[1]->pieces.size(), 4u);  // batches of 256 KiB
  EXPECT_EQ(b.closed[1]->sequence, 1u);
}

TEST(SegmentBuilder, SpreadsAHugeFrameOverSeveralSegmentsThatDecodeOneAfterTheOther) {
  Builder b;
  Bytes frame;
  rec::append(frame, {5, rec::Keyframe{}});
  for (int i = 0; i < 2000; ++i)
    rec::append(frame, {5, rec::Tile{{0, 0, 64, 64}, rec::TileCodec::rgb, Bytes(12288, static_cast<std::uint8_t>(i))}});
  rec::append(frame, {5, rec::FrameEnd{}});
  b.builder.add_stream(frame, 1000);
  ASSERT_TRUE(b.builder.close());
  ASSERT_GE(b.closed.size(), 3u);
  EXPECT_EQ(b.closed[0]->flags, rec::kHasFullKeyframe);
  EXPECT_EQ(b.closed[1]->flags, 0);
  std::size_t records = 0;
  for (const SegmentPtr& s : b.closed) {
    Bytes body = b.spool.body(*s);
    auto header = rec::parse_spool_header(body);
    auto opened = rec::open_segment(body, *header, *rec::open_spool_key(*header, b.key));
    ASSERT_TRUE(opened) << opened.error().what();
    EXPECT_LE(opened->records.size(), rec::kMaxChunkBytes);
    rec::RecordReader reader(opened->records);
    for (auto r = reader.next(); r && *r; r = reader.next()) ++records;
  }
  EXPECT_EQ(records, 2002u);
}
