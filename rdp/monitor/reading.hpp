// One number about one thing at one moment: what the collectors give, the history keeps and the alert rules judge. The catalogue names every
// metric there is, so a rule or query about one that does not exist is refused. Pure values; any thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lucid::monitor {

struct Reading {
  std::string_view metric;  // a name of the catalogue (static storage)
  std::string subject;      // what it is about: "/", "eth0", "session-storage", a session's id; empty where there is only one
  double value = 0;
};

// What a metric's subject is. `none`: one reading at a time.
enum class Subject { none, core, mount, device, interface, zone, container, service, session, certificate };
const char* name(Subject subject);

struct Metric {
  std::string_view name;  // in base units by its last word(s): ratio, bytes, seconds, celsius, bytes_per_second, per_second; else a count
  Subject subject;
  std::string_view meaning;  // one sentence for people
};
std::span<const Metric> catalogue();
// nullptr when there is none of that name.
const Metric* find_metric(std::string_view name);

}  // namespace lucid::monitor
