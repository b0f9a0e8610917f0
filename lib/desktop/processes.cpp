#include "lib/desktop/processes.hpp"

#include <algorithm>

#include "lib/desktop/procfs.hpp"

namespace lucid::desktop {
namespace {

constexpr std::int64_t kScanEveryMs = 1000;

// ":10" and ":10.0" are the same server.
std::string without_screen(std::string display) {
  std::size_t colon = display.rfind(':'), dot = display.rfind('.');
  if (colon != std::string::npos && dot != std::string::npos && dot > colon) display.resize(dot);
  return display;
}

}  // namespace

Processes::Processes(std::string display, std::int64_t now, std::function<void(DesktopEvent)> emit)
    : display_(without_screen(std::move(display))), emit_(std::move(emit)) {
  scan(now, false);
}

bool Processes::belongs(std::uint32_t pid, std::uint32_t parent) const {
  if (auto it = known_.find(parent); it != known_.end() && it->second.ours) return true;
  auto value = ProcFs::environment(pid, "DISPLAY");
  return value && without_screen(*value) == display_;
}

void Processes::scan(std::int64_t now, bool report) {
  next_scan_ = now + kScanEveryMs;
  for (auto& [pid, known] : known_) known.seen = false;
  auto pids = ProcFs::all_pids();
  std::sort(pids.begin(), pids.end());  // parents mostly come before their children
  for (std::uint32_t pid : pids) {
    auto [it, fresh] = known_.try_emplace(pid);
    it->second.seen = true;
    if (!fresh) continue;
    auto facts = ProcFs::facts(pid);
    if (!facts || !belongs(pid, facts->parent)) continue;
    Known& known = known_[pid];
    known.ours = true;
    known.executable = ProcFs::executable(pid);
    if (report) emit_({now, ProcessEvent{true, pid, known.executable, ProcFs::argv(pid)}});
  }
  std::erase_if(known_, [&](const auto& entry) {
    if (entry.second.seen) return false;
    if (entry.second.ours) emit_({now, ProcessEvent{false, entry.first, entry.second.executable, {}}});
    return true;
  });
}

void Processes::tick(std::int64_t now) {
  if (now >= next_scan_) scan(now, true);
}

}  // namespace lucid::desktop
