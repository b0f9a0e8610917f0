// Every file call under session-storage fails in turn. Whatever fails: an acknowledged chunk is readable afterwards and
// equal, a refused one can be sent again, and fsck finds nothing that it must not find.
#include <cerrno>
#include <set>

#include <gtest/gtest.h>

#include "sessions/storage/fsck.hpp"
#include "sessions/storage/storage_test_support.hpp"

namespace lucid::storage {
namespace {

using test::chunk_of;
using test::manifest_of;

constexpr std::uint64_t kChunks = 10;

void run(bool once, int error_number) {
  for (std::uint64_t failing = 0;; ++failing) {
    test::Harness h;
    h.config.pack_bytes = 2'500;
    bool failed = false;
    FaultyFileOps files([&](std::string_view, const std::string&, std::uint64_t number) {
      if (once ? number != failing : number < failing) return 0;
      failed = true;
      return error_number;
    });
    std::set<std::uint64_t> acknowledged;
    std::size_t refused = 0;
    for (std::uint64_t i = 0; i < kChunks; ++i) {
      try {
        if (!h.storage) h.start(files);
        h.put(i);
        acknowledged.insert(i);
        if (i == 5) h.stop();
      } catch (const Error& error) {
        ++refused;
        EXPECT_TRUE(error.kind() == ErrorKind::storage_full || error.kind() == ErrorKind::unavailable) << error.what();
      }
    }
    if (once) { EXPECT_LE(refused, 1u) << "failing call " << failing; }
    h.start();
    for (std::uint64_t i : acknowledged)
      ASSERT_EQ(h.storage->chunk(h.session, i).bytes, chunk_of(h.session, i)) << "failing call " << failing;
    for (std::uint64_t i = 0; i < kChunks; ++i) {
      auto put = h.put(i);
      EXPECT_FALSE(put.created && acknowledged.contains(i));
      ASSERT_EQ(h.storage->chunk(h.session, i).bytes, chunk_of(h.session, i));
    }
    h.storage->put_manifest(h.session, manifest_of(h.session));
    EXPECT_EQ(h.storage->summary(h.session).chunks, kChunks);
    h.stop();
    FsckReport report = fsck(h.dir.path(), {});
    ASSERT_TRUE(report.clean()) << "failing call " << failing << ": " << json::serialize(to_json(report));
    if (!failed) {
      EXPECT_EQ(refused, 0u);
      return;
    }
  }
}

TEST(StorageDisk, EachCallFailsOnce) { run(true, EIO); }
TEST(StorageDisk, TheDiskIsFullFromEachCallOn) { run(false, ENOSPC); }

}  // namespace
}  // namespace lucid::storage
