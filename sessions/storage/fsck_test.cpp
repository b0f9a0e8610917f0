#include "sessions/storage/fsck.hpp"

#include <algorithm>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "lib/runtime/data_lock.hpp"
#include "sessions/storage/storage_test_support.hpp"

namespace lucid::storage {
namespace {

using test::chunk_of;
using test::manifest_of;

using Codes = std::vector<std::string>;

class FsckTest : public ::testing::Test, public test::Harness {
 protected:
  // A closed recording of 40 chunks over several packs, and one that still goes on. Made once; every test has a copy.
  struct Made : test::Harness {
    Id going_on = new_session();
    std::vector<contracts::ChunkRow> rows;
    Made() {
      start();
      storage->put_chunk(going_on, 0, chunk_of(going_on, 0));
      storage->put_manifest(going_on, manifest_of(going_on));
      storage->put_manifest(session, manifest_of(session));
      for (std::uint64_t i = 0; i < 40; ++i) rows.push_back(put(i, 500, i == 39 ? recording::kEnd : 0).row);
      storage->close(session);
      stop();
    }
  };
  void SetUp() override {
    static const Made made;
    std::filesystem::copy(made.dir.path(), dir.path(), std::filesystem::copy_options::recursive);
    session = made.session;
    going_on_ = made.going_on;
    rows_ = made.rows;
    start();
  }
  FsckReport check(bool repair = false) {
    stop();
    return fsck(dir.path(), {.repair = repair});
  }
  static Codes codes(const FsckReport& report) {
    Codes found;
    for (const Finding& finding : report.findings) found.push_back(finding.code);
    std::sort(found.begin(), found.end());
    return found;
  }
  // Found, repaired, then clean, and every chunk reads back.
  void expect_repaired(const Codes& expected) {
    FsckReport found = check();
    EXPECT_EQ(codes(found), expected);
    EXPECT_FALSE(found.clean());
    EXPECT_EQ(found.repaired(), 0u);
    FsckReport repaired = check(true);
    EXPECT_FALSE(repaired.findings.empty());
    EXPECT_TRUE(repaired.clean()) << json::serialize(to_json(repaired));
    EXPECT_EQ(codes(check()), Codes{});
    start();
    for (std::uint64_t i = 0; i < 40; ++i)
      ASSERT_EQ(storage->chunk(session, i).bytes, chunk_of(session, i, 500, i == 39 ? recording::kEnd : 0));
    EXPECT_EQ(storage->summary(session).chunks, 40u);
    EXPECT_TRUE(storage->put_chunk(session, 40, chunk_of(session, 40)).created);
  }
  // Found, not repaired, still found.
  FsckReport expect_reported(const Codes& expected) {
    EXPECT_EQ(codes(check()), expected);
    FsckReport report = check(true);
    EXPECT_EQ(codes(report), expected);
    EXPECT_FALSE(report.clean());
    EXPECT_EQ(codes(check()), expected);
    return report;
  }
  std::vector<contracts::ChunkRow> rows_;
  Id going_on_;
};

TEST_F(FsckTest, AGoodStoreIsCleanAndCounted) {
  FsckReport report = check();
  EXPECT_TRUE(report.clean()) << json::serialize(to_json(report));
  EXPECT_EQ(report.sessions, 2u);
  EXPECT_EQ(report.chunks, 41u);
  EXPECT_EQ(report.packs, 5u);
  EXPECT_GT(report.bytes, 41u * 500);
  EXPECT_TRUE(fsck(dir.path() + "/nothing-here", {}).clean());
}

TEST_F(FsckTest, AFlippedByteIsFoundInItsChunk) {
  flip(pack_path(0), rows_[2].offset + 300);
  FsckReport report = expect_reported({"chunk_corrupt"});
  EXPECT_EQ(report.findings[0].sequence, 2u);
  EXPECT_EQ(report.findings[0].pack, 0u);
  EXPECT_EQ(report.findings[0].offset, rows_[2].offset);
  EXPECT_EQ(report.findings[0].session, session.text());
}

TEST_F(FsckTest, AFlippedByteInAHeaderIsFoundToo) {
  flip(pack_path(0), rows_[2].offset);
  expect_reported({"chunk_corrupt"});
}

TEST_F(FsckTest, AFlippedByteInTheHashBehindAChunkIsMended) {
  flip(pack_path(0), rows_[2].offset + rows_[2].stored_size + 5);
  expect_repaired({"seal_damaged"});
}

TEST_F(FsckTest, AChunkReplacedTogetherWithItsHashIsReportedNeverAdopted) {
  Bytes pack = system_files().read_file(pack_path(0));
  Bytes other = chunk_of(session, 2, 500, 0, 5);
  Hash32 hash = crypto::blake3(other);
  std::copy(other.begin(), other.end(), pack.begin() + static_cast<std::ptrdiff_t>(rows_[2].offset));
  std::copy(hash.begin(), hash.end(), pack.begin() + static_cast<std::ptrdiff_t>(rows_[2].offset + rows_[2].stored_size));
  system_files().replace_file(pack_path(0), pack);
  expect_reported({"hash_mismatch"});
}

TEST_F(FsckTest, ADeletedRowIsRebuiltFromThePack) {
  documents->remove(kChunks, chunk_key(session, 7));
  expect_repaired({"row_missing", "sequence_gap", "summary_wrong"});
}

TEST_F(FsckTest, AllRowsAreRebuiltFromThePacks) {
  documents->remove_range(kChunks, "", "");
  documents->remove_range(kSessions, "", "");
  documents->remove_range(kOpen, "", "");
  EXPECT_EQ(codes(check(true)).size(), 41u + 2);  // the rows, and the packs as orphans
  EXPECT_EQ(codes(check()), Codes{});
  start();
  EXPECT_EQ(storage->summary(session).chunks, 40u);
  EXPECT_EQ(storage->summary(going_on_).chunks, 1u);
  EXPECT_TRUE(documents->get(kOpen, going_on_.text())) << "it may go on";
  EXPECT_FALSE(documents->get(kOpen, session.text()));
}

TEST_F(FsckTest, AnUnreadableRowIsRebuiltFromThePack) {
  documents->put(kChunks, chunk_key(session, 7), "{\"sequence\":7}");
  stop();
  EXPECT_EQ(codes(check()), (Codes{"row_unreadable", "sequence_gap", "summary_wrong"}));
  FsckReport repaired = check(true);
  EXPECT_TRUE(repaired.clean()) << json::serialize(to_json(repaired));
  EXPECT_EQ(codes(check()), Codes{});
}

TEST_F(FsckTest, ARowWithWrongFieldsIsMendedFromTheHeader) {
  contracts::ChunkRow row = rows_[7];
  row.first_ms += 5;
  row.flags = 8;
  documents->put(kChunks, chunk_key(session, 7), row_text(row));
  expect_repaired({"row_mismatch"});
}

TEST_F(FsckTest, ADeletedPackIsReported) {
  system_files().remove(pack_path(1));
  FsckReport report = expect_reported({"pack_missing"});
  EXPECT_EQ(report.findings[0].pack, 1u);
  start();
  EXPECT_EQ(storage->chunk(session, 0).bytes, chunk_of(session, 0));
}

TEST_F(FsckTest, ATruncatedPackIsReportedPerChunk) {
  std::uint32_t last = rows_.back().pack;
  cut(pack_path(last), rows_.back().offset + 100);
  FsckReport report = expect_reported({"chunk_truncated"});
  EXPECT_EQ(report.findings[0].sequence, 39u);
}

TEST_F(FsckTest, AGarbageTailIsCut) {
  extend(pack_path(rows_.back().pack), Bytes(1234, 0xab));
  expect_repaired({"torn_tail"});
}

TEST_F(FsckTest, GarbageThatIsNotAtTheEndIsReported) {
  extend(pack_path(0), Bytes(100, 0));
  expect_reported({"unknown_bytes"});
}

TEST_F(FsckTest, AnOlderCopyOfAChunkIsNoFindingAndReplacesALostOne) {
  Bytes copy = system_files().read_file(pack_path(0));
  std::size_t size = rows_[0].stored_size + store::kPackSealSize;
  extend(pack_path(rows_.back().pack), ByteView(copy).first(size));
  EXPECT_EQ(codes(check()), Codes{});
  flip(pack_path(0), rows_[0].offset + 100);
  EXPECT_EQ(codes(check()), Codes{"chunk_corrupt"});
  EXPECT_TRUE(check(true).clean());
  EXPECT_EQ(codes(check()), Codes{"unknown_bytes"}) << "the damaged bytes themselves stay named";
  start();
  EXPECT_EQ(storage->chunk(session, 0).bytes, chunk_of(session, 0));
}

TEST_F(FsckTest, AnotherSessionsChunkIsReported) {
  Bytes other = chunk_of(going_on_, 5);
  Hash32 hash = crypto::blake3(other);
  other.insert(other.end(), hash.begin(), hash.end());
  extend(pack_path(rows_.back().pack), other);
  expect_reported({"foreign_chunk"});
}

TEST_F(FsckTest, AManifestThatIsGoneOrWrongIsReported) {
  documents->remove(kManifests, session.text());
  documents->put(kManifests, going_on_.text(), manifest_of(session));
  expect_reported({"manifest_invalid", "manifest_missing"});
}

TEST_F(FsckTest, AWrongSummaryIsMended) {
  contracts::StorageSummary wrong;
  wrong.chunks = 3;
  documents->put(kSessions, session.text(), closed_text(wrong));
  expect_repaired({"summary_wrong"});
}

TEST_F(FsckTest, FilesThatAreNotOursAreNamed) {
  system_files().replace_file(packs_in(config.directory) + "/" + session.text() + "/1.pack", Bytes(5));
  system_files().make_directories(packs_in(config.directory) + "/lost+found");
  expect_reported({"unknown_file", "unknown_file"});
}

TEST_F(FsckTest, ALostDatabaseIsBuiltAnew) {
  stop();
  for (const char* part : {"", "-wal", "-shm"}) system_files().remove(database_in(config.directory) + part);
  EXPECT_EQ(codes(check()), Codes{"index_missing"});
  check(true);
  EXPECT_EQ(codes(check()), (Codes{"manifest_missing", "manifest_missing"})) << "manifests are nowhere else";
  start();
  for (std::uint64_t i = 0; i < 39; ++i) ASSERT_EQ(storage->chunk(session, i).bytes, chunk_of(session, i));
}

TEST_F(FsckTest, ADamagedDatabaseIsSetAsideAndBuiltAnew) {
  stop();
  std::string path = database_in(config.directory);
  Bytes bytes = system_files().read_file(path);
  std::fill(bytes.begin() + 100, bytes.end(), 0x5a);
  system_files().replace_file(path, bytes);
  EXPECT_EQ(codes(check()), Codes{"index_corrupt"});
  check(true);
  EXPECT_EQ(codes(check()), (Codes{"manifest_missing", "manifest_missing"}));
  auto names = system_files().list(config.directory);
  EXPECT_TRUE(std::any_of(names.begin(), names.end(), [](const std::string& name) { return name.starts_with("storage.db.damaged-"); }));
}

TEST_F(FsckTest, RepairIsRefusedWhileTheServiceRunsAndCheckingIsNot) {
  stop();
  runtime::DataLock running(dir.path(), kServiceName);
  EXPECT_TRUE(fsck(dir.path(), {}).clean());
  try {
    fsck(dir.path(), {.repair = true});
    FAIL();
  } catch (const Error& error) { EXPECT_EQ(error.code(), "already_running"); }
}

TEST_F(FsckTest, CheckingBesideARunningServiceFindsNothingWrong) {
  runtime::DataLock running(dir.path(), kServiceName);
  std::atomic<bool> stop_writing{false};
  std::thread writer([&] {
    for (std::uint64_t i = 1; !stop_writing; ++i) storage->put_chunk(going_on_, i, chunk_of(going_on_, i, 2000));
  });
  for (int i = 0; i < 10; ++i) EXPECT_EQ(codes(fsck(dir.path(), {})), Codes{});
  stop_writing = true;
  writer.join();
}

TEST_F(FsckTest, ProgressIsTold) {
  stop();
  FsckProgress last;
  fsck(dir.path(), {}, [&](const FsckProgress& progress) { last = progress; });
  EXPECT_EQ(last.sessions_done, 2u);
  EXPECT_EQ(last.sessions_total, 2u);
  EXPECT_GT(last.bytes_read, 0u);
}

}  // namespace
}  // namespace lucid::storage
