// What the tests of alerts share: a world with a clock moved by hand, documents that can die, and what was told.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include "lib/store/memory_documents.hpp"
#include "rdp/monitor/alerts/alerts.hpp"

namespace lucid::monitor {

// Counts changes; dies at one, before or after it is made: from then on every call throws, as if the process were gone. revive() is a disk that
// works again. 0 dies never.
class MortalDocuments final : public store::Documents {
 public:
  explicit MortalDocuments(store::Documents& inner) : inner_(inner) {}
  void die_at(int change, bool after) {
    changes_ = 0;
    dies_at_ = change;
    after_ = after;
  }
  void revive() {
    dead_ = false;
    dies_at_ = 0;
  }
  bool dead() const { return dead_; }
  int changes() const { return changes_; }

  bool insert(const std::string& c, const std::string& k, const std::string& j) override {
    return change([&] { return inner_.insert(c, k, j); });
  }
  std::vector<bool> insert_many(std::span<const Insert> inserts) override {
    return change([&] { return inner_.insert_many(inserts); });
  }
  std::optional<store::Document> get(const std::string& c, const std::string& k) override { return alive(), inner_.get(c, k); }
  bool replace(const std::string& c, const std::string& k, const std::string& j, std::int64_t v) override {
    return change([&] { return inner_.replace(c, k, j, v); });
  }
  void put(const std::string& c, const std::string& k, const std::string& j) override {
    change([&] { return inner_.put(c, k, j), true; });
  }
  bool remove(const std::string& c, const std::string& k) override {
    return change([&] { return inner_.remove(c, k); });
  }
  std::uint64_t remove_range(const std::string& c, const std::string& f, const std::string& t) override {
    return change([&] { return inner_.remove_range(c, f, t); });
  }
  std::vector<store::Document> scan(const std::string& c, const store::Scan& s) override { return alive(), inner_.scan(c, s); }
  std::uint64_t count(const std::string& c, const std::string& f, const std::string& t) override { return alive(), inner_.count(c, f, t); }

 private:
  void alive() const {
    if (dead_) throw Error(ErrorKind::unavailable, "killed", "the process is gone");
  }
  template <class F>
  auto change(F f) -> decltype(f()) {
    alive();
    if (++changes_ != dies_at_) return f();
    if (after_) f();
    dead_ = true;
    alive();
    return f();
  }
  store::Documents& inner_;
  std::atomic<int> changes_{0};
  int dies_at_ = 0;
  bool after_ = false;
  std::atomic<bool> dead_{false};
};

// "firing disk_full /" of an event.
inline std::string say(const AlertEvent& e) { return std::string(name(e.alert.state)) + " " + e.alert.rule + " " + e.alert.subject; }

struct AlertWorld {
  store::MemoryDocuments kept;
  MortalDocuments documents{kept};
  ManualClock clock;
  SeededRandom random{7};
  std::vector<AlertEvent> told;
  std::function<void(const AlertEvent&)> on_tell;  // may throw: then it counts as not told
  std::unique_ptr<Alerts> alerts;

  // `only`: every built-in rule is disabled, so a test sees its own.
  explicit AlertWorld(bool only = true) {
    start();
    if (only)
      for (Rule r : default_rules()) {
        r.enabled = false;
        alerts->put_rule(r);
      }
  }
  void start() {
    alerts.reset();
    alerts = std::make_unique<Alerts>(documents, clock, random, [this](const AlertEvent& e) {
      if (on_tell) on_tell(e);
      told.push_back(e);
    });
  }
  Rule put(const std::string& name, const char* body) {
    json::value value = json::parse(body);
    return alerts->put_rule(read_rule(name, value));
  }
  void tick(const std::vector<Reading>& readings, std::int64_t ms = 5'000) {
    clock.advance(ms);
    alerts->judge(readings);
  }
  // What was told since the last call.
  std::vector<std::string> heard() {
    std::vector<std::string> out;
    for (const AlertEvent& e : told) out.push_back(say(e));
    told.clear();
    return out;
  }
  std::vector<std::string> live() const {
    std::vector<std::string> out;
    for (const Alert& a : alerts->live()) out.push_back(std::string(name(a.state)) + " " + a.rule + " " + a.subject);
    return out;
  }
};

}  // namespace lucid::monitor
