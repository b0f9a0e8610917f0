#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>

#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rdp/monitor/readings/containers.hpp"
#include "rdp/monitor/readings/test_tree.hpp"

namespace lucid::monitor {
namespace {

const std::string kId = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const std::string kOther = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

class ContainersTest : public testing::Test {
 protected:
  ContainersTest() { tree_.write("proc/self/cgroup", "0::/\n"); }
  std::map<std::string, Container> look() {
    clock_.advance(1'000);
    std::map<std::string, Container> found;
    for (Container& c : reader_.look()) EXPECT_TRUE(found.emplace(c.name, c).second) << c.name << " is there twice";
    return found;
  }
  void unified_group(const std::string& group, int usage_ms, int periods, int throttled, const std::string& cpu_max) {
    std::string at = "cg" + group;
    tree_.write(at + "/cpu.stat", "usage_usec " + std::to_string(usage_ms * 1000) + "\nuser_usec 1\nsystem_usec 1\nnr_periods " +
                                      std::to_string(periods) + "\nnr_throttled " + std::to_string(throttled) + "\nthrottled_usec 5\n");
    tree_.write(at + "/cpu.max", cpu_max + "\n");
    tree_.write(at + "/memory.current", "1000000\n");
    tree_.write(at + "/memory.stat", "anon 1\nfile 2\ninactive_anon 7\nactive_anon 8\ninactive_file 250000\n");
    tree_.write(at + "/memory.max", "4000000\n");
    tree_.write(at + "/pids.current", "5\n");
    tree_.write(at + "/pids.max", "max\n");
  }
  Tree tree_;
  ManualClock clock_;
  ContainerReader reader_{tree_.at("cg"), tree_.at("proc"), clock_, tree_.at("docker")};
};

TEST_F(ContainersTest, OfVersion2InATreeMadeByHandAreReadByTheirFiles) {
  tree_.write("cg/cgroup.controllers", "cpuset cpu io memory pids\n");
  const std::string group = "/system.slice/docker-" + kId + ".scope";
  tree_.write("docker/" + kId + "/config.v2.json", R"({"ID":"x","Name":"/web-1","State":{}})");
  unified_group(group, 5'000, 100, 10, "150000 100000");
  Container first = look().at("web-1");
  EXPECT_TRUE(std::isnan(first.cpu_ratio));
  EXPECT_EQ(first.cpu_limit_cores, 1.5);
  EXPECT_EQ(first.memory_bytes, 750'000u);
  EXPECT_EQ(first.memory_limit_bytes, 4'000'000u);
  EXPECT_EQ(first.pids, 5u);
  EXPECT_EQ(first.pids_limit, std::nullopt);
  unified_group(group, 5'750, 110, 12, "150000 100000");
  Container second = look().at("web-1");
  EXPECT_NEAR(second.cpu_ratio, 0.75, 1e-9);
  EXPECT_NEAR(second.cpu_throttled_ratio, 0.2, 1e-9);
  EXPECT_EQ(look().at("web-1").cpu_throttled_ratio, 0) << "it was idle";
  unified_group(group, 10, 0, 0, "max 100000");  // began again, without a limit
  Container third = look().at("web-1");
  EXPECT_TRUE(std::isnan(third.cpu_ratio));
  EXPECT_TRUE(std::isnan(third.cpu_limit_cores));
  EXPECT_TRUE(std::isnan(third.cpu_throttled_ratio));
}

TEST_F(ContainersTest, OfVersion2InATreeMadeByHandAreFoundWhereDockerPodmanAndTheServerManagerPutThem) {
  tree_.write("cg/cgroup.controllers", "cpu memory pids\n");
  tree_.write("proc/self/cgroup", "0::/system.slice/lucid.service\n");
  unified_group("/system.slice/lucid.service", 1, 0, 0, "max 100000");
  unified_group("/system.slice/ssh.service", 1, 0, 0, "max 100000");
  unified_group("/docker/" + kId, 1, 0, 0, "max 100000");
  unified_group("/docker/" + kId + "/init.scope", 1, 0, 0, "max 100000");
  unified_group("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + kOther + ".scope", 1, 0, 0, "max 100000");
  unified_group("/lucid-rdp/0190-server", 1, 0, 0, "max 100000");
  std::vector<std::string> names;
  for (const auto& [name, c] : look()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"/system.slice/lucid.service", "0123456789ab", "fedcba987654", "lucid-rdp/0190-server"}));
}

TEST_F(ContainersTest, InAContainerWithItsOwnRootOfVersion2ItIsThatRoot) {
  tree_.write("cg/cgroup.controllers", "cpu memory pids\n");
  EXPECT_EQ(look().size(), 0u) << "the host's root is no group";
  unified_group("", 10, 0, 0, "max 100000");
  auto found = look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found.at("/").memory_bytes, 750'000u);
  // As the host sees it, with the own part of the tree mounted.
  tree_.write("proc/self/cgroup", "0::/docker/" + kId + "\n");
  EXPECT_EQ(look().at("0123456789ab").memory_bytes, 750'000u);
}

TEST_F(ContainersTest, OfVersion1InATreeMadeByHandWithControllersMountedTogether) {
  tree_.write("proc/self/cgroup", "4:memory:/docker/" + kId + "\n3:cpu,cpuacct:/docker/" + kId + "\n2:pids:/\n0::/\n");
  for (const char* place : {"cpu,cpuacct", "memory", "pids"}) tree_.write(std::string("cg/") + place + "/cgroup.procs", "");
  const std::string both = "cg/cpu,cpuacct/docker/" + kId, memory = "cg/memory/docker/" + kId;
  tree_.write(both + "/cpuacct.usage", "1000000000\n");
  tree_.write(both + "/cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n");
  tree_.write(both + "/cpu.cfs_quota_us", "-1\n");
  tree_.write(both + "/cpu.cfs_period_us", "100000\n");
  tree_.write(memory + "/memory.usage_in_bytes", "900\n");
  tree_.write(memory + "/memory.stat", "inactive_file 1\ntotal_inactive_file 100\n");
  tree_.write(memory + "/memory.limit_in_bytes", "9223372036854771712\n");
  look();
  tree_.write(both + "/cpuacct.usage", "1250000000\n");
  auto found = look();
  ASSERT_EQ(found.size(), 1u);
  Container& c = found.at("0123456789ab");
  EXPECT_NEAR(c.cpu_ratio, 0.25, 1e-9);
  EXPECT_TRUE(std::isnan(c.cpu_limit_cores));
  EXPECT_EQ(c.memory_bytes, 800u);
  EXPECT_EQ(c.memory_limit_bytes, std::nullopt);
}

TEST_F(ContainersTest, NonsenseInATreeMadeByHandIsUnknown) {
  tree_.write("cg/cgroup.controllers", "cpu memory pids\n");
  for (const char* file : {"cpu.stat", "cpu.max", "memory.current", "memory.stat", "memory.max", "pids.current", "pids.max"})
    tree_.write("cg/docker/" + kId + "/" + file, "usage_usec -1\nmax max max\n99999999999999999999999");
  tree_.write("docker/" + kId + "/config.v2.json", "[[[[");
  look();
  Container c = look().at("0123456789ab");
  EXPECT_TRUE(std::isnan(c.cpu_ratio));
  EXPECT_EQ(c.memory_bytes, 0u);
  EXPECT_EQ(c.memory_limit_bytes, std::nullopt);
}

TEST_F(ContainersTest, AreAtMost256) {
  tree_.write("cg/cgroup.controllers", "cpu memory pids\n");
  for (int i = 0; i < 400; ++i) std::filesystem::create_directories(tree_.at("cg/lucid-rdp/" + std::to_string(i)));
  EXPECT_EQ(look().size(), 256u);
}

// A group of this machine's version 1, as Docker would make it, and gone afterwards.
class RealGroup {
 public:
  RealGroup() {
    for (const char* controller : {"cpu", "cpuacct", "memory", "pids"}) {
      std::string parent = std::string("/sys/fs/cgroup/") + controller + "/docker";
      if (::mkdir(parent.c_str(), 0755) == 0) made_.push_back(parent);
      std::string group = parent + "/" + id_;
      if (::mkdir(group.c_str(), 0755) != 0) {
        ready_ = false;
        continue;
      }
      made_.push_back(group);
    }
  }
  ~RealGroup() {
    for (auto it = made_.rbegin(); it != made_.rend(); ++it) ::rmdir(it->c_str());
  }
  bool ready() const { return ready_; }
  std::string at(const std::string& controller, const std::string& file) const {
    return "/sys/fs/cgroup/" + controller + "/docker/" + id_ + "/" + file;
  }
  bool write(const std::string& controller, const std::string& file, const std::string& text) const {
    std::ofstream out(at(controller, file));
    out << text;
    out.close();
    return !out.fail();
  }
  std::string name() const { return id_.substr(0, 12); }

 private:
  static std::string unique() {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx",
                  static_cast<unsigned long long>(::getpid()) << 32 |
                      static_cast<unsigned>(std::chrono::steady_clock::now().time_since_epoch().count()));
    return std::string(text) + text + text + text;
  }
  std::string id_ = unique();
  std::vector<std::string> made_;
  bool ready_ = true;
};

TEST(RealContainers, OfVersion1OnThisMachineAreAsTheirFilesSay) {
  RealGroup group;
  if (!group.ready()) GTEST_SKIP() << "not run: no writable cgroups of version 1 here";
  bool limited = group.write("cpu", "cpu.cfs_quota_us", "30000");
  group.write("memory", "memory.limit_in_bytes", std::to_string(256 << 20));
  group.write("pids", "pids.max", "17");
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    char c = 0;
    if (::read(go[0], &c, 1) != 1) ::_exit(1);
    std::vector<char> memory(32 << 20, 'x');
    for (std::atomic<std::uint64_t> n = 0;; ++n) {}
  }
  for (const char* controller : {"cpu", "cpuacct", "memory", "pids"})
    EXPECT_TRUE(group.write(controller, "cgroup.procs", std::to_string(child))) << controller;
  ManualClock clock;  // looks are a second apart: a ratio is seconds of CPU time
  ContainerReader reader("/sys/fs/cgroup", "/proc", clock);
  auto look = [&] {
    for (Container& c : reader.look())
      if (c.name == group.name()) return c;
    ADD_FAILURE() << "the group was not found";
    return Container{};
  };
  auto used_ns = [&] { return std::stod(text_of(group.at("cpuacct", "cpuacct.usage"))); };
  auto periods = [&] {
    std::istringstream text(text_of(group.at("cpu", "cpu.stat")));
    std::map<std::string, double> of;
    for (std::string key; text >> key;) text >> of[key];
    return std::pair{of["nr_periods"], of["nr_throttled"]};
  };
  ASSERT_EQ(::write(go[1], "g", 1), 1);
  while (used_ns() < 60e6) ::usleep(1'000);
  double before = used_ns();
  look();
  double after = used_ns();
  auto [periods_before, throttled_before] = periods();
  while (used_ns() - after < 250e6) ::usleep(5'000);
  clock.advance(1'000);
  double least = used_ns() - after;
  Container c = look();
  double most = used_ns() - before;
  EXPECT_GE(c.cpu_ratio, 0.98 * least / 1e9);
  EXPECT_LE(c.cpu_ratio, 1.02 * most / 1e9);
  if (limited) {
    EXPECT_NEAR(c.cpu_limit_cores, 0.3, 1e-9);
    auto [periods_after, throttled_after] = periods();
    // A period may end between the look and here.
    double passed = periods_after - periods_before;
    EXPECT_NEAR(c.cpu_throttled_ratio, (throttled_after - throttled_before) / passed, 1.5 / passed);
  }
  EXPECT_EQ(c.memory_limit_bytes, 256u << 20);
  double charged = std::stod(text_of(group.at("memory", "memory.usage_in_bytes")));
  EXPECT_NEAR(static_cast<double>(c.memory_bytes), charged, 0.02 * charged + (1 << 20));
  EXPECT_GT(c.memory_bytes, 30u << 20);
  EXPECT_EQ(c.pids, std::stoull(text_of(group.at("pids", "pids.current"))));
  EXPECT_EQ(c.pids_limit, 17u);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(go[0]);
  ::close(go[1]);
}

}  // namespace
}  // namespace lucid::monitor
