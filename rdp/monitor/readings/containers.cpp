#include "rdp/monitor/readings/containers.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/bytes.hpp"
#include "lib/base/json.hpp"
#include "rdp/monitor/readings/text.hpp"

namespace lucid::monitor {
namespace {

constexpr std::size_t kMaxContainers = 256, kMaxDirectories = 2048;
constexpr int kMaxDepth = 8;
constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 60;  // version 1 writes "none" as the largest whole number of pages

enum class Controller { cpu, cpuacct, memory, pids };
constexpr std::array<const char*, 4> kControllers{"cpu", "cpuacct", "memory", "pids"};

bool is_directory(const std::string& path) {
  struct stat s{};
  return ::stat(path.c_str(), &s) == 0 && S_ISDIR(s.st_mode);
}

// The id in a group's name: 64 hex digits, alone (Docker, podman) or as in "docker-<id>.scope", "libpod-<id>.scope", "cri-containerd-<id>.scope".
std::string_view container_id(std::string_view name) {
  if (name.ends_with(".scope")) name.remove_suffix(6);
  if (std::size_t dash = name.rfind('-'); dash != std::string_view::npos) name.remove_prefix(dash + 1);
  bool hex = name.size() == 64 && std::ranges::all_of(name, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  return hex ? name : std::string_view{};
}

// Groups that may have containers below them; all others, such as every service of a host, are not looked into.
bool may_hold(std::string_view name) {
  return name.ends_with(".slice") || name.starts_with("user@") || name.starts_with("kubepods") || name == "docker" || name == "podman" ||
         name == "libpod_parent" || name == "machine";
}

// What a look reads of a group.
struct GroupUse {
  std::optional<std::uint64_t> cpu_us, periods, throttled;
};

}  // namespace

struct ContainerReader::State {
  std::string cgroups, proc, containers;
  const Clock& clock;
  TextReader files;
  std::optional<std::int64_t> looked_ms;
  std::map<std::string, GroupUse> before, now;      // by group
  std::map<std::string, std::string> docker_names;  // by id

  std::string unified;                     // where version 2 with its controllers is, or empty
  std::array<std::string, 4> hierarchies;  // where each controller of version 1 is, or empty

  State(std::string c, std::string p, std::string d, const Clock& k)
      : cgroups(std::move(c)), proc(std::move(p)), containers(std::move(d)), clock(k) {}

  struct Group {
    std::string name, key;
    std::string unified;                     // its directory of version 2, or empty
    std::array<std::string, 4> hierarchies;  // those of version 1
  };

  void find_hierarchies();
  void collect(const std::string& base, std::map<std::string, std::string>& found);
  void walk(const std::string& base, const std::string& path, int depth, std::size_t& left, std::map<std::string, std::string>& found);
  std::optional<Group> own_group();
  std::string docker_name(std::string_view id);
  Container read_group(const Group& group, std::int64_t elapsed_ms);
  void read_unified(const std::string& directory, Container& container, GroupUse& use);
  void read_hierarchies(const Group& group, Container& container, GroupUse& use);
};

void ContainerReader::State::find_hierarchies() {
  unified.clear();
  for (const std::string& place : {cgroups, cgroups + "/unified"})
    if (auto text = files.read(place + "/cgroup.controllers"); text && text->find_first_not_of(" \n") != std::string_view::npos) {
      unified = place;
      break;
    }
  for (std::size_t i = 0; i < kControllers.size(); ++i) {
    hierarchies[i].clear();
    for (const char* both : {"", "cpu,cpuacct", "cpuacct,cpu"}) {
      if (*both != '\0' && i > static_cast<std::size_t>(Controller::cpuacct)) continue;
      std::string place = cgroups + "/" + (*both != '\0' ? both : kControllers[i]);
      if (!is_directory(place) || ::access((place + "/cgroup.procs").c_str(), F_OK) != 0) continue;
      hierarchies[i] = place;
      break;
    }
  }
}

// Puts the containers' groups below into `found`: path and name.
void ContainerReader::State::walk(const std::string& base, const std::string& path, int depth, std::size_t& left,
                                  std::map<std::string, std::string>& found) {
  if (depth > kMaxDepth) return;
  for (const std::string& name : names_in(base + path, Listing::directories, left)) {
    if (left == 0 || found.size() == kMaxContainers) return;
    --left;
    std::string below = path + "/" + name;
    if (path == "/lucid-rdp") {
      found.emplace(below, "lucid-rdp/" + to_utf8(name, 128));
    } else if (std::string_view id = container_id(name); !id.empty()) {
      found.emplace(below, docker_name(id));
    } else if (may_hold(name) || below == "/lucid-rdp") {
      walk(base, below, depth + 1, left, found);
    }
  }
}

void ContainerReader::State::collect(const std::string& base, std::map<std::string, std::string>& found) {
  std::size_t left = kMaxDirectories;
  if (!base.empty()) walk(base, "", 0, left, found);
}

// What Docker calls it, where its files can be read; else the id as Docker shortens it.
std::string ContainerReader::State::docker_name(std::string_view id) {
  if (auto known = docker_names.find(std::string(id)); known != docker_names.end()) return known->second;
  std::string name(id.substr(0, 12));
  if (auto text = files.read(containers + "/" + std::string(id) + "/config.v2.json", 1 << 20))
    if (auto config = parse_json(*text); config && config->is_object())
      if (const json::value* given = config->get_object().if_contains("Name"); given != nullptr && given->is_string()) {
        std::string_view word(given->get_string().data(), given->get_string().size());
        if (word.starts_with('/')) word.remove_prefix(1);
        if (!word.empty()) name = to_utf8(word, 128);
      }
  if (docker_names.size() >= 4 * kMaxContainers) docker_names.clear();
  return docker_names.emplace(id, name).first->second;
}

// The group this process is in, when it is one: what runs outside of every group, in the roots, is the host.
std::optional<ContainerReader::State::Group> ContainerReader::State::own_group() {
  auto text = files.read(proc + "/self/cgroup");
  if (!text) return std::nullopt;
  Group group;
  std::string said;
  std::string lines(*text);
  std::string_view line, rest = lines;
  // In a container the path may be as the host sees it while only the container's own part of the tree is mounted: then at its root.
  auto place_of = [](const std::string& base, std::string_view path) {
    std::string place = base + std::string(path);
    return is_directory(place) ? place : base;
  };
  while (next_line(rest, line)) {
    std::size_t first = line.find(':'), second = line.find(':', first == std::string_view::npos ? first : first + 1);
    if (second == std::string_view::npos) continue;
    std::string_view controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (path == "/") path = {};
    if (controllers.empty()) {
      if (unified.empty()) continue;
      std::string place = place_of(unified, path);
      // The root of the host's tree has no such file.
      if (::access((place + "/memory.current").c_str(), F_OK) != 0 && ::access((place + "/cpu.max").c_str(), F_OK) != 0) continue;
      group.unified = place;
      said = path;
      break;
    }
    for (std::size_t i = 0; i < kControllers.size(); ++i) {
      bool named = false;
      for (std::string_view list = controllers; !list.empty();) {
        std::size_t comma = std::min(list.find(','), list.size());
        named |= list.substr(0, comma) == kControllers[i];
        list.remove_prefix(std::min(comma + 1, list.size()));
      }
      if (!named || hierarchies[i].empty() || path.empty()) continue;
      group.hierarchies[i] = place_of(hierarchies[i], path);
      said = path;
    }
  }
  bool any = !group.unified.empty() || std::ranges::any_of(group.hierarchies, [](const std::string& h) { return !h.empty(); });
  if (!any) return std::nullopt;
  std::string_view last = std::string_view(said).substr(said.rfind('/') + 1);
  if (std::string_view id = container_id(last); !id.empty())
    group.name = docker_name(id);
  else if (said.starts_with("/lucid-rdp/"))
    group.name = said.substr(1);
  else
    group.name = said.empty() ? "/" : to_utf8(said, 256);
  group.key = said.empty() ? "/" : said;
  return group;
}

void ContainerReader::State::read_unified(const std::string& directory, Container& container, GroupUse& use) {
  if (auto text = files.read(directory + "/cpu.stat")) {
    use.cpu_us = number_of(*text, "usage_usec");
    use.periods = number_of(*text, "nr_periods");
    use.throttled = number_of(*text, "nr_throttled");
  }
  if (auto text = files.read(directory + "/cpu.max")) {
    std::string_view line;
    next_line(*text, line);
    auto quota = next_number<std::uint64_t>(line), period = next_number<std::uint64_t>(line);  // "max 100000": no quota
    if (quota && period && *period > 0) container.cpu_limit_cores = static_cast<double>(*quota) / static_cast<double>(*period);
  }
  std::uint64_t inactive = 0;
  if (auto text = files.read(directory + "/memory.stat")) inactive = number_of(*text, "inactive_file").value_or(0);
  if (auto text = files.read(directory + "/memory.current")) {
    std::uint64_t all = only_number<std::uint64_t>(*text).value_or(0);
    container.memory_bytes = all - std::min(all, inactive);
  }
  if (auto text = files.read(directory + "/memory.max")) container.memory_limit_bytes = only_number<std::uint64_t>(*text);
  if (auto text = files.read(directory + "/pids.current")) container.pids = only_number<std::uint64_t>(*text).value_or(0);
  if (auto text = files.read(directory + "/pids.max")) container.pids_limit = only_number<std::uint64_t>(*text);
}

void ContainerReader::State::read_hierarchies(const Group& group, Container& container, GroupUse& use) {
  auto read = [&](Controller controller, const char* file) -> std::optional<std::string_view> {
    const std::string& directory = group.hierarchies[static_cast<std::size_t>(controller)];
    return directory.empty() ? std::nullopt : files.read(directory + file);
  };
  if (auto text = read(Controller::cpuacct, "/cpuacct.usage"))
    if (auto ns = only_number<std::uint64_t>(*text)) use.cpu_us = *ns / 1000;
  if (auto text = read(Controller::cpu, "/cpu.stat")) {
    use.periods = number_of(*text, "nr_periods");
    use.throttled = number_of(*text, "nr_throttled");
  }
  std::optional<std::int64_t> quota;  // -1: none
  if (auto text = read(Controller::cpu, "/cpu.cfs_quota_us")) quota = only_number<std::int64_t>(*text);
  if (auto text = read(Controller::cpu, "/cpu.cfs_period_us"); text && quota && *quota > 0)
    if (auto period = only_number<std::uint64_t>(*text); period && *period > 0)
      container.cpu_limit_cores = static_cast<double>(*quota) / static_cast<double>(*period);
  std::uint64_t inactive = 0;
  if (auto text = read(Controller::memory, "/memory.stat")) inactive = number_of(*text, "total_inactive_file").value_or(0);
  if (auto text = read(Controller::memory, "/memory.usage_in_bytes")) {
    std::uint64_t all = only_number<std::uint64_t>(*text).value_or(0);
    container.memory_bytes = all - std::min(all, inactive);
  }
  if (auto text = read(Controller::memory, "/memory.limit_in_bytes"))
    if (auto limit = only_number<std::uint64_t>(*text); limit && *limit < kNoLimit) container.memory_limit_bytes = limit;
  if (auto text = read(Controller::pids, "/pids.current")) container.pids = only_number<std::uint64_t>(*text).value_or(0);
  if (auto text = read(Controller::pids, "/pids.max")) container.pids_limit = only_number<std::uint64_t>(*text);
}

Container ContainerReader::State::read_group(const Group& group, std::int64_t elapsed_ms) {
  Container container;
  container.name = group.name;
  GroupUse use;
  if (!group.unified.empty()) read_unified(group.unified, container, use);
  read_hierarchies(group, container, use);
  auto old = before.find(group.key);
  if (old != before.end() && elapsed_ms > 0) {
    const GroupUse& b = old->second;
    if (use.cpu_us && b.cpu_us && *use.cpu_us >= *b.cpu_us)
      container.cpu_ratio = static_cast<double>(*use.cpu_us - *b.cpu_us) / 1000 / static_cast<double>(elapsed_ms);
    if (use.periods && b.periods && use.throttled && b.throttled && *use.periods >= *b.periods && *use.throttled >= *b.throttled) {
      std::uint64_t periods = *use.periods - *b.periods;
      // Without a limit there are no periods; with one, none means it was idle.
      if (periods > 0)
        container.cpu_throttled_ratio = static_cast<double>(*use.throttled - *b.throttled) / static_cast<double>(periods);
      else if (std::isfinite(container.cpu_limit_cores))
        container.cpu_throttled_ratio = 0;
    }
  }
  now.insert_or_assign(group.key, use);
  return container;
}

ContainerReader::ContainerReader(std::string cgroups, std::string proc, const Clock& clock, std::string docker)
    : state_(std::make_unique<State>(std::move(cgroups), std::move(proc), std::move(docker), clock)) {}
ContainerReader::~ContainerReader() = default;

std::vector<Container> ContainerReader::look() {
  State& s = *state_;
  std::int64_t now_ms = s.clock.steady_ms(), elapsed_ms = s.looked_ms ? now_ms - *s.looked_ms : 0;
  s.looked_ms = now_ms;
  s.find_hierarchies();
  std::map<std::string, std::string> found;
  s.collect(s.unified, found);
  std::set<std::string> walked;  // controllers mounted together are one tree
  for (const std::string& hierarchy : s.hierarchies)
    if (walked.insert(hierarchy).second) s.collect(hierarchy, found);
  std::vector<State::Group> groups;
  if (auto own = s.own_group()) groups.push_back(*std::move(own));
  for (const auto& [path, name] : found) {
    if (groups.size() == kMaxContainers) break;
    if (!groups.empty() && groups.front().key == path) continue;  // our own, already there
    State::Group group{.name = name, .key = path, .unified = {}, .hierarchies = {}};
    if (!s.unified.empty()) group.unified = s.unified + path;
    for (std::size_t i = 0; i < group.hierarchies.size(); ++i)
      if (!s.hierarchies[i].empty()) group.hierarchies[i] = s.hierarchies[i] + path;
    groups.push_back(std::move(group));
  }
  std::vector<Container> containers;
  s.now.clear();
  for (const State::Group& group : groups) containers.push_back(s.read_group(group, elapsed_ms));
  std::swap(s.now, s.before);
  return containers;
}

}  // namespace lucid::monitor
