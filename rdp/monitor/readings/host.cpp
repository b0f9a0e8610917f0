#include "rdp/monitor/readings/host.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <set>

#include "lib/base/bytes.hpp"
#include "rdp/monitor/readings/disks.hpp"
#include "rdp/monitor/readings/text.hpp"

namespace lucid::monitor {
namespace {

constexpr std::size_t kMaxCores = 1024, kMaxInterfaces = 256, kMaxZones = 64;
constexpr std::int64_t kJumpNoiseMs = 100, kJumpMemoryMs = 60'000, kZonesAgeMs = 60'000;

// user, nice, system, idle, iowait, irq, softirq, steal. The guest times after them are part of user and nice.
using CpuTimes = std::array<std::uint64_t, 8>;
enum CpuField : std::size_t { kIdle = 3, kIoWait = 4, kSteal = 7 };

struct CpuShares {
  double used = kUnknown, iowait = kUnknown, steal = kUnknown;
};

CpuShares shares_between(const CpuTimes& before, const CpuTimes& now) {
  std::array<double, 8> delta{};
  double total = 0;
  for (std::size_t i = 0; i < now.size(); ++i) {
    // A core that was offline may start again from less. Idle and iowait alone step back a little at times; that says nothing of the rest.
    if (now[i] < before[i] && i != kIdle && i != kIoWait) return {};
    delta[i] = now[i] > before[i] ? static_cast<double>(now[i] - before[i]) : 0;
    total += delta[i];
  }
  if (total <= 0) return {};
  return {1 - (delta[kIdle] + delta[kIoWait]) / total, delta[kIoWait] / total, delta[kSteal] / total};
}

double rate(std::uint64_t before, std::uint64_t now, std::int64_t elapsed_ms) {
  if (elapsed_ms <= 0 || now < before) return kUnknown;
  return static_cast<double>(now - before) * 1000 / static_cast<double>(elapsed_ms);
}

struct Traffic {
  std::uint64_t received = 0, sent = 0, errors = 0;
};
struct PressureTotals {
  std::optional<std::uint64_t> some, full;  // microseconds
};
struct Zone {
  std::string name, path;
};

}  // namespace

struct HostReader::State {
  HostPlaces places;
  const Clock& clock;
  TextReader files;
  DiskReader disks;
  std::optional<std::int64_t> looked_ms, zones_found_ms;
  std::optional<std::int64_t> wall_less_steady_ms;
  struct Jump {
    std::int64_t at_ms, size_ms;
  };
  std::deque<Jump> jumps;
  std::vector<std::optional<CpuTimes>> cpus;  // all of them together, then each
  std::map<std::string, Traffic, std::less<>> traffic;
  std::array<PressureTotals, 3> pressures;
  std::vector<Zone> zones;

  State(HostPlaces p, const Clock& c) : places(std::move(p)), clock(c), disks(places.proc, places.root) {}

  std::optional<std::string_view> read(Host& host, const std::string& path) {
    auto text = files.read(path);
    if (!text) host.problems.push_back(path + ": " + std::strerror(files.error()));
    return text;
  }
  static void malformed(Host& host, const std::string& path) { host.problems.push_back(path + ": is not as expected"); }

  void look_at_cpu(Host& host);
  void look_at_memory(Host& host);
  void look_at_load(Host& host);
  std::optional<Pressure> look_at_pressure(Host& host, const char* name, PressureTotals& before, std::int64_t elapsed_ms);
  void look_at_network(Host& host, std::int64_t elapsed_ms);
  void find_zones();
  void look_at_temperatures(Host& host, std::int64_t now_ms);
  void look_at_firmware(Host& host);
  void look_at_clock(Host& host);
};

void HostReader::State::look_at_cpu(Host& host) {
  std::string path = places.proc + "/stat";
  auto text = read(host, path);
  if (!text) return cpus.clear();
  std::vector<std::optional<CpuTimes>> now(1);
  bool good = true;
  for (std::string_view line, rest = *text; next_line(rest, line) && line.starts_with("cpu");) {
    std::string_view which = next_word(line).substr(3);
    std::size_t index = 0;
    if (!which.empty()) {
      auto core = to_number<std::size_t>(which);
      good &= core && *core < kMaxCores;
      if (!core || *core >= kMaxCores) continue;
      index = *core + 1;
    }
    CpuTimes times{};
    bool whole = true;
    for (std::uint64_t& time : times)
      if (auto n = next_number<std::uint64_t>(line))
        time = *n;
      else
        whole = false;
    good &= whole;
    if (!whole) continue;
    if (now.size() <= index) now.resize(index + 1);
    now[index] = times;
  }
  if (!good || !now[0]) malformed(host, path);
  auto shares = [&](std::size_t i) { return i < cpus.size() && cpus[i] && now[i] ? shares_between(*cpus[i], *now[i]) : CpuShares{}; };
  CpuShares all = shares(0);
  host.cpu_used_ratio = all.used;
  host.cpu_iowait_ratio = all.iowait;
  host.cpu_steal_ratio = all.steal;
  for (std::size_t i = 1; i < now.size(); ++i) host.core_used_ratio.push_back(shares(i).used);
  cpus = std::move(now);
}

void HostReader::State::look_at_memory(Host& host) {
  std::string path = places.proc + "/meminfo";
  auto text = read(host, path);
  if (!text) return;
  auto total = number_of(*text, "MemTotal:"), available = number_of(*text, "MemAvailable:"), swap = number_of(*text, "SwapTotal:"),
       swap_free = number_of(*text, "SwapFree:");
  constexpr std::uint64_t kMost = std::uint64_t{1} << 50;  // KiB; what is more is no memory
  if (!total || !available || *total > kMost || *available > *total) return malformed(host, path);
  host.memory_total_bytes = *total << 10;
  host.memory_available_bytes = *available << 10;
  host.swap_total_bytes = std::min(swap.value_or(0), kMost) << 10;
  host.swap_free_bytes = std::min(swap_free.value_or(0), kMost) << 10;
}

void HostReader::State::look_at_load(Host& host) {
  std::string path = places.proc + "/loadavg";
  auto text = read(host, path);
  if (!text) return;
  std::string_view line;
  next_line(*text, line);
  auto one = to_real(next_word(line)), five = to_real(next_word(line)), fifteen = to_real(next_word(line));
  if (!one || !five || !fifteen) return malformed(host, path);
  host.load_1m = *one;
  host.load_5m = *five;
  host.load_15m = *fifteen;
}

// The averages the kernel gives lag by their ten seconds; the totals do not.
std::optional<Pressure> HostReader::State::look_at_pressure(Host& host, const char* name, PressureTotals& before, std::int64_t elapsed_ms) {
  std::string path = places.proc + "/pressure/" + name;
  auto text = files.read(path);
  if (!text) {
    before = {};
    // No such file: built without PSI. Not supported: started with psi=0.
    if (files.error() != ENOENT && files.error() != EOPNOTSUPP) host.problems.push_back(path + ": " + std::strerror(files.error()));
    return std::nullopt;
  }
  PressureTotals now;
  for (std::string_view line, rest = *text; next_line(rest, line);) {
    std::string_view kind = next_word(line);
    for (std::string_view word = next_word(line); !word.empty(); word = next_word(line))
      if (word.starts_with("total=")) (kind == "some" ? now.some : now.full) = to_number<std::uint64_t>(word.substr(6));
  }
  if (!now.some) malformed(host, path);
  auto share = [&](std::optional<std::uint64_t> from, std::optional<std::uint64_t> to) {
    return from && to ? std::min(rate(*from, *to, elapsed_ms) / 1e6, 1.0) : kUnknown;
  };
  Pressure pressure;
  pressure.some_ratio = share(before.some, now.some);
  pressure.full_ratio = share(before.full, now.full);
  before = now;
  return pressure;
}

void HostReader::State::look_at_network(Host& host, std::int64_t elapsed_ms) {
  // PID 1's network is the host's, even where we run in another.
  std::string path = places.proc + "/1/net/dev";
  auto text = files.read(path);
  if (!text) text = read(host, path = places.proc + "/net/dev");
  std::map<std::string, Traffic, std::less<>> now;
  bool good = true;
  for (std::string_view line, rest = text.value_or(""); next_line(rest, line) && now.size() < kMaxInterfaces;) {
    std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;  // the two lines of headings
    std::string_view label = line.substr(0, colon);
    std::string name(next_word(label));
    line.remove_prefix(colon + 1);
    std::array<std::uint64_t, 12>
        field{};  // received: bytes packets errors drops fifo frame compressed multicast; sent: bytes packets errors drops
    bool whole = !name.empty();
    for (std::uint64_t& f : field)
      if (auto n = next_number<std::uint64_t>(line))
        f = *n;
      else
        whole = false;
    good &= whole;
    if (whole && name != "lo") now[to_utf8(name, 64)] = {field[0], field[8], field[2] + field[3] + field[10] + field[11]};
  }
  if (!good) malformed(host, path);
  for (const auto& [name, n] : now) {
    Interface& interface = host.interfaces.emplace_back();
    interface.name = name;
    auto b = traffic.find(name);
    if (b == traffic.end()) continue;
    interface.receive_bytes_per_second = rate(b->second.received, n.received, elapsed_ms);
    interface.transmit_bytes_per_second = rate(b->second.sent, n.sent, elapsed_ms);
    interface.errors_per_second = rate(b->second.errors, n.errors, elapsed_ms);
  }
  traffic = std::move(now);
}

void HostReader::State::find_zones() {
  zones.clear();
  std::set<std::string> taken;
  auto name_in = [&](const std::string& path) {
    std::string_view line, text = files.read(path).value_or("");
    next_line(text, line);
    return to_utf8(line, 64);
  };
  auto add = [&](const std::string& name, std::string path) {
    std::string unique = name;
    for (int n = 2; !taken.insert(unique).second; ++n) unique = name + " " + std::to_string(n);
    if (zones.size() < kMaxZones) zones.push_back({unique, std::move(path)});
  };
  std::string thermal = places.sys + "/class/thermal", hwmon = places.sys + "/class/hwmon";
  std::vector<std::string> found = names_in(thermal, Listing::all);
  std::ranges::sort(found);
  std::set<std::string> types;
  for (const std::string& zone : found) {
    if (!zone.starts_with("thermal_zone")) continue;
    std::string type = name_in(thermal + "/" + zone + "/type");
    if (type.empty()) type = zone;
    types.insert(type);
    add(type, thermal + "/" + zone + "/temp");
  }
  found = names_in(hwmon, Listing::all);
  std::ranges::sort(found);
  for (const std::string& chip : found) {
    std::string name = name_in(hwmon + "/" + chip + "/name");
    // The kernel shows thermal zones a second time as sensors.
    if (name.empty()) name = chip;
    std::string dashed = name;
    std::ranges::replace(dashed, '_', '-');
    if (types.contains(name) || types.contains(dashed)) continue;
    std::vector<std::string> inputs = names_in(hwmon + "/" + chip, Listing::all);
    std::ranges::sort(inputs);
    for (const std::string& input : inputs) {
      if (!input.starts_with("temp") || !input.ends_with("_input")) continue;
      std::string sensor = input.substr(0, input.size() - 6), label = name_in(hwmon + "/" + chip + "/" + sensor + "_label");
      add(name + " " + (label.empty() ? sensor : label), hwmon + "/" + chip + "/" + input);
    }
  }
}

void HostReader::State::look_at_temperatures(Host& host, std::int64_t now_ms) {
  if (!zones_found_ms || now_ms - *zones_found_ms >= kZonesAgeMs) {
    find_zones();
    zones_found_ms = now_ms;
  }
  for (const Zone& zone : zones) {
    Temperature& temperature = host.temperatures.emplace_back();
    temperature.zone = zone.name;
    auto text = read(host, zone.path);
    auto millidegrees = text ? only_number<std::int64_t>(*text) : std::nullopt;
    if (millidegrees)
      temperature.celsius = static_cast<double>(*millidegrees) / 1000;
    else if (text)
      malformed(host, zone.path);
  }
}

void HostReader::State::look_at_firmware(Host& host) {
  std::string path = places.sys + "/devices/platform/soc/soc:firmware/get_throttled";
  auto text = files.read(path);
  if (!text) {
    if (files.error() != ENOENT && files.error() != ENOTDIR) host.problems.push_back(path + ": " + std::strerror(files.error()));
    return;
  }
  std::string_view line;
  next_line(*text, line);
  std::string_view word = next_word(line);
  if (word.starts_with("0x")) word.remove_prefix(2);
  auto flags = to_number<std::uint32_t>(word, 16);
  if (!flags) return malformed(host, path);
  host.undervoltage = (*flags & 1) != 0;    // now; bits 16 to 19 say it has been so since the start
  host.throttled = (*flags & 0b1110) != 0;  // frequency capped, throttled, soft temperature limit
}

void HostReader::State::look_at_clock(Host& host) {
  // Both clocks at one moment: when something came between, again.
  std::int64_t steady = 0, wall = 0;
  for (int attempt = 0; attempt < 5; ++attempt) {
    steady = clock.steady_ms();
    wall = clock.wall_ms();
    if (clock.steady_ms() - steady <= 10) break;
  }
  std::int64_t difference = wall - steady;
  std::int64_t jump = std::abs(difference - wall_less_steady_ms.value_or(difference));
  wall_less_steady_ms = difference;
  if (jump >= kJumpNoiseMs) jumps.push_back({steady, jump});
  while (!jumps.empty() && steady - jumps.front().at_ms > kJumpMemoryMs) jumps.pop_front();
  for (const Jump& j : jumps) host.clock_jump_seconds = std::max(host.clock_jump_seconds, static_cast<double>(j.size_ms) / 1000);
}

HostReader::HostReader(HostPlaces places, const Clock& clock) : state_(std::make_unique<State>(std::move(places), clock)) {}
HostReader::~HostReader() = default;

Host HostReader::look() {
  State& s = *state_;
  std::int64_t now_ms = s.clock.steady_ms(), elapsed_ms = s.looked_ms ? now_ms - *s.looked_ms : 0;
  s.looked_ms = now_ms;
  Host host;
  s.look_at_cpu(host);
  s.look_at_memory(host);
  s.look_at_load(host);
  host.pressure_cpu = s.look_at_pressure(host, "cpu", s.pressures[0], elapsed_ms);
  host.pressure_memory = s.look_at_pressure(host, "memory", s.pressures[1], elapsed_ms);
  host.pressure_io = s.look_at_pressure(host, "io", s.pressures[2], elapsed_ms);
  s.look_at_network(host, elapsed_ms);
  host.disks = s.disks.look(s.files, elapsed_ms, host.problems);
  s.look_at_temperatures(host, now_ms);
  s.look_at_firmware(host);
  s.look_at_clock(host);
  return host;
}

}  // namespace lucid::monitor
