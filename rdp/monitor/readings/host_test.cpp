#include <array>
#include <cstdio>
#include <memory>

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "rdp/monitor/readings/disks.hpp"
#include "rdp/monitor/readings/host.hpp"
#include "rdp/monitor/readings/test_tree.hpp"

namespace lucid::monitor {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto kNear = 1e-9;

class SteppingClock final : public Clock {
 public:
  std::int64_t wall_ms() const override { return wall; }
  std::int64_t steady_ms() const override { return steady; }
  void pass(std::int64_t ms) { wall += ms, steady += ms; }
  std::int64_t wall = 1'700'000'000'000, steady = 1'000'000;
};

// A /proc and /sys made by hand.
class HostTest : public testing::Test {
 protected:
  HostTest() {
    tree_.write("proc/stat", "cpu  100 20 30 400 50 5 5 0 40 10\ncpu0 60 10 10 200 20 5 5 0 0 0\ncpu1 40 10 20 200 30 0 0 0 0 0\nintr 5\n");
    tree_.write("proc/meminfo", "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  400 kB\nSwapTotal: 200 kB\nSwapFree: 150 kB\n");
    tree_.write("proc/loadavg", "0.50 1.25 2.00 1/200 4711\n");
    tree_.write("proc/diskstats", "");
    tree_.write("proc/net/dev", kHeadings);
    tree_.write("proc/self/mounts", "");
  }
  HostReader& reader() {
    if (!reader_) reader_ = std::make_unique<HostReader>(HostPlaces{tree_.at("proc"), tree_.at("sys"), tree_.at("root")}, clock_);
    return *reader_;
  }
  Host look_after(std::int64_t ms) {
    clock_.pass(ms);
    return reader().look();
  }
  static constexpr const char* kHeadings =
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";
  Tree tree_;
  SteppingClock clock_;
  std::unique_ptr<HostReader> reader_;
};

TEST_F(HostTest, AFirstLookHasNoRatesAndASecondHasThoseBetween) {
  Host first = reader().look();
  EXPECT_TRUE(std::isnan(first.cpu_used_ratio));
  EXPECT_THAT(first.problems, IsEmpty());
  // 100 ticks more: 30 user of which 20 are a guest's, 50 idle, 10 iowait, 10 steal.
  tree_.write("proc/stat", "cpu  130 20 30 450 60 5 5 10 60 10\ncpu0 90 10 10 200 30 5 5 5 0 0\ncpu1 40 10 20 250 30 0 0 5 0 0\n");
  Host h = look_after(1'000);
  EXPECT_NEAR(h.cpu_used_ratio, 0.4, kNear);
  EXPECT_NEAR(h.cpu_iowait_ratio, 0.1, kNear);
  EXPECT_NEAR(h.cpu_steal_ratio, 0.1, kNear);
  ASSERT_EQ(h.core_used_ratio.size(), 2u);
  EXPECT_NEAR(h.core_used_ratio[0], 35.0 / 45, kNear);
  EXPECT_NEAR(h.core_used_ratio[1], 5.0 / 55, kNear);
}

TEST_F(HostTest, CountersThatGoBackGiveNoRateAndACoreThatIsOffKeepsItsPlace) {
  reader().look();
  tree_.write("proc/stat", "cpu  110 20 30 410 50 5 5 0 0 0\ncpu1 3 0 0 9 0 0 0 0 0 0\n");
  Host h = look_after(1'000);
  EXPECT_NEAR(h.cpu_used_ratio, 0.5, kNear);
  ASSERT_EQ(h.core_used_ratio.size(), 2u);
  EXPECT_TRUE(std::isnan(h.core_used_ratio[0]));
  EXPECT_TRUE(std::isnan(h.core_used_ratio[1]));
  // Idle and iowait alone step back a little; the rest goes on.
  tree_.write("proc/stat", "cpu  120 20 30 409 49 5 5 0 0 0\ncpu0 1 0 0 0 0 0 0 0 0 0\ncpu1 3 0 0 19 0 0 0 0 0 0\n");
  h = look_after(1'000);
  EXPECT_NEAR(h.cpu_used_ratio, 1, kNear);
  EXPECT_TRUE(std::isnan(h.core_used_ratio[0]));
  EXPECT_NEAR(h.core_used_ratio[1], 0, kNear);
}

TEST_F(HostTest, ReadsMemorySwapAndLoad) {
  Host h = reader().look();
  EXPECT_EQ(h.memory_total_bytes, 1000u << 10);
  EXPECT_EQ(h.memory_available_bytes, 400u << 10);
  EXPECT_EQ(h.swap_total_bytes - h.swap_free_bytes, 50u << 10);
  EXPECT_EQ(h.load_1m, 0.5);
  EXPECT_EQ(h.load_5m, 1.25);
  EXPECT_EQ(h.load_15m, 2);
}

TEST_F(HostTest, PressureIsTheShareOfTheIntervalAndAbsentWhereTheKernelHasNone) {
  Host h = reader().look();
  EXPECT_FALSE(h.pressure_cpu || h.pressure_memory || h.pressure_io);
  tree_.write("proc/pressure/io", "some avg10=9.00 avg60=9.00 avg300=9.00 total=5000000\nfull avg10=0 avg60=0 avg300=0 total=1000000\n");
  tree_.write("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n");
  h = look_after(1'000);
  ASSERT_TRUE(h.pressure_io);
  EXPECT_TRUE(std::isnan(h.pressure_io->some_ratio));
  tree_.write("proc/pressure/io", "some avg10=9.00 avg60=9.00 avg300=9.00 total=5500000\nfull avg10=0 avg60=0 avg300=0 total=1200000\n");
  h = look_after(2'000);
  EXPECT_NEAR(h.pressure_io->some_ratio, 0.25, kNear);
  EXPECT_NEAR(h.pressure_io->full_ratio, 0.1, kNear);
  EXPECT_NEAR(h.pressure_cpu->some_ratio, 0, kNear);
  EXPECT_TRUE(std::isnan(h.pressure_cpu->full_ratio));
  EXPECT_FALSE(h.pressure_memory);
  EXPECT_THAT(h.problems, IsEmpty());
}

TEST_F(HostTest, NetworkIsThatOfTheFirstProcessWithoutLoopback) {
  tree_.write("proc/1/net/dev", std::string(kHeadings) +
                                    "    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  eth0:1000 10 1 2 0 0 0 0 5000 9 3 4 0 0 0 0\n"
                                    "wlan0: 7 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n");
  reader().look();
  tree_.write("proc/1/net/dev", std::string(kHeadings) +
                                    "    lo: 99 9 0 0 0 0 0 0 99 9 0 0 0 0 0 0\n  eth0:3000 10 2 3 0 0 0 0 9000 9 4 5 0 0 0 0\n"
                                    "wlan0: 3 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  tun0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n");
  Host h = look_after(2'000);
  ASSERT_EQ(h.interfaces.size(), 3u);
  EXPECT_EQ(h.interfaces[0].name, "eth0");
  EXPECT_NEAR(h.interfaces[0].receive_bytes_per_second, 1000, kNear);
  EXPECT_NEAR(h.interfaces[0].transmit_bytes_per_second, 2000, kNear);
  EXPECT_NEAR(h.interfaces[0].errors_per_second, 2, kNear);
  EXPECT_EQ(h.interfaces[1].name, "tun0");
  EXPECT_TRUE(std::isnan(h.interfaces[1].receive_bytes_per_second));
  EXPECT_TRUE(std::isnan(h.interfaces[2].receive_bytes_per_second)) << "it went back";
}

TEST_F(HostTest, DisksHaveSpaceAndTheIoOfTheirDevice) {
  tree_.write("root/data/x", "");
  struct stat place{};
  ASSERT_EQ(::stat(tree_.at("root/data").c_str(), &place), 0);
  auto line = [&](const std::string& counters) {
    return "   8       0 sda 1 1 1 1 1 1 1 1 0 1 1\n " + std::to_string(major(place.st_dev)) + " " + std::to_string(minor(place.st_dev)) +
           " sda1 " + counters + "\n";
  };
  tree_.write("proc/self/mounts", "/dev/sda1 /data ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n");
  tree_.write("proc/diskstats", line("10 0 100 50 20 0 200 150 0 300 0 0 0 0 0 0 0"));
  EXPECT_TRUE(std::isnan(reader().look().disks.at(0).busy_ratio));
  tree_.write("proc/diskstats", line("12 0 300 80 28 0 1200 320 3 1300 0"));
  Host h = look_after(2'000);
  ASSERT_EQ(h.disks.size(), 1u);
  const Disk& d = h.disks[0];
  EXPECT_EQ(d.mount, "/data");
  EXPECT_EQ(d.device, "/dev/sda1");
  EXPECT_NEAR(d.read_bytes_per_second, 200 * 512 / 2.0, kNear);
  EXPECT_NEAR(d.write_bytes_per_second, 1000 * 512 / 2.0, kNear);
  EXPECT_NEAR(d.busy_ratio, 0.5, kNear);
  EXPECT_NEAR(d.latency_seconds, 0.02, kNear);  // 200 ms for 10
  EXPECT_GT(d.total_bytes, 0u);
  EXPECT_GE(d.total_bytes, d.free_bytes);
  EXPECT_EQ(look_after(1'000).disks[0].latency_seconds, 0) << "nothing was asked of it";
}

TEST_F(HostTest, TemperaturesAreOfZonesAndOfSensorsThatAreNoZones) {
  tree_.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n");
  tree_.write("sys/class/thermal/thermal_zone0/temp", "48312\n");
  tree_.write("sys/class/thermal/thermal_zone1/type", "acpitz\n");
  tree_.write("sys/class/thermal/thermal_zone1/temp", "-5000\n");
  tree_.write("sys/class/thermal/thermal_zone2/type", "acpitz\n");
  tree_.write("sys/class/thermal/thermal_zone2/temp", "broken\n");
  tree_.write("sys/class/thermal/cooling_device0/type", "fan\n");
  tree_.write("sys/class/hwmon/hwmon0/name", "cpu_thermal\n");
  tree_.write("sys/class/hwmon/hwmon0/temp1_input", "48312\n");
  tree_.write("sys/class/hwmon/hwmon1/name", "nvme\n");
  tree_.write("sys/class/hwmon/hwmon1/temp1_input", "30850\n");
  tree_.write("sys/class/hwmon/hwmon1/temp1_label", "Composite\n");
  Host h = reader().look();
  std::vector<std::string> zones;
  for (const Temperature& t : h.temperatures) zones.push_back(t.zone);
  EXPECT_EQ(zones, (std::vector<std::string>{"cpu-thermal", "acpitz", "acpitz 2", "nvme Composite"}));
  EXPECT_NEAR(h.temperatures[0].celsius, 48.312, kNear);
  EXPECT_NEAR(h.temperatures[1].celsius, -5, kNear);
  EXPECT_TRUE(std::isnan(h.temperatures[2].celsius));
  EXPECT_NEAR(h.temperatures[3].celsius, 30.85, kNear);
  EXPECT_THAT(h.problems, testing::ElementsAre(HasSubstr("thermal_zone2/temp")));
}

TEST_F(HostTest, FirmwareFlagsSayWhatIsNowAndNotWhatWas) {
  EXPECT_FALSE(reader().look().throttled.has_value());
  const std::string file = "sys/devices/platform/soc/soc:firmware/get_throttled";
  struct Case {
    const char* flags;
    bool undervoltage, throttled;
  };
  for (auto [flags, undervoltage, throttled] : {Case{"0\n", false, false}, Case{"50000\n", false, false}, Case{"50005\n", true, true},
                                                Case{"1\n", true, false}, Case{"0x2\n", false, true}, Case{"8\n", false, true}}) {
    tree_.write(file, flags);
    Host h = reader().look();
    EXPECT_EQ(h.undervoltage, undervoltage) << flags;
    EXPECT_EQ(h.throttled, throttled) << flags;
  }
  tree_.write(file, "what\n");
  Host h = reader().look();
  EXPECT_FALSE(h.throttled.has_value());
  EXPECT_THAT(h.problems, Contains(HasSubstr("get_throttled")));
}

TEST_F(HostTest, TheLargestJumpOfTheClockIsShownForAMinute) {
  reader().look();
  clock_.wall += 90;  // noise
  EXPECT_EQ(look_after(5'000).clock_jump_seconds, 0);
  clock_.wall -= 3'000;
  EXPECT_NEAR(look_after(5'000).clock_jump_seconds, 3, kNear);
  clock_.wall += 1'500;
  EXPECT_NEAR(look_after(5'000).clock_jump_seconds, 3, kNear);
  EXPECT_NEAR(look_after(54'000).clock_jump_seconds, 3, kNear);
  EXPECT_NEAR(look_after(2'000).clock_jump_seconds, 1.5, kNear);
  EXPECT_EQ(look_after(60'000).clock_jump_seconds, 0);
}

TEST_F(HostTest, WhatCannotBeReadIsUnknownAndNamed) {
  for (const char* file : {"proc/stat", "proc/meminfo", "proc/loadavg", "proc/diskstats", "proc/net/dev", "proc/self/mounts"})
    tree_.remove(file);
  Host h = reader().look();
  EXPECT_TRUE(std::isnan(h.load_1m));
  EXPECT_EQ(h.memory_total_bytes, 0u);
  for (const char* file : {"/stat", "/meminfo", "/loadavg", "/diskstats", "/net/dev", "/self/mounts"})
    EXPECT_THAT(h.problems, Contains(tree_.at("proc") + file + ": No such file or directory"));
}

TEST_F(HostTest, NonsenseIsUnknownAndNamed) {
  const std::string noise(
      "\xff\0cpu(( 18446744073709551616 -1 1e9\n\n\ncpu x y\nMemTotal: 9999999999999999999999 kB\neth0: 1 2\n 8 0 sda 1\n", 97);
  for (const char* file : {"proc/stat", "proc/meminfo", "proc/loadavg", "proc/diskstats", "proc/net/dev", "proc/pressure/cpu"})
    tree_.write(file, noise);
  tree_.write("proc/stat", "cpu  1 2 3\ncpu999999 1 2 3 4 5 6 7 8\ncpu-1 1 2 3 4 5 6 7 8\n");
  tree_.write("proc/self/mounts", noise + "/dev/x relative ext4 rw 0 0\n/dev/y /gone ext4 rw 0 0\n\\");
  reader().look();
  Host h = look_after(1'000);
  EXPECT_TRUE(std::isnan(h.cpu_used_ratio));
  EXPECT_THAT(h.core_used_ratio, IsEmpty());
  EXPECT_THAT(h.disks, IsEmpty());
  for (const char* file : {"/stat", "/meminfo", "/loadavg", "/diskstats", "/net/dev", "/pressure/cpu", "/gone"})
    EXPECT_THAT(h.problems, Contains(HasSubstr(file)));
}

TEST(Mounts, AreOfLocalFileSystemsOncePerDevice) {
  auto mounts = local_mounts(
      "proc /proc proc rw 0 0\n/dev/sda1 /srv/deep/bind ext4 rw 0 0\n/dev/sda1 / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n"
      "/dev/sdb1 /media/my\\040disk vfat rw 0 0\nserver:/x /nfs nfs4 rw 0 0\n/dev/sdc1 /nfs/below xfs rw 0 0\n/dev/sdc2 /nfsnot xfs rw 0 "
      "0\n"
      "overlay /var/lib/docker/overlay2/x/merged overlay rw 0 0\ntank/home /home zfs rw 0 0\n/dev/loop3 /snap/x squashfs ro 0 0\n"
      "/dev/sdd1 /hidden ext4 rw 0 0\ntmpfs /hidden tmpfs rw 0 0\n"
      "systemd-1 /boot autofs rw 0 0\n/dev/sde1 /boot vfat rw 0 0\nsystemd-1 /not/yet autofs rw 0 0\n");
  std::vector<std::string> shown;
  for (const Mount& m : mounts) shown.push_back(m.device + " at " + m.place);
  EXPECT_EQ(shown, (std::vector<std::string>{"/dev/sda1 at /", "/dev/sde1 at /boot", "tank/home at /home", "/dev/sdb1 at /media/my disk",
                                             "/dev/sdc2 at /nfsnot"}));
  EXPECT_EQ(local_mounts("overlay / overlay rw 0 0\n").size(), 1u);
  std::string many;
  for (int i = 0; i < 1'000; ++i) many += "/dev/d" + std::to_string(i) + " /m" + std::to_string(i) + " ext4 rw 0 0\n";
  EXPECT_EQ(local_mounts(many).size(), 64u);
}

// Against what others say of this very machine.

std::array<double, 2> busy_and_all(const std::string& cpu) {
  std::istringstream lines(text_of("/proc/stat"));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    double all = 0, idle = 0, n = 0;
    for (int i = 0; i < 8 && words >> n; ++i) {
      all += n;
      if (i == 3 || i == 4) idle += n;
    }
    if (name == cpu) return {all - idle, all};
  }
  return {0, 0};
}

TEST(ThisHost, CpuIsAsInProcStat) {
  SystemClock clock;
  HostReader reader({}, clock);
  auto cpu = busy_and_all("cpu"), core = busy_and_all("cpu0");
  reader.look();
  auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(800);
  while (std::chrono::steady_clock::now() < end) {}
  Host h = reader.look();
  auto cpu_after = busy_and_all("cpu"), core_after = busy_and_all("cpu0");
  // A core counts a hundred times a second and is read a moment apart here.
  EXPECT_NEAR(h.cpu_used_ratio, (cpu_after[0] - cpu[0]) / (cpu_after[1] - cpu[1]), 0.04);
  EXPECT_NEAR(h.core_used_ratio.at(0), (core_after[0] - core[0]) / (core_after[1] - core[1]), 0.06);
  EXPECT_GE(h.cpu_used_ratio, 0.5 / static_cast<double>(::sysconf(_SC_NPROCESSORS_CONF))) << "one core was busy all the time";
}

TEST(ThisHost, MemoryIsAsInMeminfo) {
  SystemClock clock;
  HostReader reader({}, clock);
  std::istringstream info(text_of("/proc/meminfo"));
  Host h = reader.look();
  std::map<std::string, double> kib;
  for (std::string key, unit; info >> key;) {
    info >> kib[key];
    std::getline(info, unit);
  }
  EXPECT_EQ(static_cast<double>(h.memory_total_bytes), kib["MemTotal:"] * 1024);
  EXPECT_NEAR(static_cast<double>(h.memory_available_bytes), kib["MemAvailable:"] * 1024, kib["MemTotal:"] * 1024 * 0.02);
  EXPECT_EQ(static_cast<double>(h.swap_total_bytes), kib["SwapTotal:"] * 1024);
}

TEST(ThisHost, DisksAreAsInDf) {
  SystemClock clock;
  HostReader reader({}, clock);
  Host h = reader.look();
  std::size_t compared = 0;
  for (const Disk& d : h.disks) {
    std::unique_ptr<FILE, int (*)(FILE*)> df(
        ::popen(("df -B1 --output=size,avail,used,itotal,iused '" + d.mount + "' 2>/dev/null | tail -1").c_str(), "r"), ::pclose);
    ASSERT_TRUE(df);
    double size = 0, avail = 0, used = 0, inodes = 0, inodes_used = 0;
    if (std::fscanf(df.get(), "%lf %lf %lf %lf %lf", &size, &avail, &used, &inodes, &inodes_used) != 5) continue;
    ++compared;
    EXPECT_EQ(static_cast<double>(d.total_bytes), size) << d.mount;
    EXPECT_NEAR(static_cast<double>(d.free_bytes), avail, size * 0.02) << d.mount;
    EXPECT_NEAR(d.used_ratio, used / (used + avail), 0.02) << d.mount;
    if (inodes > 0) { EXPECT_NEAR(d.inodes_used_ratio, inodes_used / inodes, 0.02) << d.mount; }
  }
  EXPECT_EQ(compared, h.disks.size());
}

}  // namespace
}  // namespace lucid::monitor
