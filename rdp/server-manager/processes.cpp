#include "rdp/server-manager/processes.hpp"

#include <algorithm>
#include <charconv>
#include <set>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file_ops.hpp"

namespace lucid::server_manager {
namespace {

std::optional<std::string> read_all(const std::string& path, std::size_t limit = 1 << 20) {
  File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return std::nullopt;
  std::string text;
  char buffer[4096];
  while (text.size() < limit) {
    ssize_t n = ::read(file.fd(), buffer, sizeof buffer);
    if (n < 0) return std::nullopt;
    if (n == 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  return text;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    std::size_t end = std::min(text.find(separator), text.size());
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t n = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return n;
}

}  // namespace

std::optional<Process> ProcessTable::one(pid_t pid) const {
  std::string directory = proc_ + "/" + std::to_string(pid);
  struct stat owner{};
  if (::stat(directory.c_str(), &owner) != 0) return std::nullopt;
  auto text = read_all(directory + "/stat");
  if (!text) return std::nullopt;
  // "1234 (name) S ppid …"; the name may itself hold spaces and parentheses.
  std::size_t open = text->find('('), close = text->rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return std::nullopt;
  auto fields = split(std::string_view(*text).substr(std::min(close + 2, text->size())), ' ');
  if (fields.size() < 22 || fields[0] == "Z" || fields[0] == "X") return std::nullopt;
  Process p;
  auto parent = number(fields[1]), user = number(fields[11]), system = number(fields[12]), start = number(fields[19]),
       pages = number(fields[21]);
  if (!parent || !user || !system || !start) return std::nullopt;
  static const std::uint64_t ticks = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK)),
                             page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  p.id = {pid, *start};
  p.parent = static_cast<pid_t>(*parent);
  p.uid = owner.st_uid;
  p.name = text->substr(open + 1, close - open - 1);
  p.rss_bytes = pages.value_or(0) * page;
  p.cpu_ms = (*user + *system) * 1000 / ticks;
  // The directory belongs to root when the process is not dumpable; its status says who it runs as.
  if (owner.st_uid == 0)
    if (auto status = read_all(directory + "/status")) {
      std::size_t at = status->find("\nUid:\t");
      if (at != std::string::npos) {
        std::string_view rest = std::string_view(*status).substr(at + 6);
        if (auto uid = number(rest.substr(0, rest.find('\t')))) p.uid = static_cast<uid_t>(*uid);
      }
    }
  return p;
}

std::vector<Process> ProcessTable::all() const {
  std::vector<Process> found;
  DIR* directory = ::opendir(proc_.c_str());
  if (directory == nullptr) return found;
  while (const dirent* entry = ::readdir(directory)) {
    auto pid = number(entry->d_name);
    if (!pid || *pid == 0) continue;
    if (auto p = one(static_cast<pid_t>(*pid))) found.push_back(*std::move(p));
  }
  ::closedir(directory);
  return found;
}

bool ProcessTable::alive(const ProcessId& id) const {
  if (!id) return false;
  auto p = one(id.pid);
  return p && p->id == id;
}

std::vector<std::string> ProcessTable::argv(pid_t pid) const {
  return split(read_all(proc_ + "/" + std::to_string(pid) + "/cmdline").value_or(""), '\0');
}

std::optional<std::string> ProcessTable::environment(pid_t pid, std::string_view name) const {
  std::string prefix = std::string(name) + "=";
  for (std::string& variable : split(read_all(proc_ + "/" + std::to_string(pid) + "/environ").value_or(""), '\0'))
    if (variable.starts_with(prefix)) return variable.substr(prefix.size());
  return std::nullopt;
}

std::string ProcessTable::executable(pid_t pid) const {
  char buffer[4096];
  ssize_t n = ::readlink((proc_ + "/" + std::to_string(pid) + "/exe").c_str(), buffer, sizeof buffer);
  return n > 0 ? std::string(buffer, static_cast<std::size_t>(n)) : std::string();
}

std::vector<Process> ProcessTable::family(const std::vector<Process>& all, const ProcessId& root) {
  std::set<pid_t> members;
  if (std::ranges::any_of(all, [&](const Process& p) { return p.id == root; })) members.insert(root.pid);
  for (bool grew = !members.empty(); grew;) {
    grew = false;
    for (const Process& p : all)
      if (members.contains(p.parent) && members.insert(p.id.pid).second) grew = true;
  }
  std::vector<Process> found;
  for (const Process& p : all)
    if (members.contains(p.id.pid)) found.push_back(p);
  return found;
}

}  // namespace lucid::server_manager
