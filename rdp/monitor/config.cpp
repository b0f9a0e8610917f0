#include "rdp/monitor/config.hpp"

#include <unistd.h>

#include <algorithm>

namespace lucid::monitor {
namespace {

constexpr const char* kAllServices =
    "session-api,session-pipeline,session-recorder,chunk-processor,session-storage,rdp-server-manager,xrdp-integration,session-controller,"
    "resource-monitor,node-management";

std::optional<std::string> absolute_or_empty(const std::string& path) {
  if (path.empty() || path.starts_with('/')) return std::nullopt;
  return "must be an absolute path";
}

std::vector<std::string> words(std::string_view list) {
  std::vector<std::string> found;
  while (!list.empty()) {
    std::size_t end = std::min(list.find(','), list.size());
    if (end > 0) found.emplace_back(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return found;
}

std::optional<std::string> service_names(const std::string& list) {
  const std::vector<std::string> known = words(kAllServices);
  for (const std::string& name : words(list))
    if (std::ranges::find(known, name) == known.end()) return "names a service there is not: " + name;
  return std::nullopt;
}

// Where a container finds its host's; our own otherwise.
std::string place(const std::string& set, const char* mounted, const char* own) {
  if (!set.empty()) return set;
  return ::access(mounted, R_OK | X_OK) == 0 ? mounted : own;
}

}  // namespace

void declare_settings(runtime::Settings& settings) {
  auto add = [&](const char* name, const char* environment, const char* fallback, const char* meaning, auto check) {
    settings.declare({.name = std::string(kServiceName) + "." + name,
                      .environment = environment,
                      .fallback = fallback,
                      .meaning = meaning,
                      .check = std::move(check)});
  };
  using runtime::integer_between;
  add("interval", "MONITOR_INTERVAL", "5", "Seconds between two looks at everything.", integer_between(1, 3'600));
  add("host_proc", "HOST_PROC", "", "The host's /proc; empty: /host/proc where it is mounted, else /proc.", absolute_or_empty);
  add("host_sys", "HOST_SYS", "", "The host's /sys; empty: /host/sys where it is mounted, else /sys.", absolute_or_empty);
  add("host_root", "HOST_ROOT", "", "Where the host's root is mounted, before every mount point of it; empty: our own.", absolute_or_empty);
  add("history_max_mb", "HISTORY_MAX_MB", "256", "Size the history's file is kept under.", integer_between(8, 1 << 20));
  add("services", "WATCHED_SERVICES", kAllServices, "Services that are asked how they are, by name with commas between.", service_names);
  add("alert_command", "ALERT_COMMAND", "",
      "Program that is run for every alert, with the event as JSON on its standard input; empty: none. Without arguments and without a "
      "shell.",
      absolute_or_empty);
}

Config config_from(const runtime::Settings& settings) {
  auto text = [&](const char* name) { return settings.text(std::string(kServiceName) + "." + name); };
  auto number = [&](const char* name) { return settings.integer(std::string(kServiceName) + "." + name); };
  Config c;
  c.interval = std::chrono::seconds(number("interval"));
  c.places.proc = place(text("host_proc"), "/host/proc", "/proc");
  c.places.sys = place(text("host_sys"), "/host/sys", "/sys");
  c.places.root = text("host_root");
  c.cgroups = c.places.sys + "/fs/cgroup";
  c.history.max_bytes = static_cast<std::uint64_t>(number("history_max_mb")) << 20;
  c.services = words(text("services"));
  c.alert_command = text("alert_command");
  return c;
}

}  // namespace lucid::monitor
