#include "sessions/storage/storage.hpp"

#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "sessions/storage/storage_test_support.hpp"

namespace lucid::storage {
namespace {

using test::chunk_of;
using test::manifest_of;

class StorageTest : public ::testing::Test, public test::Harness {
 protected:
  void SetUp() override { start(); }
  std::string code_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) { return error.code(); }
    return "";
  }
};

TEST_F(StorageTest, AChunkStoredReadsBackAlsoAfterARestart) {
  auto first = put(0);
  EXPECT_TRUE(first.created);
  EXPECT_EQ(first.row.blake3, crypto::blake3(chunk_of(session, 0)));
  EXPECT_EQ(first.row.stored_size, chunk_of(session, 0).size());
  EXPECT_EQ(first.row.plain_size, 500u);
  for (std::uint64_t i = 1; i < 30; ++i) put(i, 100 * i);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(storage->chunk(session, 0).bytes, chunk_of(session, 0));
    for (std::uint64_t i = 1; i < 30; ++i) EXPECT_EQ(storage->chunk(session, i).bytes, chunk_of(session, i, 100 * i));
    EXPECT_EQ(storage->chunks(session, 0, 100).size(), 30u);
    EXPECT_GT(storage->chunks(session, 29, 100).front().pack, 0u) << "several packs";
    start();
  }
}

TEST_F(StorageTest, AChunkSentAgainStandsAsItWas) {
  auto first = put(0);
  auto again = put(0);
  EXPECT_FALSE(again.created);
  EXPECT_EQ(again.row.offset, first.row.offset);
  auto other = storage->put_chunk(session, 0, chunk_of(session, 0, 700, 0, 99));
  EXPECT_FALSE(other.created);
  EXPECT_EQ(other.row.blake3, first.row.blake3);
  EXPECT_EQ(system_files().read_file(pack_path(0)).size(), first.row.stored_size + store::kPackSealSize) << "duplicates write nothing";
  start();
  EXPECT_FALSE(put(0).created);
}

TEST_F(StorageTest, OfConcurrentDuplicatesOneWinsAndAllGetItsRow) {
  for (std::uint64_t sequence = 0; sequence < 10; ++sequence) {
    std::atomic<int> created{0};
    std::mutex mutex;
    std::set<std::string> hashes;
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 6; ++t)
      threads.emplace_back([&, t] {
        auto put = storage->put_chunk(session, sequence, chunk_of(session, sequence, 300, 0, t));
        if (put.created) ++created;
        std::lock_guard lock(mutex);
        hashes.insert(to_hex(put.row.blake3));
      });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(created, 1);
    EXPECT_EQ(hashes.size(), 1u);
    EXPECT_EQ(to_hex(crypto::blake3(storage->chunk(session, sequence).bytes)), *hashes.begin());
  }
  EXPECT_EQ(storage->summary(session).chunks, 10u);
}

TEST_F(StorageTest, AChunkUnderAnotherNameIsRefused) {
  Bytes chunk = chunk_of(session, 3);
  EXPECT_EQ(code_of([&] { storage->put_chunk(session, 4, chunk); }), "chunk_mismatch");
  EXPECT_EQ(code_of([&] { storage->put_chunk(new_session(), 3, chunk); }), "chunk_mismatch");
  Bytes longer = chunk;
  longer.push_back(0);
  EXPECT_EQ(code_of([&] { storage->put_chunk(session, 3, longer); }), "chunk_size_mismatch");
  EXPECT_EQ(code_of([&] { storage->put_chunk(session, 3, ByteView(chunk).first(chunk.size() - 1)); }), "chunk_size_mismatch");
  EXPECT_EQ(code_of([&] { storage->put_chunk(session, 3, ByteView(chunk).first(40)); }), "malformed");
  EXPECT_EQ(code_of([&] { storage->put_chunk(session, 3, {}); }), "malformed");
  EXPECT_EQ(storage->summary(session).chunks, 0u);
  EXPECT_EQ(code_of([&] { storage->chunk(session, 3); }), "chunk_not_found");
}

TEST_F(StorageTest, DamagedBytesAreNeverDataAndLeaveAnIncident) {
  auto row = put(0).row;
  put(1);
  flip(pack_path(0), row.offset + 200);
  EXPECT_EQ(code_of([&] { storage->chunk(session, 0); }), "chunk_corrupt");
  EXPECT_EQ(code_of([&] { storage->chunk(session, 0); }), "chunk_corrupt");
  EXPECT_EQ(storage->chunk(session, 1).bytes, chunk_of(session, 1));
  auto incidents = documents->scan(kIncidents, {});
  ASSERT_EQ(incidents.size(), 1u);
  EXPECT_NE(incidents[0].json.find("\"sequence\":0"), std::string::npos);
  EXPECT_NE(metrics.expose().find("lucid_storage_corrupt_chunks_total{service=\"session-storage\"} 2"), std::string::npos);
}

TEST_F(StorageTest, FailuresOfTheDiskAreCountedAndMistakesOfTheAskerAreNot) {
  auto errors = [&](const std::string& operation) {
    std::string name = "lucid_storage_errors_total{operation=\"" + operation + "\",service=\"session-storage\"} ", text = metrics.expose();
    auto at = text.find(name);
    return at == std::string::npos ? -1 : std::stoi(text.substr(at + name.size()));
  };
  EXPECT_EQ(errors("write"), 0) << "there before the first failure";
  EXPECT_EQ(errors("read"), 0);
  std::string failing;
  FaultyFileOps files([&](std::string_view call, const std::string& path, std::uint64_t) {
    return call == failing && path.find(".pack") != std::string::npos ? EIO : 0;
  });
  start(files);
  put(0);
  EXPECT_EQ(code_of([&] { storage->chunk(session, 7); }), "chunk_not_found");
  EXPECT_EQ(code_of([&] { storage->put_chunk(session, 4, chunk_of(session, 3)); }), "chunk_mismatch");
  EXPECT_EQ(errors("write") + errors("read"), 0);
  failing = "write";
  EXPECT_EQ(code_of([&] { put(1); }), "unavailable");
  EXPECT_EQ(code_of([&] { put(1); }), "unavailable");
  EXPECT_EQ(errors("write"), 2);
  failing = "read_at";
  EXPECT_EQ(code_of([&] { storage->chunk(session, 0); }), "unavailable");
  EXPECT_EQ(errors("read"), 1);
  failing.clear();
  put(1);
  storage->chunk(session, 0);
  EXPECT_EQ(errors("write"), 2);
  EXPECT_EQ(errors("read"), 1);
  stop();
}

TEST_F(StorageTest, TheFreeSpaceIsThatOfTheMomentTheMetricsAreAskedFor) {
  free = 12'345'678;
  EXPECT_NE(metrics.expose().find("lucid_storage_free_bytes{service=\"session-storage\"} 12345678\n"), std::string::npos);
  free = 5'000;
  EXPECT_NE(metrics.expose().find("lucid_storage_free_bytes{service=\"session-storage\"} 5000\n"), std::string::npos);
}

TEST_F(StorageTest, AMissingPackIsCorruptionNotAbsence) {
  put(0);
  system_files().remove(pack_path(0));
  EXPECT_EQ(code_of([&] { storage->chunk(session, 0); }), "chunk_corrupt");
}

TEST_F(StorageTest, TheSummaryGrowsWithTheRowsAndIsTheSameAfterARestart) {
  put(0, 100);
  put(2, 300);
  put(1, 200);
  auto check = [&] {
    auto summary = storage->summary(session);
    EXPECT_EQ(summary.chunks, 3u);
    EXPECT_EQ(summary.plain_bytes, 600u);
    EXPECT_EQ(summary.stored_bytes, 600u + 3 * 120);
    EXPECT_EQ(summary.next_sequence, 3u);
    EXPECT_EQ(summary.first_ms, 0);
    EXPECT_EQ(summary.last_ms, 2999);
    EXPECT_FALSE(summary.complete);
  };
  check();
  start();
  check();
  put(3, 100, recording::kEnd);
  EXPECT_TRUE(storage->summary(session).complete);
  storage->close(session);
  EXPECT_EQ(storage->summary(session).chunks, 4u);
  start();
  EXPECT_TRUE(storage->summary(session).complete);
  EXPECT_EQ(storage->summary(session).chunks, 4u);
  EXPECT_EQ(storage->summary(new_session()).chunks, 0u);
}

TEST_F(StorageTest, AChunkAfterCloseIsKeptAndCounted) {
  put(0);
  storage->close(session);
  storage->close(session);
  EXPECT_FALSE(put(0).created);
  put(1);
  EXPECT_EQ(storage->summary(session).chunks, 2u);
  start();
  EXPECT_EQ(storage->summary(session).chunks, 2u);
  storage->close(session);
  EXPECT_EQ(storage->summary(session).chunks, 2u);
}

TEST_F(StorageTest, SessionsAreListedNewestFirstPageByPage) {
  std::vector<Id> ids;
  for (int i = 0; i < 5; ++i) {
    session = new_session();
    ids.push_back(session);
    put(0);
    if (i % 2 == 0) storage->close(session);
  }
  Id only_manifest = new_session();
  storage->put_manifest(only_manifest, manifest_of(only_manifest));
  std::vector<Id> listed;
  std::string cursor;
  int pages = 0;
  do {
    SessionPage page = storage->list(cursor, 2);
    for (auto& each : page.sessions) {
      listed.push_back(each.session);
      if (each.session != only_manifest) {
        EXPECT_EQ(each.summary.chunks, 1u);
        EXPECT_EQ(each.closed, std::find(ids.begin(), ids.end(), each.session) - ids.begin() != 1 &&
                                   std::find(ids.begin(), ids.end(), each.session) - ids.begin() != 3);
      }
    }
    cursor = page.cursor;
    ++pages;
  } while (!cursor.empty());
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(listed, (std::vector<Id>{only_manifest, ids[4], ids[3], ids[2], ids[1], ids[0]}));
}

TEST_F(StorageTest, AManifestReplacesTheOneBeforeAndMustFitItsSession) {
  EXPECT_FALSE(storage->manifest(session));
  std::string text = manifest_of(session);
  storage->put_manifest(session, text);
  storage->put_manifest(session, text);
  EXPECT_EQ(storage->manifest(session), text);
  EXPECT_EQ(code_of([&] { storage->put_manifest(new_session(), text); }), "manifest_mismatch");
  EXPECT_EQ(code_of([&] { storage->put_manifest(session, "{}"); }), "malformed");
  EXPECT_EQ(code_of([&] { storage->put_manifest(session, std::string(5 << 20, ' ')); }).empty(), false);
  start();
  EXPECT_EQ(storage->manifest(session), text);
}

TEST_F(StorageTest, RemovalLeavesNothingAndMayBeRepeated) {
  for (std::uint64_t i = 0; i < 20; ++i) put(i);
  storage->put_manifest(session, manifest_of(session));
  Id other = new_session();
  storage->put_chunk(other, 0, chunk_of(other, 0));
  storage->remove(session);
  storage->remove(session);
  EXPECT_EQ(code_of([&] { storage->chunk(session, 0); }), "chunk_not_found");
  EXPECT_FALSE(storage->manifest(session));
  EXPECT_EQ(storage->summary(session).chunks, 0u);
  EXPECT_FALSE(system_files().exists(packs_in(config.directory) + "/" + session.text()));
  for (const char* collection : {kChunks, kSessions, kOpen, kManifests, kDeleting})
    EXPECT_EQ(documents->count(collection, session.text(), store::after_prefix(session.text())), 0u) << collection;
  EXPECT_EQ(storage->chunk(other, 0).bytes, chunk_of(other, 0));
}

TEST_F(StorageTest, ARemovalThatWasInterruptedIsFinishedAtStart) {
  for (std::uint64_t i = 0; i < 5; ++i) put(i);
  documents->put(kDeleting, session.text(), "{}");
  start();
  EXPECT_TRUE(storage->chunks(session, 0, 10).empty());
  EXPECT_EQ(documents->count(kDeleting, "", ""), 0u);
  EXPECT_FALSE(system_files().exists(packs_in(config.directory) + "/" + session.text()));
}

TEST_F(StorageTest, RemovalAndChunksAtOnceEndInOneOfTheTwo) {
  std::thread writer([&] {
    for (std::uint64_t i = 0; i < 60; ++i) put(i, 100);
  });
  for (int i = 0; i < 5; ++i) storage->remove(session);
  writer.join();
  for (const auto& row : storage->chunks(session, 0, 100))
    EXPECT_EQ(storage->chunk(session, row.sequence).bytes, chunk_of(session, row.sequence, 100));
  EXPECT_EQ(storage->summary(session).chunks, storage->chunks(session, 0, 100).size());
}

TEST_F(StorageTest, WithLittleSpaceChunksAreRefusedBeforeAnythingIsWritten) {
  put(0);
  std::uint64_t size = system_files().read_file(pack_path(0)).size();
  free = config.min_free_bytes - 1;
  EXPECT_EQ(code_of([&] { put(1); }), "storage_full");
  EXPECT_TRUE(storage->space_problem());
  EXPECT_FALSE(put(0).created) << "what is there is still answered";
  EXPECT_EQ(system_files().read_file(pack_path(0)).size(), size);
  storage->put_manifest(session, manifest_of(session));  // the reserve is for this
  free = config.min_free_bytes;
  EXPECT_FALSE(storage->space_problem());
  EXPECT_TRUE(put(1).created);
}

// ---- after a crash --------------------------------------------------------------------------------------------------

TEST_F(StorageTest, AChunkDurableWithoutItsRowGetsItAtStart) {
  put(0);
  put(1);
  documents->remove(kChunks, chunk_key(session, 1));
  start();
  EXPECT_EQ(storage->summary(session).chunks, 2u);
  EXPECT_EQ(storage->chunk(session, 1).bytes, chunk_of(session, 1));
  EXPECT_FALSE(storage->put_chunk(session, 1, chunk_of(session, 1, 500, 0, 77)).created) << "the one who sends it again is told it stands";
}

TEST_F(StorageTest, TheVeryFirstChunkWithoutItsRowIsFoundWhenTheSessionIsWrittenAgain) {
  put(0);
  for (const char* collection : {kChunks, kOpen, kSessions}) documents->remove_range(collection, "", "");
  start();
  EXPECT_FALSE(put(0).created);
  EXPECT_EQ(storage->list("", 10).sessions.size(), 1u);
}

TEST_F(StorageTest, ATornTailIsCutAtStart) {
  auto row = put(0).row;
  std::uint64_t good = row.offset + row.stored_size + store::kPackSealSize;
  Bytes next = chunk_of(session, 1);
  for (std::size_t part : {std::size_t{1}, std::size_t{79}, std::size_t{80}, next.size()}) {
    extend(pack_path(0), ByteView(next).first(part));
    start();
    EXPECT_EQ(system_files().read_file(pack_path(0)).size(), good) << part;
    EXPECT_EQ(storage->summary(session).chunks, 1u);
  }
  EXPECT_TRUE(put(1).created);
  EXPECT_EQ(storage->chunk(session, 1).bytes, next);
}

TEST_F(StorageTest, ADamagedSessionDoesNotKeepTheOthersFromStarting) {
  put(0);
  documents->put(kChunks, chunk_key(session, 1), "nonsense");
  Id bad = session;
  session = new_session();
  put(0);
  start();
  EXPECT_EQ(storage->chunk(session, 0).bytes, chunk_of(session, 0));
  EXPECT_EQ(storage->chunk(bad, 0).bytes, chunk_of(bad, 0));
  EXPECT_EQ(code_of([&] { storage->put_chunk(bad, 2, chunk_of(bad, 2)); }), "index_corrupt");
}

TEST_F(StorageTest, StartIsQuickWithManyClosedSessions) {
  std::vector<store::Documents::Insert> inserts;
  for (int s = 0; s < 2'000; ++s) {
    Id id = new_session();
    inserts.push_back({kSessions, id.text(), closed_text({})});
    for (std::uint64_t i = 0; i < 10; ++i) {
      contracts::ChunkRow row;
      row.sequence = i;
      inserts.push_back({kChunks, chunk_key(id, i), row_text(row)});
    }
  }
  documents->insert_many(inserts);
  put(0);
  stop();
  auto began = std::chrono::steady_clock::now();
  start();
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(), 0.2);
  EXPECT_EQ(storage->summary(session).chunks, 1u);
}

}  // namespace
}  // namespace lucid::storage
