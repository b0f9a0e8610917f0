// What a look costs. The monitor's budget: 200 processes in 10 ms, ten expositions of 50 KB in 3 ms, 1 % of a core in all.
#include <csignal>
#include <vector>

#include <benchmark/benchmark.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rdp/monitor/readings/containers.hpp"
#include "rdp/monitor/readings/host.hpp"
#include "rdp/monitor/readings/processes.hpp"
#include "rdp/monitor/readings/service_figures.hpp"
#include "rdp/monitor/readings/services.hpp"

using namespace lucid;
using namespace lucid::monitor;

namespace {

// Processes that do nothing, four a session.
class Processes {
 public:
  explicit Processes(int n) {
    for (int i = 0; i < n; ++i) {
      pid_t pid = ::fork();
      if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (true) ::pause();
      }
      pids_.push_back(pid);
      if (i % 4 == 0) roots.push_back({"session-" + std::to_string(i), {}});
      roots.back().pids.push_back(static_cast<std::uint32_t>(pid));
    }
  }
  ~Processes() {
    for (pid_t pid : pids_) ::kill(pid, SIGKILL);
    for (pid_t pid : pids_) ::waitpid(pid, nullptr, 0);
  }
  std::vector<SessionRoots> roots;

 private:
  std::vector<pid_t> pids_;
};

std::string exposition() {
  std::string text = "lucid_build_info{version=\"1.0\"} 1\nprocess_cpu_seconds_total 12.5\nprocess_resident_memory_bytes 5e7\n";
  for (int route = 0; text.size() < 50'000; ++route) {
    std::string labels = "method=\"GET\",route=\"/api/v1/things/" + std::to_string(route) + "\",service=\"session-api\"";
    text += "lucid_http_requests_total{" + labels + ",status=\"200\"} 12345\n";
    for (const char* le :
         {"0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"})
      text += "lucid_http_request_duration_seconds_bucket{" + labels + ",le=\"" + le + "\"} 12345\n";
  }
  return text;
}

void look_at_processes(benchmark::State& state) {
  Processes processes(static_cast<int>(state.range(0)));
  SystemClock clock;
  ProcessReader reader("/proc", clock);
  std::uint64_t seen = 0;
  for (auto _ : state) seen = reader.look(processes.roots).processes;
  state.counters["processes"] = static_cast<double>(seen);
}
BENCHMARK(look_at_processes)->Arg(200)->Arg(500)->Unit(benchmark::kMillisecond);

void look_at_host(benchmark::State& state) {
  SystemClock clock;
  HostReader reader({}, clock);
  for (auto _ : state) benchmark::DoNotOptimize(reader.look());
}
BENCHMARK(look_at_host)->Unit(benchmark::kMillisecond);

void look_at_containers(benchmark::State& state) {
  SystemClock clock;
  ContainerReader reader("/sys/fs/cgroup", "/proc", clock);
  for (auto _ : state) benchmark::DoNotOptimize(reader.look());
}
BENCHMARK(look_at_containers)->Unit(benchmark::kMillisecond);

void figures_of_ten_services(benchmark::State& state) {
  std::string text = exposition();
  for (auto _ : state)
    for (int service = 0; service < 10; ++service) benchmark::DoNotOptimize(read_figures(text));
}
BENCHMARK(figures_of_ten_services)->Unit(benchmark::kMillisecond);

void all_samples_of_one_service(benchmark::State& state) {
  std::string text = exposition();
  for (auto _ : state) benchmark::DoNotOptimize(parse_exposition(text));
}
BENCHMARK(all_samples_of_one_service)->Unit(benchmark::kMillisecond);

// Everything that is read of this machine in one look, with 200 processes in 50 sessions.
void whole_look(benchmark::State& state) {
  Processes processes(200);
  SystemClock clock;
  ProcessReader process_reader("/proc", clock);
  HostReader host_reader({}, clock);
  ContainerReader container_reader("/sys/fs/cgroup", "/proc", clock);
  std::string text = exposition();
  std::vector<Reading> readings;
  for (auto _ : state) {
    readings.clear();
    benchmark::DoNotOptimize(process_reader.look(processes.roots));
    append_readings(host_reader.look(), readings);
    for (const Container& container : container_reader.look()) append_readings(container, readings);
    for (int service = 0; service < 10; ++service) benchmark::DoNotOptimize(read_figures(text));
  }
}
BENCHMARK(whole_look)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
