// What a tick of 1000 series costs, and what questions over each tier do. The file is filled once, with 3 days of minutes and 90 of hours.
#include <fstream>
#include <random>
#include <string>

#include <benchmark/benchmark.h>

#include "lib/base/file_ops.hpp"
#include "rdp/monitor/history/history.hpp"

namespace {

using namespace lucid;
using namespace lucid::monitor;

constexpr std::int64_t kMinute = 60'000, kHour = 60 * kMinute, kDay = 24 * kHour, kStart = 1'700'000'000'000 / kHour * kHour;

// 13 metrics of 87 sessions and 90 of the host, as a busy machine has them: some rest, some change all the time.
std::vector<Reading> thousand_readings(std::mt19937_64& random) {
  std::vector<Reading> readings;
  auto add = [&](const Metric& metric, std::string subject) {
    bool ratio = metric.name.ends_with("ratio") || metric.name.ends_with("seconds") || metric.name.ends_with("per_second");
    bool rests = random() % 4 == 0;
    double value = rests   ? 0
                   : ratio ? static_cast<double>(random() >> 11) / (1ull << 53)
                           : 4096.0 * static_cast<double>(random() % 1'000'000);
    readings.push_back({metric.name, std::move(subject), value});
  };
  for (const Metric& metric : catalogue()) {
    if (metric.subject == Subject::none) add(metric, "");
    if (metric.subject == Subject::session)
      for (int s = 0; s < 87; ++s) add(metric, "018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f" + std::to_string(10 + s));
    if (metric.subject == Subject::service || metric.subject == Subject::mount)
      for (int s = 0; s < 10; ++s) add(metric, "service-" + std::to_string(s));
  }
  return readings;
}

std::uint64_t written_bytes() {
  std::ifstream io("/proc/self/io");
  std::string key;
  std::uint64_t value = 0;
  while (io >> key >> value)
    if (key == "write_bytes:") return value;
  return 0;
}

struct Filled {
  Filled() : history(directory.path() + "/history.db", {.max_bytes = 1ull << 30}) {
    std::mt19937_64 random(1);
    for (; now < kStart + 88 * kDay; now += 10 * kMinute) history.append(now, thousand_readings(random));
    for (; now < kStart + 90 * kDay - 2 * kHour; now += kMinute / 2) history.append(now, thousand_readings(random));
    for (; now < kStart + 90 * kDay; now += 5'000) history.append(now, thousand_readings(random));
  }
  static Filled& one() {
    static Filled filled;
    return filled;
  }
  TempDir directory;
  std::int64_t now = kStart;
  History history;
};

void append_1000(benchmark::State& state) {
  Filled& filled = Filled::one();
  std::mt19937_64 random(2);
  std::vector<std::vector<Reading>> ticks;
  for (int i = 0; i < 16; ++i) ticks.push_back(thousand_readings(random));
  std::uint64_t before = written_bytes();
  std::size_t i = 0;
  for (auto _ : state) filled.history.append(filled.now += 5'000, ticks[i++ % ticks.size()]);
  state.counters["series"] = static_cast<double>(ticks[0].size());
  state.counters["bytes_per_tick"] = static_cast<double>(written_bytes() - before) / static_cast<double>(state.iterations());
  state.counters["file_mb"] = static_cast<double>(filled.history.size().bytes) / 1e6;
}
BENCHMARK(append_1000)->Iterations(1'500)->Unit(benchmark::kMicrosecond);

void query_back(benchmark::State& state, std::int64_t back, bool all) {
  Filled& filled = Filled::one();
  HistoryQuery query{.metric = "session_cpu_ratio", .from_ms = filled.now - back, .to_ms = filled.now + 1};
  if (!all) query.subject = "018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f42";
  HistoryAnswer answer;
  for (auto _ : state) answer = filled.history.query(query);
  state.SetLabel(answer.tier);
  state.counters["points"] = answer.lines.empty() ? 0 : static_cast<double>(answer.lines[0].points.size());
  state.counters["lines"] = static_cast<double>(answer.lines.size());
}
BENCHMARK_CAPTURE(query_back, one_2h, 2 * kHour, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(query_back, one_48h, 48 * kHour - kMinute, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(query_back, one_90d, 90 * kDay - kHour, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(query_back, all_87_2h, 2 * kHour, true)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(query_back, all_87_48h, 48 * kHour - kMinute, true)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(query_back, all_87_90d, 90 * kDay - kHour, true)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
