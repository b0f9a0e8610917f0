#include "lib/runtime/metrics.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <mutex>
#include <sstream>

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "lib/base/clock.hpp"
#include "lib/base/error.hpp"
#include "lib/runtime/version.hpp"

namespace lucid::runtime {
namespace {

const std::vector<double> kLatencyBuckets = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};

class OneCounter final : public Counter {
 public:
  explicit OneCounter(prometheus::Counter& counter) : counter_(counter) {}
  void add(double n) override { counter_.Increment(n); }

 private:
  prometheus::Counter& counter_;
};

class OneGauge final : public Gauge {
 public:
  explicit OneGauge(prometheus::Gauge& gauge) : gauge_(gauge) {}
  void set(double v) override { gauge_.Set(v); }
  void add(double n) override { gauge_.Increment(n); }

 private:
  prometheus::Gauge& gauge_;
};

class OneHistogram final : public Histogram {
 public:
  explicit OneHistogram(prometheus::Histogram& histogram) : histogram_(histogram) {}
  void observe(double v) override { histogram_.Observe(v); }

 private:
  prometheus::Histogram& histogram_;
};

// [a-zA-Z_][a-zA-Z0-9_]*, not starting with "__": the names Prometheus lets a program choose.
void check_name(const std::string& name) {
  bool good = !name.empty() && !(name[0] >= '0' && name[0] <= '9') && !name.starts_with("__") &&
              std::all_of(name.begin(), name.end(),
                          [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; });
  if (!good) throw Error(ErrorKind::internal, "'" + name + "' is not a metric or label name");
}

prometheus::MetricFamily single(std::string name, std::string help, prometheus::MetricType type, double value) {
  prometheus::MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  prometheus::ClientMetric metric;
  metric.counter.value = metric.gauge.value = value;
  family.metric.push_back(std::move(metric));
  return family;
}

struct ProcessMemory {
  double virtual_bytes = 0, resident_bytes = 0;
};

ProcessMemory process_memory() {
  std::ifstream in("/proc/self/statm");
  double page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  ProcessMemory memory;
  in >> memory.virtual_bytes >> memory.resident_bytes;
  return {memory.virtual_bytes * page, memory.resident_bytes * page};
}

double most_descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<double>(limit.rlim_cur);
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Entries of a directory of /proc, without "." and "..".
double entries_of(const char* path) {
  DIR* directory = ::opendir(path);
  if (directory == nullptr) return 0;
  int count = -2;
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

// The descriptor of this very listing is not counted.
double open_descriptors() { return std::max(0.0, entries_of("/proc/self/fd") - 1); }

}  // namespace

struct Metrics::State {
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  const Metrics* of_process = nullptr;
  std::mutex mutex;
  std::map<std::string, std::string> kinds;  // by name
  std::map<std::pair<std::string, Labels>, std::unique_ptr<Counter>> counters;
  std::map<std::pair<std::string, Labels>, std::unique_ptr<Gauge>> gauges;
  std::map<std::pair<std::string, Labels>, std::unique_ptr<Histogram>> histograms;
  std::vector<std::function<void()>> callbacks;
  double started_s = static_cast<double>(SystemClock().wall_ms()) / 1000;

  void check(const std::string& name, const Labels& labels, const std::string& kind) {
    check_name(name);
    for (const auto& [label, value] : labels) check_name(label);
    if (kinds.emplace(name, kind).first->second != kind) throw Error(ErrorKind::internal, "the metric " + name + " has two types");
  }
};

Metrics::Metrics(const Metrics* of_process) : state_(std::make_unique<State>()) { state_->of_process = of_process; }
Metrics::~Metrics() = default;

Counter& Metrics::counter(const std::string& name, const std::string& help, const Labels& labels) {
  std::lock_guard lock(state_->mutex);
  std::unique_ptr<Counter>& slot = state_->counters[{name, labels}];
  if (!slot) {
    state_->check(name, labels, "counter");
    slot = std::make_unique<OneCounter>(prometheus::BuildCounter().Name(name).Help(help).Register(*state_->registry).Add(labels));
  }
  return *slot;
}

Gauge& Metrics::gauge(const std::string& name, const std::string& help, const Labels& labels) {
  std::lock_guard lock(state_->mutex);
  std::unique_ptr<Gauge>& slot = state_->gauges[{name, labels}];
  if (!slot) {
    state_->check(name, labels, "gauge");
    slot = std::make_unique<OneGauge>(prometheus::BuildGauge().Name(name).Help(help).Register(*state_->registry).Add(labels));
  }
  return *slot;
}

Histogram& Metrics::histogram(const std::string& name, const std::string& help, const Labels& labels, const std::vector<double>& buckets) {
  std::lock_guard lock(state_->mutex);
  std::unique_ptr<Histogram>& slot = state_->histograms[{name, labels}];
  if (!slot) {
    state_->check(name, labels, "histogram");
    slot = std::make_unique<OneHistogram>(
        prometheus::BuildHistogram()
            .Name(name)
            .Help(help)
            .Register(*state_->registry)
            .Add(labels, prometheus::Histogram::BucketBoundaries(buckets.empty() ? kLatencyBuckets : buckets)));
  }
  return *slot;
}

void Metrics::on_expose(std::function<void()> callback) {
  std::lock_guard lock(state_->mutex);
  state_->callbacks.push_back(std::move(callback));
}

std::string Metrics::expose(const std::string& service) const {
  std::vector<std::function<void()>> callbacks;
  {
    std::lock_guard lock(state_->mutex);
    callbacks = state_->callbacks;
  }
  for (const auto& callback : callbacks) callback();  // without the lock: they make gauges
  std::vector<prometheus::MetricFamily> families = state_->registry->Collect();
  if (state_->of_process != nullptr) std::ranges::move(state_->of_process->state_->registry->Collect(), std::back_inserter(families));
  if (!service.empty()) {
    for (auto& family : families)
      std::erase_if(family.metric, [&](const prometheus::ClientMetric& metric) {
        return std::any_of(metric.label.begin(), metric.label.end(),
                           [&](const auto& label) { return label.name == "service" && label.value != service; });
      });
    std::erase_if(families, [](const auto& family) { return family.metric.empty(); });
  }
  using prometheus::MetricType;
  prometheus::MetricFamily build = single("lucid_build_info", "Version of this build; always 1.", MetricType::Gauge, 1);
  build.metric[0].label.push_back({"version", version()});
  families.push_back(std::move(build));
  ProcessMemory memory = process_memory();
  families.push_back(single("process_resident_memory_bytes", "Resident memory of the process.", MetricType::Gauge, memory.resident_bytes));
  families.push_back(single("process_virtual_memory_bytes", "Virtual memory of the process.", MetricType::Gauge, memory.virtual_bytes));
  families.push_back(single("process_cpu_seconds_total", "User and system time of the process.", MetricType::Counter, cpu_seconds()));
  families.push_back(single("process_open_fds", "Open file descriptors of the process.", MetricType::Gauge, open_descriptors()));
  families.push_back(single("process_max_fds", "Most file descriptors the process may open.", MetricType::Gauge, most_descriptors()));
  families.push_back(single("process_threads", "Threads of the process.", MetricType::Gauge, entries_of("/proc/self/task")));
  families.push_back(single("process_start_time_seconds", "Start of the process since the epoch.", MetricType::Gauge, state_->started_s));
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace lucid::runtime
