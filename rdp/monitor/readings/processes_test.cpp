#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <ctime>
#include <functional>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file_ops.hpp"
#include "rdp/monitor/readings/processes.hpp"
#include "rdp/monitor/readings/test_tree.hpp"

namespace lucid::monitor {
namespace {

// A child process that does as it is told until it is ended. `ready` is passed when its part before `go_on` is done.
class Child {
 public:
  explicit Child(const std::function<void()>& work) {
    int ready[2];
    if (::pipe2(ready, O_CLOEXEC) != 0) throw system_error("make", "pipe", errno);
    File in(ready[0]), out(ready[1]);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::write(ready[1], "r", 1) != 1) ::_exit(1);
      work();
      ::_exit(0);
    }
    char c = 0;
    EXPECT_EQ(::read(in.fd(), &c, 1), 1);
  }
  ~Child() {
    if (pid_ > 0) end();
  }
  // What it has used, by wait4.
  rusage end() {
    ::kill(pid_, SIGKILL);
    return wait();
  }
  rusage wait() {
    rusage usage{};
    int status = 0;
    ::wait4(pid_, &status, 0, &usage);
    pid_ = -1;
    return usage;
  }
  std::uint32_t pid() const { return static_cast<std::uint32_t>(pid_); }
  double cpu_seconds() const {
    clockid_t clock{};
    timespec t{};
    ::clock_getcpuclockid(pid_, &clock);
    ::clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  }

 private:
  pid_t pid_ = -1;
};

void spin() {
  for (std::atomic<std::uint64_t> n = 0;; ++n) {}
}
void spin_for(double seconds) {
  auto used = [] {
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  };
  while (used() < seconds) {}
}
void stay() {
  while (true) ::pause();
}
void pause_ms(int ms) {
  timespec t{ms / 1000, ms % 1000 * 1'000'000L};
  ::nanosleep(&t, nullptr);
}
double seconds_of(const rusage& u) {
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

TEST(Processes, CpuOfASpinningChildIsWhatTheKernelsClockAndRusageSayWithinTwoPercent) {
  ManualClock clock;  // looks are a second apart: a ratio is seconds of CPU time
  ProcessReader reader("/proc", clock);
  Child child(spin);
  std::vector<SessionRoots> roots{{"s", {child.pid()}}};
  double before = child.cpu_seconds();
  auto first = reader.look(roots).sessions.at(0);
  double after = child.cpu_seconds();
  EXPECT_TRUE(std::isnan(first.cpu_ratio));
  EXPECT_EQ(first.processes, 1u);
  while (child.cpu_seconds() - after < 1.6) pause_ms(20);
  clock.advance(1'000);
  double least = child.cpu_seconds() - after;
  double counted = reader.look(roots).sessions.at(0).cpu_ratio;
  double most = child.cpu_seconds() - before;
  EXPECT_GE(counted, 0.98 * least);
  EXPECT_LE(counted, 1.02 * most);
  EXPECT_GE(seconds_of(child.end()), 0.98 * counted);
}

TEST(Processes, MemoryIsTheResidentMemoryOfAllThatDescendFromTheRoots) {
  SystemClock clock;
  ProcessReader reader("/proc", clock);
  constexpr std::size_t kSize = 64 << 20;
  int done[2];
  ASSERT_EQ(::pipe2(done, O_CLOEXEC), 0);
  File in(done[0]), out(done[1]);
  Child child([&] {
    if (::fork() == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      void* memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
      std::memset(memory, 1, kSize);
      pid_t self = ::getpid();
      if (::write(done[1], &self, sizeof self) != sizeof self) ::_exit(1);
    }
    stay();
  });
  pid_t grandchild = 0;
  ASSERT_EQ(::read(in.fd(), &grandchild, sizeof grandchild), static_cast<ssize_t>(sizeof grandchild));
  auto resident = [](std::uint32_t pid) {
    std::string status = text_of("/proc/" + std::to_string(pid) + "/status");
    return std::stod(status.substr(status.find("VmRSS:") + 6)) * 1024;
  };
  auto use = reader.look({{"s", {child.pid()}}}).sessions.at(0);
  double by_hand = resident(child.pid()) + resident(static_cast<std::uint32_t>(grandchild));
  EXPECT_EQ(use.processes, 2u);
  EXPECT_GE(use.memory_bytes, kSize);
  EXPECT_NEAR(static_cast<double>(use.memory_bytes), by_hand, 0.02 * by_hand);
}

TEST(Processes, WritesToDiskAreCountedOnceThoughTheWriterEnds) {
  ManualClock clock;
  ProcessReader reader("/proc", clock);
  Tree tree;
  constexpr std::size_t kSize = 4 << 20;
  int steps[2], told[2];
  ASSERT_EQ(::pipe2(steps, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(told, O_CLOEXEC), 0);
  File steps_in(steps[0]), steps_out(steps[1]), told_in(told[0]), told_out(told[1]);
  auto tell = [&](char c) { EXPECT_EQ(::write(told[1], &c, 1), 1); };
  auto hear = [](int fd) {
    char c = 0;
    return ::read(fd, &c, 1) == 1 ? c : '\0';
  };
  std::string file = tree.at("written");
  Child child([&] {
    pid_t writer = ::fork();
    if (writer == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      hear(steps[0]);
      std::vector<char> bytes(kSize, 'x');
      int fd = ::open(file.c_str(), O_WRONLY | O_CREAT, 0600);
      if (::write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(kSize) || ::fsync(fd) != 0) ::_exit(1);
      tell('w');
      hear(steps[0]);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(writer, &status, 0);
    tell('e');
    stay();
  });
  std::vector<SessionRoots> roots{{"s", {child.pid()}}};
  auto look = [&] {
    clock.advance(1'000);
    return reader.look(roots).sessions.at(0).write_bytes_per_second;
  };
  look();
  ASSERT_EQ(::write(steps[1], "g", 1), 1);
  ASSERT_EQ(hear(told[0]), 'w');
  double written = look();
  if (written == 0) GTEST_SKIP() << "not run: this file system's writes are not those of a disk";
  EXPECT_NEAR(written, kSize, kSize * 0.02);
  ASSERT_EQ(::write(steps[1], "g", 1), 1);
  ASSERT_EQ(hear(told[0]), 'e');
  EXPECT_LT(look(), kSize * 0.02) << "what the writer wrote came to its parent with its end, and was counted before";
}

TEST(Processes, TimeOfChildrenThatEndedBetweenTwoLooksIsNotLost) {
  ManualClock clock;
  ProcessReader reader("/proc", clock);
  int done[2];
  ASSERT_EQ(::pipe2(done, O_CLOEXEC), 0);
  File in(done[0]), out(done[1]);
  int start[2];
  ASSERT_EQ(::pipe2(start, O_CLOEXEC), 0);
  File start_in(start[0]), start_out(start[1]);
  Child child([&] {
    char c = 0;
    if (::read(start[0], &c, 1) != 1) ::_exit(1);
    for (int i = 0; i < 4; ++i) {
      pid_t one = ::fork();
      if (one == 0) {
        spin_for(0.15);
        ::_exit(0);
      }
      int status = 0;
      ::waitpid(one, &status, 0);
    }
    if (::write(done[1], "d", 1) != 1) ::_exit(1);
    stay();
  });
  std::vector<SessionRoots> roots{{"s", {child.pid()}}};
  reader.look(roots);
  clock.advance(1'000);
  ASSERT_EQ(::write(start[1], "g", 1), 1);
  char c = 0;
  ASSERT_EQ(::read(in.fd(), &c, 1), 1);
  auto use = reader.look(roots).sessions.at(0);
  EXPECT_EQ(use.processes, 1u);
  EXPECT_NEAR(use.cpu_ratio, 0.6, 0.08);  // four ends, each to a tick
}

TEST(Processes, AProcessWhoseParentEndedStaysWithItsSession) {
  SystemClock clock;
  ProcessReader reader("/proc", clock);
  int pids[2];
  ASSERT_EQ(::pipe2(pids, O_CLOEXEC), 0);
  File in(pids[0]), out(pids[1]);
  Child child([&] {
    pid_t orphan = ::fork();
    if (orphan == 0) stay();
    if (::write(pids[1], &orphan, sizeof orphan) != sizeof orphan) ::_exit(1);
    stay();
  });
  pid_t orphan = 0;
  ASSERT_EQ(::read(in.fd(), &orphan, sizeof orphan), static_cast<ssize_t>(sizeof orphan));
  std::vector<SessionRoots> roots{{"s", {child.pid()}}};
  EXPECT_EQ(reader.look(roots).sessions.at(0).processes, 2u);
  child.end();
  EXPECT_EQ(reader.look(roots).sessions.at(0).processes, 1u);
  EXPECT_EQ(reader.look(roots).sessions.at(0).processes, 1u);
  // Nobody of a session that is over is anyone's.
  EXPECT_EQ(reader.look({{"other", {0xfffffff0}}}).sessions.at(0).processes, 0u);
  EXPECT_EQ(reader.look(roots).sessions.at(0).processes, 0u);
  ::kill(orphan, SIGKILL);
}

TEST(Processes, AStormOfChildrenThatVanishBreaksNothing) {
  SystemClock clock;
  ProcessReader reader("/proc", clock);
  Child storm([] {
    while (true) {
      for (int i = 0; i < 8; ++i)
        if (::fork() == 0) ::_exit(0);
      while (::waitpid(-1, nullptr, 0) > 0) {}
    }
  });
  std::vector<SessionRoots> roots{{"storm", {storm.pid()}}};
  std::int64_t began = clock.steady_ms();
  double counted = 0;
  std::int64_t last = began;
  for (int i = 0; i < 60; ++i) {
    auto look = reader.look(roots);
    std::int64_t now = clock.steady_ms();
    ASSERT_EQ(look.sessions.size(), 1u);
    EXPECT_GE(look.sessions[0].processes, 1u);
    EXPECT_GT(look.processes, 1u);
    if (std::isfinite(look.sessions[0].cpu_ratio)) {
      EXPECT_GE(look.sessions[0].cpu_ratio, 0);
      counted += look.sessions[0].cpu_ratio * static_cast<double>(now - last) / 1000;
    }
    last = now;
    pause_ms(5);
  }
  double seconds = static_cast<double>(last - began) / 1000;
  EXPECT_GT(counted, 0.05 * seconds);
  EXPECT_LE(counted, seconds * static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN)) + 0.2);
}

// A /proc made by hand.
class ProcTree : public testing::Test {
 protected:
  void process(std::uint32_t pid, std::uint32_t parent, std::uint64_t ticks, std::uint64_t start = 100, const std::string& name = "x",
               std::uint64_t child_ticks = 0) {
    tree_.write(std::to_string(pid) + "/stat",
                std::to_string(pid) + " (" + name + ") S " + std::to_string(parent) + " 1 1 0 -1 4194560 1 0 0 0 " + std::to_string(ticks) +
                    " 0 " + std::to_string(child_ticks) + " 0 20 0 1 0 " + std::to_string(start) + " 1000000 10 18446744073709551615 0\n");
  }
  SessionUse look(const std::vector<SessionRoots>& roots) {
    clock_.advance(1'000);
    return reader_.look(roots).sessions.at(0);
  }
  Tree tree_;
  ManualClock clock_;
  ProcessReader reader_{tree_.path(), clock_};
  double ticks_ = static_cast<double>(::sysconf(_SC_CLK_TCK));
};

TEST_F(ProcTree, NamesMayHoldSpacesParenthesesAndNewlines) {
  process(10, 1, 0, 100, "a) S 1 (b");
  process(11, 10, 0, 100, "two\nlines) R 5");
  process(12, 11, 0, 100, ")))(((");
  tree_.write("10/io", "rchar: 1\nwchar: 2\nread_bytes: 1000\nwrite_bytes: 5000\ncancelled_write_bytes: 0\n");
  SessionUse use = look({{"s", {10}}});
  EXPECT_EQ(use.processes, 3u);
  EXPECT_EQ(use.memory_bytes, 30u * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)));
  process(12, 11, 50, 100, ")))(((");
  tree_.write("10/io", "read_bytes: 3000\nwrite_bytes: 5000\n");
  use = look({{"s", {10}}});
  EXPECT_NEAR(use.cpu_ratio, 50 / ticks_, 1e-9);
  EXPECT_NEAR(use.read_bytes_per_second, 2000, 1e-9);
  EXPECT_NEAR(use.write_bytes_per_second, 0, 1e-9);
}

TEST_F(ProcTree, GarbageAndUnreadableEntriesAreLeftOut) {
  process(10, 1, 0);
  for (auto [pid, text] : {std::pair{"20", ""},
                           {"21", "21 (x"},
                           {"22", "22 (x) S"},
                           {"23", "23 (x) S -4 1"},
                           {"24", "((((("},
                           {"25", "\n\n)"},
                           {"26", "26 (x) S 10 1 1 0 -1 4194560 1 0 0 0 what 0 0 0 20 0 1 0 1 1 1"}})
    tree_.write(std::string(pid) + "/stat", text);
  tree_.write("27/other", "");
  tree_.write("28/stat/directory", "");
  tree_.write("not a process/stat", "");
  tree_.write("999999999999/stat", "");
  tree_.write("0/stat", "0 (x) S 10");
  auto all = reader_.look({{"s", {10, 0, 20, 4711}}});
  EXPECT_EQ(all.processes, 1u);
  EXPECT_EQ(all.sessions[0].processes, 1u);
}

TEST_F(ProcTree, AProcessThatIsNotReadableOnceIsTakenAsItWas) {
  process(10, 1, 1'000);
  process(11, 10, 5'000);
  look({{"s", {10}}});
  tree_.write("11/stat", "garbage");
  EXPECT_EQ(look({{"s", {10}}}).processes, 2u);
  process(11, 10, 5'010);
  EXPECT_NEAR(look({{"s", {10}}}).cpu_ratio, 10 / ticks_, 1e-9) << "not all it ever used";
}

TEST_F(ProcTree, ParentsInACircleBelongToNobody) {
  process(10, 1, 0);
  process(30, 31, 0);
  process(31, 30, 0);
  process(32, 32, 0);
  EXPECT_EQ(look({{"s", {10}}}).processes, 1u);
}

TEST_F(ProcTree, APidUsedAgainIsAnotherProcess) {
  process(10, 1, 0);
  process(11, 10, 9'000, 100);
  look({{"s", {10}}});
  process(11, 1, 20, 700);
  SessionUse use = look({{"s", {10}}});
  EXPECT_EQ(use.processes, 1u);
  EXPECT_EQ(use.cpu_ratio, 0);
}

TEST_F(ProcTree, TimeThatCameFromAnEndedGrandchildIsNotCountedTwice) {
  process(10, 1, 0);
  process(11, 10, 100);
  process(12, 11, 200);
  look({{"s", {10}}});
  tree_.remove("11");
  tree_.remove("12");
  process(10, 1, 0, 100, "x", 330);  // 300 of it are known
  EXPECT_NEAR(look({{"s", {10}}}).cpu_ratio, 30 / ticks_, 1e-9);
  EXPECT_EQ(look({{"s", {10}}}).cpu_ratio, 0);
}

TEST_F(ProcTree, AnEndedChildNobodyWaitedForTakesNothingFromItsParent) {
  process(10, 1, 0);
  process(11, 10, 100);
  look({{"s", {10}}});
  tree_.remove("11");
  process(10, 1, 40);
  EXPECT_NEAR(look({{"s", {10}}}).cpu_ratio, 40 / ticks_, 1e-9);
}

TEST_F(ProcTree, ASessionUnderANewNameWithTheSameRootsGoesOn) {
  process(10, 1, 0);
  process(11, 1, 0);  // was of the session before its parent ended
  look({{"warm", {10, 11}}});
  process(10, 1, 60);
  SessionUse use = look({{"taken", {10}}});
  EXPECT_NEAR(use.cpu_ratio, 60 / ticks_, 1e-9);
  EXPECT_EQ(use.processes, 2u);
}

TEST_F(ProcTree, ARootBelowAnotherSessionIsItsOwn) {
  process(10, 1, 0);
  process(11, 10, 0);
  process(12, 11, 0);
  auto look = reader_.look({{"outer", {10}}, {"inner", {11}}, {"gone", {99}}});
  EXPECT_EQ(look.sessions[0].processes, 1u);
  EXPECT_EQ(look.sessions[1].processes, 2u);
  EXPECT_EQ(look.sessions[2].processes, 0u);
}

TEST(Processes, WithoutAProcThereIsNothing) {
  SystemClock clock;
  ProcessReader reader("/does/not/exist", clock);
  auto look = reader.look({{"s", {1}}});
  EXPECT_EQ(look.processes, 0u);
  EXPECT_EQ(look.sessions.size(), 1u);
}

}  // namespace
}  // namespace lucid::monitor
