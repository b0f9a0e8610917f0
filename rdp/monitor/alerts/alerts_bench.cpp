// What a tick costs: 1000 readings held against the built-in rules and some of one's own, 40 in all, with nothing firing and with 50 firing.
#include <benchmark/benchmark.h>

#include "lib/store/memory_documents.hpp"
#include "rdp/monitor/alerts/alerts.hpp"

using namespace lucid;
using namespace lucid::monitor;

namespace {

void BM_judge(benchmark::State& state) {
  store::MemoryDocuments documents;
  ManualClock clock;
  SeededRandom random(1);
  Alerts alerts(documents, clock, random, [](const AlertEvent&) {});
  for (std::size_t i = default_rules().size(); i < 40; ++i) {
    Rule r = default_rules().back();
    r.name = "own_" + std::to_string(i);
    r.metric = i % 2 == 0 ? "session_memory_bytes" : "session_cpu_ratio";
    r.threshold = r.clear = 100;
    alerts.put_rule(r);
  }
  std::vector<Reading> readings;
  std::size_t kinds = catalogue().size();
  for (std::size_t i = 0; readings.size() < 1'000; ++i) {
    const Metric& metric = catalogue()[i % kinds];
    bool many = metric.subject == Subject::session;
    for (int s = 0; s < (many ? 50 : 4) && readings.size() < 1'000; ++s)
      readings.push_back({metric.name, metric.subject == Subject::none ? "" : "019ab3f2-6d1e-7c3a-9f00-0000000000" + std::to_string(10 + s),
                          metric.name == "session_memory_growth_bytes" && state.range(0) > 0 ? 2e9 : 0.5});
  }
  for (auto _ : state) {
    clock.advance(5'000);
    alerts.judge(readings);
  }
  state.counters["live"] = static_cast<double>(alerts.live().size());
}
BENCHMARK(BM_judge)->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
