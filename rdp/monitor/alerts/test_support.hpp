// What the tests of alerts share: a world with a clock moved by hand, documents that can die, and what was told.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include "lib/store/memory_documents.hpp"
#include "lib/store/mortal_documents.hpp"
#include "rdp/monitor/alerts/alerts.hpp"

namespace lucid::monitor {

// "firing disk_full /" of an event.
inline std::string say(const AlertEvent& e) { return std::string(name(e.alert.state)) + " " + e.alert.rule + " " + e.alert.subject; }

struct AlertWorld {
  store::MemoryDocuments kept;
  store::MortalDocuments documents{kept};
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
