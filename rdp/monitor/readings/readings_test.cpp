#include <set>

#include "rdp/monitor/readings/readings.hpp"
#include "rdp/monitor/readings/test_tree.hpp"

namespace lucid::monitor {
namespace {

Host some_host() {
  Host h;
  h.cpu_used_ratio = 0.5;
  h.cpu_iowait_ratio = 0.25;
  h.cpu_steal_ratio = 0;
  h.core_used_ratio = {0.5, kUnknown};
  h.load_1m = 1;
  h.load_5m = 2;
  h.load_15m = 3;
  h.memory_total_bytes = 1000;
  h.memory_available_bytes = 250;
  h.swap_total_bytes = 100;
  h.swap_free_bytes = 75;
  h.pressure_cpu = Pressure{0.125, 0};
  h.pressure_io = Pressure{0.5, kUnknown};
  h.disks = {{"/", "/dev/sda1", 2000, 500, 0.75, kUnknown, 1, 2, 0.5, 0.25}};
  h.interfaces = {{"eth0", 1, 2, 0}};
  h.temperatures = {{"cpu-thermal", 48.5}};
  h.undervoltage = true;
  h.clock_jump_seconds = 1.5;
  h.processes = 7;
  h.problems = {"/proc/pressure/memory: Permission denied"};
  return h;
}

TEST(ReadingsJson, OfTheHostHasTheShapeOfTheApi) {
  EXPECT_EQ(
      json::serialize(to_json(some_host())),
      R"({"cpu":{"used_ratio":5E-1,"iowait_ratio":2.5E-1,"steal_ratio":0E0,"cores":[5E-1,null]},"load":[1E0,2E0,3E0],)"
      R"("memory":{"total_bytes":1000,"available_bytes":250,"used_bytes":750,"used_ratio":7.5E-1,"swap_total_bytes":100,"swap_used_bytes":25},)"
      R"("pressure":{"cpu":{"some_ratio":1.25E-1},"memory":null,"io":{"some_ratio":5E-1,"full_ratio":null}},)"
      R"("disks":[{"mount":"/","device":"/dev/sda1","total_bytes":2000,"free_bytes":500,"used_ratio":7.5E-1,"inodes_used_ratio":null,)"
      R"("read_bytes_per_second":1E0,"write_bytes_per_second":2E0,"latency_seconds":5E-1,"busy_ratio":2.5E-1}],)"
      R"("network":[{"interface":"eth0","receive_bytes_per_second":1E0,"transmit_bytes_per_second":2E0,"errors_per_second":0E0}],)"
      R"("temperatures":[{"zone":"cpu-thermal","celsius":4.85E1}],"throttled":null,"undervoltage":true,"clock_jump_seconds":1.5E0,)"
      R"("processes":7,"problems":["/proc/pressure/memory: Permission denied"]})");
}

TEST(ReadingsJson, OfWhatIsNotKnownIsNull) {
  EXPECT_EQ(
      json::serialize(to_json(Host{}).at("memory")),
      R"({"total_bytes":null,"available_bytes":null,"used_bytes":null,"used_ratio":null,"swap_total_bytes":null,"swap_used_bytes":null})");
  EXPECT_EQ(json::serialize(to_json(Host{}).at("load")), "[null,null,null]");
}

TEST(ReadingsJson, OfAContainerAServiceAndASessionHaveTheShapesOfTheApi) {
  Container c;
  c.name = "web";
  c.cpu_limit_cores = 2;
  c.memory_bytes = 5;
  c.pids = 3;
  c.pids_limit = 100;
  EXPECT_EQ(json::serialize(to_json(c)),
            R"({"name":"web","cpu_ratio":null,"cpu_limit_cores":2E0,"cpu_throttled_ratio":null,"memory_bytes":5,"memory_limit_bytes":null,)"
            R"("pids":3,"pids_limit":100})");
  Service s;
  s.name = "session-storage";
  s.problem = "refused";
  EXPECT_EQ(
      json::serialize(to_json(s)),
      R"({"service":"session-storage","up":false,"healthy":false,"problem":"refused","version":"","scrape_seconds":null,"uptime_seconds":null,)"
      R"("cpu_ratio":null,"memory_bytes":null,"open_files":null,"requests_per_second":null,"errors_per_second":null})");
  Session e;
  e.id = "i";
  e.display = ":10";
  e.state = "recording";
  e.frames_per_second = 15;
  EXPECT_EQ(json::serialize(to_json(e)),
            R"({"session_id":"i","display":":10","state":"recording","alarm":"","cpu_ratio":null,"memory_bytes":0,"memory_growth_bytes":0,)"
            R"("processes":0,"read_bytes_per_second":null,"write_bytes_per_second":null,"receive_bytes_per_second":null,)"
            R"("transmit_bytes_per_second":null,"frames_per_second":1.5E1,"backlog":0})");
}

double value_of(const std::vector<Reading>& readings, std::string_view metric, std::string_view subject = "") {
  double value = kUnknown;
  for (const Reading& r : readings)
    if (r.metric == metric && r.subject == subject) value = r.value;
  return value;
}

TEST(Readings, AreOfTheCatalogueAndLeaveOutWhatIsNotKnown) {
  std::vector<Reading> readings;
  append_readings(some_host(), readings);
  EXPECT_EQ(value_of(readings, "host_memory_used_ratio"), 0.75);
  EXPECT_EQ(value_of(readings, "host_swap_used_ratio"), 0.25);
  EXPECT_EQ(value_of(readings, "host_cpu_core_used_ratio", "0"), 0.5);
  EXPECT_EQ(value_of(readings, "host_disk_used_ratio", "/"), 0.75);
  EXPECT_EQ(value_of(readings, "host_disk_latency_seconds", "/dev/sda1"), 0.5);
  EXPECT_EQ(value_of(readings, "host_undervoltage"), 1);
  Container c;
  c.name = "web";
  c.cpu_ratio = 1;
  c.cpu_limit_cores = 2;
  c.memory_bytes = 50;
  c.memory_limit_bytes = 100;
  append_readings(c, readings);
  EXPECT_EQ(value_of(readings, "container_cpu_used_ratio", "web"), 0.5);
  EXPECT_EQ(value_of(readings, "container_memory_used_ratio", "web"), 0.5);
  Service down, up;
  down.name = "down";
  up.name = "up";
  up.up = up.healthy = true;
  up.memory_bytes = 9;
  append_readings(down, readings);
  append_readings(up, readings);
  EXPECT_EQ(value_of(readings, "service_up", "down"), 0);
  EXPECT_EQ(value_of(readings, "service_healthy", "up"), 1);
  EXPECT_EQ(value_of(readings, "service_memory_bytes", "up"), 9);
  Session display, server;
  display.id = "display";
  server.id = "server";
  server.processes = 3;
  server.cpu_ratio = 0.5;
  append_readings(display, readings);
  append_readings(server, readings);
  EXPECT_EQ(value_of(readings, "session_cpu_ratio", "server"), 0.5);
  std::set<std::pair<std::string_view, std::string>> seen;
  for (const Reading& r : readings) {
    EXPECT_NE(find_metric(r.metric), nullptr) << r.metric;
    EXPECT_TRUE(std::isfinite(r.value)) << r.metric;
    EXPECT_TRUE(seen.emplace(r.metric, r.subject).second) << r.metric << " twice of " << r.subject;
    EXPECT_EQ(find_metric(r.metric)->subject == Subject::none, r.subject.empty()) << r.metric;
    EXPECT_FALSE(r.metric.starts_with("host_pressure_memory") || r.metric == "host_throttled" || r.metric == "host_pressure_io_full_ratio");
    EXPECT_FALSE(r.subject == "display");
    EXPECT_FALSE(r.subject == "down" && r.metric != "service_up" && r.metric != "service_healthy") << r.metric;
  }
}

}  // namespace
}  // namespace lucid::monitor
