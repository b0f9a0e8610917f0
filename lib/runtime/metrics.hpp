// Prometheus metrics behind small handles, so that only runtime sees prometheus-cpp. Names follow Prometheus rules: base
// units, _total for counters, no unbounded labels (never an id). Any thread; handles live as long as the Metrics.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lucid::runtime {

using Labels = std::map<std::string, std::string>;

class Counter {
 public:
  virtual ~Counter() = default;
  virtual void add(double n = 1) = 0;
};
class Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void set(double v) = 0;
  virtual void add(double n) = 0;
};
class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void observe(double v) = 0;
};

class Metrics {
 public:
  // One a service. `of_process`: what the process shows beside it, of that service only; must outlive this object.
  explicit Metrics(const Metrics* of_process = nullptr);
  ~Metrics();
  // The same name and labels answer the same object.
  Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  // Default buckets: 0.5 ms … 10 s.
  Histogram& histogram(const std::string& name, const std::string& help, const Labels& labels = {},
                       const std::vector<double>& buckets = {});
  // `callback` runs at the beginning of every expose(), on its thread, for as long as this object lives: for gauges that are worth computing
  // only when somebody looks. What it looks at must outlive this object, or be held by an Exposure (exposure.hpp).
  void on_expose(std::function<void()> callback);
  // Text exposition format 0.0.4. With `service` not empty only series whose label service equals it, and unlabelled ones.
  std::string expose(const std::string& service = {}) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lucid::runtime
