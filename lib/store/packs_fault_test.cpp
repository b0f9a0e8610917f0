// Every file call fails in turn. Whatever fails: an append that returned is readable afterwards, one that threw has left
// nothing that a reader takes for a chunk, and the next append works again.
#include <atomic>
#include <cerrno>
#include <map>
#include <thread>

#include <gtest/gtest.h>

#include "lib/store/packs_test_support.hpp"

namespace lucid::store {
namespace {

using test::chunk_of;
using test::make_packs;
using test::session_id;

constexpr std::uint64_t kPackSize = 1200;

struct Outcome {
  std::map<std::uint32_t, PackLocation> acknowledged;
  std::size_t refused = 0;
};

// Ten chunks for two sessions, over several packs, with a close and a reopening in between.
Outcome work(FileOps& files, const std::string& directory) {
  Outcome outcome;
  std::unique_ptr<Packs> packs;
  for (std::uint32_t i = 0; i < 14; ++i) {
    try {
      if (!packs) packs = make_packs(directory, files, kPackSize);
      outcome.acknowledged[i] = packs->append(session_id(i % 2), chunk_of(i, 250 + i));
      if (i == 7) packs->close(session_id(1));
      if (i == 9) packs.reset();
    } catch (const Error&) { ++outcome.refused; }
  }
  return outcome;
}

// What a reader finds afterwards with a disk that works: all that was acknowledged, and no damaged bytes.
void check(const Outcome& outcome, const std::string& directory, const std::string& what) {
  auto packs = make_packs(directory, system_files(), kPackSize);
  for (auto& [number, location] : outcome.acknowledged)
    ASSERT_EQ(packs->read(session_id(number % 2), location), chunk_of(number, 250 + number)) << what << ", chunk " << number;
  for (std::uint8_t s = 0; s < 2; ++s) {
    Bytes next = chunk_of(99, 300);
    PackLocation location = packs->append(session_id(s), next);
    ASSERT_EQ(packs->read(session_id(s), location), next) << what;
    for (std::uint32_t pack : packs->list(session_id(s))) {
      PackWalk walk = packs->walk(session_id(s), pack, 0, UINT64_MAX, [](const PackEntry&) {});
      ASSERT_TRUE(walk.bad.empty()) << what;
    }
  }
  for (auto& [number, location] : outcome.acknowledged)
    ASSERT_EQ(packs->read(session_id(number % 2), location), chunk_of(number, 250 + number)) << what << ", chunk " << number;
}

TEST(PacksFault, EachCallFailingOnce) {
  for (std::uint64_t failing = 0;; ++failing) {
    TempDir dir;
    bool failed = false;
    std::string call_name;
    FaultyFileOps files([&](std::string_view call, const std::string&, std::uint64_t number) {
      if (number != failing) return 0;
      failed = true;
      call_name = call;
      return failing % 2 == 0 ? ENOSPC : EIO;
    });
    Outcome outcome = work(files, dir.path() + "/packs");
    check(outcome, dir.path() + "/packs", "call " + std::to_string(failing) + " (" + call_name + ") failing");
    if (HasFatalFailure()) return;
    EXPECT_LE(outcome.refused, 1u) << "one failure refuses at most one chunk";
    if (!failed) {
      EXPECT_EQ(outcome.acknowledged.size(), 14u);
      break;
    }
  }
}

TEST(PacksFault, EachCallFailingAndAllAfterIt) {
  for (std::uint64_t failing = 0;; ++failing) {
    TempDir dir;
    bool failed = false;
    FaultyFileOps files([&](std::string_view, const std::string&, std::uint64_t number) {
      if (number < failing) return 0;
      failed = true;
      return ENOSPC;
    });
    Outcome outcome = work(files, dir.path() + "/packs");
    check(outcome, dir.path() + "/packs", "calls from " + std::to_string(failing) + " failing");
    if (HasFatalFailure()) return;
    if (!failed) break;
  }
}

TEST(PacksFault, AFullDiskIsToldAsSuch) {
  TempDir dir;
  FaultyFileOps files([&](std::string_view call, const std::string&, std::uint64_t) { return call == "write" ? ENOSPC : 0; });
  auto packs = make_packs(dir.path(), files, kPackSize);
  try {
    packs->append(session_id(1), chunk_of(1, 100));
    FAIL();
  } catch (const Error& error) { EXPECT_EQ(error.kind(), ErrorKind::storage_full); }
  EXPECT_EQ(system_files().read_file(packs->path(session_id(1), 0)).size(), 0u) << "the half-written chunk was cut off";
}

// Syncs fail at random under concurrent appends: who was told "done" finds the bytes.
TEST(PacksFault, ConcurrentAppendsWithFailingSyncs) {
  TempDir dir;
  std::atomic<std::uint64_t> syncs{0};
  FaultyFileOps files([&](std::string_view call, const std::string&, std::uint64_t) {
    if (call != "sync_data") return 0;
    ::usleep(500);  // lets others queue up behind the one that syncs
    return ++syncs % 5 == 3 ? EIO : 0;
  });
  auto packs = make_packs(dir.path(), files, 8000);
  std::mutex mutex;
  std::map<std::uint32_t, PackLocation> acknowledged;
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 6; ++t)
    threads.emplace_back([&, t] {
      for (std::uint32_t i = 0; i < 40; ++i) {
        std::uint32_t number = t * 100 + i;
        try {
          PackLocation location = packs->append(session_id(1), chunk_of(number, 100 + number % 50));
          std::lock_guard lock(mutex);
          acknowledged[number] = location;
        } catch (const Error&) { ++refused; }
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_GT(refused, 0);
  EXPECT_EQ(acknowledged.size() + static_cast<std::size_t>(refused), 240u);
  packs.reset();
  packs = make_packs(dir.path(), system_files(), 8000);
  for (auto& [number, location] : acknowledged) ASSERT_EQ(packs->read(session_id(1), location), chunk_of(number, 100 + number % 50));
}

}  // namespace
}  // namespace lucid::store
