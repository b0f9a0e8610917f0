#include "node/agent/machine.hpp"

#include <algorithm>
#include <charconv>

#include <sched.h>

namespace lucid::node_agent {
namespace {

constexpr std::size_t kMaxProcText = 1 << 20;
constexpr std::uint64_t kFewestTicks = 10;  // a share of fewer says nothing

// The next whole number at or after `at`, skipping spaces; nothing when something else stands there.
std::optional<std::uint64_t> number_at(std::string_view text, std::size_t& at) {
  while (at < text.size() && text[at] == ' ') ++at;
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  at = static_cast<std::size_t>(end - text.data());
  return value;
}

std::optional<std::int64_t> megabytes(std::string_view meminfo, std::string_view name) {
  for (std::size_t line = 0; line < meminfo.size();) {
    std::size_t end = std::min(meminfo.find('\n', line), meminfo.size());
    if (meminfo.substr(line, end - line).starts_with(name)) {
      std::size_t at = line + name.size();
      auto kilobytes = number_at(meminfo.substr(0, end), at);
      if (!kilobytes) return std::nullopt;
      return static_cast<std::int64_t>(*kilobytes >> 10);
    }
    line = end + 1;
  }
  return std::nullopt;
}

}  // namespace

std::optional<CpuTimes> parse_cpu_times(std::string_view stat) {
  if (!stat.starts_with("cpu ")) return std::nullopt;
  stat = stat.substr(0, stat.find('\n'));
  // user nice system idle iowait irq softirq steal; guest times are in user and nice already.
  CpuTimes times;
  std::size_t at = 4;
  for (int i = 0; i < 8; ++i) {
    auto n = number_at(stat, at);
    if (!n || *n > UINT64_MAX / 16) return std::nullopt;
    times.total += *n;
    if (i == 1 || i == 3 || i == 4) times.idle += *n;  // what runs nicely yields to a session
  }
  return times;
}

std::optional<Memory> parse_memory(std::string_view meminfo) {
  auto total = megabytes(meminfo, "MemTotal:"), available = megabytes(meminfo, "MemAvailable:");
  if (!total || !available || *total == 0 || *available > *total) return std::nullopt;
  return Memory{*total, *available};
}

Machine::Machine(FileOps& files, std::string proc) : files_(files), proc_(std::move(proc)) {
  cpu_set_t mine;
  CPU_ZERO(&mine);
  cpu_millicores_ = 1000 * (sched_getaffinity(0, sizeof mine, &mine) == 0 ? std::max(CPU_COUNT(&mine), 1) : 1);
  auto memory = parse_memory(read("meminfo"));
  if (!memory) throw Error(ErrorKind::unavailable, proc_ + "/meminfo does not say how much memory there is");
  memory_mb_ = memory->total_mb;
}

std::string Machine::read(const char* name) {
  // Files of /proc have no size: read until their end.
  std::string path = proc_ + "/" + name;
  File file = files_.open(path, OpenMode::read);
  Bytes bytes(kMaxProcText);
  std::size_t size = 0;
  while (size < bytes.size()) {
    std::size_t n = files_.read_at(file, std::span(bytes).subspan(size), size, path);
    if (n == 0) break;
    size += n;
  }
  return std::string(as_text(ByteView(bytes).first(size)));
}

Machine::Free Machine::free() {
  auto times = parse_cpu_times(read("stat"));
  auto memory = parse_memory(read("meminfo"));
  if (!times || !memory) throw Error(ErrorKind::unavailable, proc_ + " does not say what is free");
  if (times->total >= before_.total + kFewestTicks && times->idle >= before_.idle) {
    auto share = static_cast<std::uint64_t>(cpu_millicores_) * (times->idle - before_.idle) / (times->total - before_.total);
    free_millicores_ = static_cast<int>(std::min<std::uint64_t>(share, static_cast<std::uint64_t>(cpu_millicores_)));
    before_ = *times;
  }
  return {free_millicores_, std::min(memory->available_mb, memory_mb_)};
}

}  // namespace lucid::node_agent
