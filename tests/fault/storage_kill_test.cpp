// kill -9 against a process that stores chunks from several threads, twenty times, at random moments: every chunk it
// acknowledged is there and equal, none is there in part, and the next process goes on where it stopped.
#include <map>
#include <thread>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "sessions/storage/fsck.hpp"
#include "sessions/storage/storage_test_support.hpp"

namespace lucid::storage {
namespace {

using test::chunk_of;
using test::manifest_of;

constexpr int kThreads = 3;
constexpr std::size_t kSize = 20'000;

struct Acknowledged {
  std::uint32_t session;
  std::uint64_t sequence;
};

// The child: one session a thread, consecutive sequences from where the summary stands, a message for each answer.
[[noreturn]] void store_for_ever(test::Harness& h, const std::vector<Id>& sessions, int out) {
  h.start();
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (std::uint64_t i = h.storage->summary(sessions[t]).next_sequence;; ++i) {
        h.storage->put_chunk(sessions[t], i, chunk_of(sessions[t], i, kSize));
        Acknowledged message{t, i};
        if (::write(out, &message, sizeof message) != sizeof message) ::_exit(1);
      }
    });
  for (auto& thread : threads) thread.join();
  ::_exit(0);
}

TEST(StorageKill, TwentyKillsLoseNothingAcknowledged) {
  test::Harness h;
  h.config.pack_bytes = 200'000;
  std::vector<Id> sessions;
  for (int t = 0; t < kThreads; ++t) sessions.push_back(h.new_session());
  SeededRandom random(3);
  std::map<std::uint32_t, std::uint64_t> next;
  for (int round = 0; round < 20; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(ends[0]);
      store_for_ever(h, sessions, ends[1]);
    }
    ::close(ends[1]);
    // Killed after so many answers: wherever the threads are in that moment.
    int until = 1 + random.array<1>()[0] % 12;
    Acknowledged message{};
    auto take = [&] {
      if (::read(ends[0], &message, sizeof message) != sizeof message) return false;
      next[message.session] = std::max(next[message.session], message.sequence + 1);
      return true;
    };
    for (int n = 0; n < until && take(); ++n) {}
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    while (take()) {}
    ::close(ends[0]);
    h.start();
    for (auto& [session, end] : next) {
      auto rows = h.storage->chunks(sessions[session], 0, 10'000);
      ASSERT_GE(rows.size(), end) << "an acknowledged chunk is gone";
      ASSERT_LE(rows.size(), end + 1) << "at most the one in flight may be there unacknowledged";
      for (std::uint64_t i = 0; i < rows.size(); ++i) {
        ASSERT_EQ(rows[i].sequence, i);
        if (round < 19 && i + 4 <= rows.size()) continue;  // the last ones each time, all of them at the end
        ASSERT_EQ(h.storage->chunk(sessions[session], i).bytes, chunk_of(sessions[session], i, kSize));
      }
    }
    for (auto& [session, end] : next) end = h.storage->summary(sessions[session]).next_sequence;
    h.stop();
  }
  ASSERT_EQ(next.size(), static_cast<std::size_t>(kThreads)) << "every session got chunks";
  h.start();
  for (const Id& session : sessions) h.storage->put_manifest(session, manifest_of(session));
  h.stop();
  FsckReport report = fsck(h.dir.path(), {});
  EXPECT_TRUE(report.clean()) << json::serialize(to_json(report));
}

}  // namespace
}  // namespace lucid::storage
