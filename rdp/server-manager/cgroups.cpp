#include "rdp/server-manager/cgroups.hpp"

#include <algorithm>
#include <cerrno>
#include <set>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "lib/base/file_ops.hpp"

namespace lucid::server_manager {
namespace {

constexpr std::string_view kOurs = "/lucid-rdp";

bool write_text(const std::string& path, const std::string& text) {
  File file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file && ::write(file.fd(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string read_text(const std::string& path) {
  File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; file && (n = ::read(file.fd(), buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  return text;
}

bool has_word(const std::string& list, std::string_view word) {
  std::string text = list;
  std::ranges::replace(text, ',', ' ');
  std::istringstream words(text);
  for (std::string w; words >> w;)
    if (w == word) return true;
  return false;
}

bool made(const std::string& directory) { return ::mkdir(directory.c_str(), 0755) == 0 || errno == EEXIST; }

}  // namespace

Cgroups::Cgroups(const std::string& mounts, std::string root) {
  std::istringstream lines(mounts);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string device, place, type, options;
    fields >> device >> place >> type >> options;
    Hierarchy h{.directory = root + place + std::string(kOurs)};
    if (type == "cgroup2") {
      h.unified = true;
      std::string controllers = read_text(root + place + "/cgroup.controllers");
      for (auto [word, flag] : {std::pair{"cpu", &h.cpu}, std::pair{"memory", &h.memory}})
        if (has_word(controllers, word)) *flag = write_text(root + place + "/cgroup.subtree_control", std::string("+") + word);
    } else if (type == "cgroup") {
      h.cpu = has_word(options, "cpu");
      h.memory = has_word(options, "memory");
      if (!h.cpu && !h.memory) continue;
    } else {
      continue;
    }
    if (!made(h.directory)) {
      problem_ = fmt::format("{} cannot be made: {}", h.directory, system_error("create", h.directory, errno).what());
      continue;
    }
    if (h.unified && h.cpu) write_text(h.directory + "/cgroup.subtree_control", "+cpu");
    if (h.unified && h.memory) write_text(h.directory + "/cgroup.subtree_control", "+memory");
    hierarchies_.push_back(std::move(h));
  }
  auto has = [&](bool Hierarchy::* controller) { return std::ranges::any_of(hierarchies_, controller); };
  if (has(&Hierarchy::cpu) && has(&Hierarchy::memory))
    problem_ = std::nullopt;
  else if (!problem_)
    problem_ = "no cgroup hierarchy with cpu and memory is mounted writable";
}

bool Cgroups::apply(const std::string& name, const Limits& limits) {
  for (const Hierarchy& h : hierarchies_) {
    std::string group = h.directory + "/" + name;
    if (!made(group)) return false;
    constexpr int kPeriodUs = 100'000;
    auto quota = static_cast<long long>(limits.cpu * kPeriodUs);
    auto bytes = std::to_string(static_cast<long long>(limits.memory_mb) << 20);
    if (h.unified) {
      if (h.cpu) write_text(group + "/cpu.max", fmt::format("{} {}", quota, kPeriodUs));
      if (h.memory) write_text(group + "/memory.max", bytes);
    } else {
      if (h.cpu) write_text(group + "/cpu.cfs_period_us", std::to_string(kPeriodUs));
      if (h.cpu) write_text(group + "/cpu.cfs_quota_us", std::to_string(quota));
      if (h.memory) write_text(group + "/memory.limit_in_bytes", bytes);
    }
  }
  return !hierarchies_.empty();
}

void Cgroups::add(const std::string& name, pid_t pid) {
  for (const Hierarchy& h : hierarchies_) write_text(h.directory + "/" + name + "/cgroup.procs", std::to_string(pid));
}

std::vector<pid_t> Cgroups::members(const std::string& name) const {
  std::set<pid_t> found;
  for (const Hierarchy& h : hierarchies_) {
    std::istringstream pids(read_text(h.directory + "/" + name + "/cgroup.procs"));
    for (pid_t pid = 0; pids >> pid;)
      if (pid > 0) found.insert(pid);
  }
  return {found.begin(), found.end()};
}

bool Cgroups::remove(const std::string& name) {
  bool gone = true;
  for (const Hierarchy& h : hierarchies_)
    if (::rmdir((h.directory + "/" + name).c_str()) != 0 && errno != ENOENT) gone = false;
  return gone;
}

std::vector<std::string> Cgroups::names() const {
  std::set<std::string> found;
  for (const Hierarchy& h : hierarchies_)
    for (std::string& name : system_files().list(h.directory)) {
      struct stat status{};
      if (::stat((h.directory + "/" + name).c_str(), &status) == 0 && S_ISDIR(status.st_mode)) found.insert(std::move(name));
    }
  return {found.begin(), found.end()};
}

}  // namespace lucid::server_manager
