// The alert command against real programs: what it is given, that it is ended, and that nothing is left behind.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include <sys/stat.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include "lib/base/file_ops.hpp"
#include "rdp/monitor/alerts/command.hpp"

using namespace lucid;
using namespace lucid::monitor;

namespace {

AlertEvent event_about(const std::string& subject) {
  AlertEvent e;
  e.seq = 7;
  e.alert.rule = "disk_full";
  e.alert.metric = "host_disk_used_ratio";
  e.alert.subject = subject;
  e.alert.severity = Severity::critical;
  e.alert.state = AlertState::firing;
  return e;
}

std::string text_of_file(const std::string& path) {
  std::ifstream in(path);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

struct Place {
  TempDir dir;
  std::string program(const std::string& body) {
    std::string path = dir.path() + "/command";
    std::ofstream(path) << "#!/bin/sh\ncd '" << dir.path() << "'\n" << body << "\n";
    ::chmod(path.c_str(), 0700);
    return path;
  }
  // Waits for the counts to say so: the notifier has nothing else to wait on.
  template <class F>
  static bool until(F f) {
    for (int i = 0; i < 10'000; ++i) {
      if (f()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
};

std::size_t open_files() {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator("/proc/self/fd")) ++n;
  return n;
}

TEST(AlertCommand, IsGivenTheEventAndAnEnvironmentOfItsOwn) {
  Place place;
  std::string program = place.program("cat > input; env > environment; echo $# > arguments; pwd -P >/dev/null");
  ::setenv("LUCID_TEST_SECRET", "x", 1);
  CommandNotifier notifier(program);
  AlertEvent e = event_about("/mnt/a b; $(touch pwned)");
  notifier.notify(e);
  ASSERT_TRUE(Place::until([&] { return notifier.counts().done == 1; }));
  EXPECT_EQ(json::parse(text_of_file(place.dir.path() + "/input")), to_json(e));
  std::string environment = text_of_file(place.dir.path() + "/environment");
  for (const char* line : {"LUCID_ALERT_STATE=firing\n", "LUCID_ALERT_RULE=disk_full\n", "LUCID_ALERT_SEVERITY=critical\n",
                           "LUCID_ALERT_SUBJECT=/mnt/a b; $(touch pwned)\n", "PATH="})
    EXPECT_THAT(environment, testing::HasSubstr(line));
  EXPECT_THAT(environment, testing::Not(testing::HasSubstr("LUCID_TEST_SECRET")));
  EXPECT_EQ(text_of_file(place.dir.path() + "/arguments"), "0\n");
  EXPECT_FALSE(std::filesystem::exists(place.dir.path() + "/pwned"));
}

TEST(AlertCommand, IsRunOneAtATimeInOrderAndLeavesNoFileOpen) {
  Place place;
  std::string program =
      place.program("mkdir busy || echo twice >> order; echo $LUCID_ALERT_SUBJECT >> order; ls /proc/self/fd | wc -l >> fds; rmdir busy");
  CommandNotifier notifier(program);
  std::size_t before = open_files();
  for (int i = 0; i < 20; ++i) notifier.notify(event_about(std::to_string(i)));
  ASSERT_TRUE(Place::until([&] { return notifier.counts().done == 20; }));
  std::string order;
  for (int i = 0; i < 20; ++i) order += std::to_string(i) + "\n";
  EXPECT_EQ(text_of_file(place.dir.path() + "/order"), order);
  EXPECT_EQ(open_files(), before);
}

TEST(AlertCommand, ThatDoesNotReadFailsOrIsMissingIsCountedAndOthersFollow) {
  Place place;
  {
    CommandNotifier notifier("/bin/true");
    AlertEvent e = event_about("/");
    e.alert.summary.assign(200'000, 'x');  // more than any pipe holds
    notifier.notify(e);
    EXPECT_TRUE(Place::until([&] { return notifier.counts().done == 1; }));
  }
  CommandNotifier missing(place.dir.path() + "/none");
  missing.notify(event_about("/"));
  EXPECT_TRUE(Place::until([&] { return missing.counts().failed == 1; }));
  CommandNotifier fails(place.program("[ $LUCID_ALERT_SUBJECT = ok ] || exit 3"));
  fails.notify(event_about("bad"));
  fails.notify(event_about("ok"));
  EXPECT_TRUE(Place::until([&] { return fails.counts().failed == 1 && fails.counts().done == 1; }));
  EXPECT_THROW(CommandNotifier("relative/path"), Error);
  EXPECT_THROW(CommandNotifier(""), Error);
}

// The pid a program wrote, once it has.
pid_t pid_in(const std::string& path) {
  Place::until([&] { return text_of_file(path).ends_with("\n"); });
  std::string text = text_of_file(path);
  return text.empty() ? 0 : static_cast<pid_t>(std::stoi(text));
}

bool runs(pid_t pid) {
  std::string status = text_of_file("/proc/" + std::to_string(pid) + "/status");
  return !status.empty() && status.find("State:\tZ") == std::string::npos;
}

TEST(AlertCommand, ThatTakesTooLongIsKilledWithItsChildren) {
  Place place;
  std::string program = place.program("sleep 1000 & echo $! > child; wait");
  pid_t child = 0;
  // Where the machine is so busy that the program was killed before it could say who its child is, it gets more time.
  for (int deadline_ms = 300; child == 0 && deadline_ms < 20'000; deadline_ms *= 4) {
    CommandNotifier notifier(program, std::chrono::milliseconds(deadline_ms));
    notifier.notify(event_about("/"));
    ASSERT_TRUE(Place::until([&] { return notifier.counts().failed == 1; }));
    std::string text = text_of_file(place.dir.path() + "/child");
    if (text.ends_with("\n")) child = static_cast<pid_t>(std::stoi(text));
  }
  ASSERT_GT(child, 0);
  EXPECT_TRUE(Place::until([&] { return !runs(child); }));
}

TEST(AlertCommand, ThatRunsIsEndedWithTheNotifierAndTooManyAreLeftOut) {
  Place place;
  pid_t child = 0;
  auto began = std::chrono::steady_clock::now();
  {
    CommandNotifier notifier(place.program("echo $$ > child; exec sleep 1000"), std::chrono::seconds(600));
    notifier.notify(event_about("first"));
    child = pid_in(place.dir.path() + "/child");
    ASSERT_GT(child, 0);
    for (std::size_t i = 0; i < CommandNotifier::kMaxWaiting + 5; ++i) notifier.notify(event_about("next"));
    EXPECT_EQ(notifier.counts().left_out, 5u);
  }
  EXPECT_FALSE(runs(child));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(60));
}

}  // namespace
