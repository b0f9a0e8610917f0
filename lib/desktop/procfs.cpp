#include "lib/desktop/procfs.hpp"

#include <algorithm>
#include <charconv>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "lib/base/bytes.hpp"
#include "lib/base/file_ops.hpp"

namespace lucid::desktop {
namespace {

constexpr std::size_t kMaxFamily = 512;
constexpr std::size_t kMaxArgv = 4096, kMaxWords = 64;

std::string proc_path(std::uint32_t pid, std::string_view entry) { return "/proc/" + std::to_string(pid) + "/" + std::string(entry); }

std::optional<std::string> slurp(const std::string& path, std::size_t max_bytes) {
  File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return std::nullopt;
  std::string text;
  char buffer[4096];
  while (text.size() < max_bytes) {
    ssize_t n = ::read(file.fd(), buffer, std::min(sizeof buffer, max_bytes - text.size()));
    if (n <= 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  return text;
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::uint32_t> numbered_entries(const std::string& directory) {
  std::vector<std::uint32_t> found;
  DIR* dir = ::opendir(directory.c_str());
  if (!dir) return found;
  while (dirent* entry = ::readdir(dir))
    if (auto n = number(entry->d_name)) found.push_back(*n);
  ::closedir(dir);
  return found;
}

// Of the files that hold one record only, a single read gets all.
std::optional<std::string> slurp_record(const std::string& path) {
  File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return std::nullopt;
  char buffer[1024];
  ssize_t n = ::read(file.fd(), buffer, sizeof buffer);
  return std::string(buffer, static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
}

// Every thread has its own list of children.
void append_children(const ProcessFacts& process, std::vector<std::uint32_t>& out) {
  std::string tasks = proc_path(process.pid, "task");
  for (std::uint32_t tid : process.threads == 1 ? std::vector{process.pid} : numbered_entries(tasks)) {
    auto text = slurp(tasks + "/" + std::to_string(tid) + "/children", 64 << 10);
    if (!text) continue;
    std::string_view rest = *text;
    while (!rest.empty()) {
      std::size_t space = rest.find(' ');
      if (auto child = number(rest.substr(0, space))) out.push_back(*child);
      rest = space == rest.npos ? std::string_view{} : rest.substr(space + 1);
    }
  }
}

}  // namespace

std::optional<ProcessFacts> parse_stat(std::string_view text) {
  std::size_t open = text.find('('), close = text.rfind(')');
  if (open == text.npos || close == text.npos || close < open || open == 0) return std::nullopt;
  ProcessFacts facts;
  auto pid = number(text.substr(0, text.find(' ')));
  if (!pid) return std::nullopt;
  facts.pid = *pid;
  facts.name = std::string(text.substr(open + 1, close - open - 1));
  // After the name: state ppid pgrp session tty_nr tpgid, eleven more, num_threads
  std::string_view rest = text.substr(close + 1);
  std::int64_t values[6] = {};
  for (int i = 0; i < 6; ++i) {
    if (rest.empty() || rest.front() != ' ') return std::nullopt;
    rest.remove_prefix(1);
    std::size_t end = std::min(rest.find_first_of(" \n"), rest.size());
    if (i > 0) {
      auto [stop, error] = std::from_chars(rest.data(), rest.data() + end, values[i]);
      if (error != std::errc{} || stop != rest.data() + end) return std::nullopt;
    }
    rest.remove_prefix(end);
  }
  facts.parent = static_cast<std::uint32_t>(values[1]);
  facts.group = static_cast<std::uint32_t>(values[2]);
  facts.tty = static_cast<std::uint32_t>(values[4]);
  facts.foreground_group = values[5] > 0 ? static_cast<std::uint32_t>(values[5]) : 0;
  for (int i = 0; i < 11 && !rest.empty(); ++i) rest.remove_prefix(std::min(rest.find(' ', 1), rest.size()));
  if (!rest.empty()) {
    rest.remove_prefix(1);
    facts.threads = number(rest.substr(0, rest.find_first_of(" \n"))).value_or(0);
  }
  return facts;
}

std::optional<ProcessFacts> ProcFs::facts(std::uint32_t pid) {
  auto text = slurp_record(proc_path(pid, "stat"));
  return text ? parse_stat(*text) : std::nullopt;
}

std::vector<std::uint32_t> ProcFs::all_pids() { return numbered_entries("/proc"); }

std::vector<ProcessFacts> ProcFs::family(std::uint32_t pid) {
  std::vector<ProcessFacts> members;
  std::vector<std::uint32_t> pending{pid};
  for (std::size_t i = 0; i < pending.size() && members.size() < kMaxFamily; ++i) {
    auto process = facts(pending[i]);
    if (!process) continue;
    append_children(*process, pending);
    members.push_back(std::move(*process));
  }
  return members;
}

std::vector<std::uint32_t> ProcFs::named(const std::vector<std::string_view>& names) {
  std::vector<std::uint32_t> found;
  for (std::uint32_t pid : all_pids()) {
    auto name = slurp_record(proc_path(pid, "comm"));
    if (!name) continue;
    if (!name->empty() && name->back() == '\n') name->pop_back();
    if (std::find(names.begin(), names.end(), *name) != names.end()) found.push_back(pid);
  }
  return found;
}

std::optional<TtyMode> ProcFs::tty_mode(const ProcessFacts& process) {
  unsigned device_major = major(process.tty);
  if (device_major < 136 || device_major > 143) return std::nullopt;  // not a pseudo terminal
  unsigned index = (device_major - 136) * 256 + minor(process.tty);
  std::string name = "/dev/pts/" + std::to_string(index);
  // The process may live in a container with its own /dev/pts: the device number tells whether it is the right one.
  // The terminal is closed again at once: an open slave would keep its emulator from noticing that the shell ended.
  for (const std::string& path : {name, proc_path(process.pid, "root") + name}) {
    File tty(::open(path.c_str(), O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    if (!tty) continue;
    struct stat info{};
    termios mode{};
    if (::fstat(tty.fd(), &info) != 0 || info.st_rdev != process.tty) continue;
    if (::tcgetattr(tty.fd(), &mode) != 0) continue;
    return TtyMode{(mode.c_lflag & ECHO) != 0, (mode.c_lflag & ICANON) != 0};
  }
  return std::nullopt;
}

std::string ProcFs::executable(std::uint32_t pid) {
  if (pid == 0) return {};
  char target[4096];
  ssize_t n = ::readlink(proc_path(pid, "exe").c_str(), target, sizeof target);
  if (n > 0) {
    std::string_view path(target, static_cast<std::size_t>(n));
    constexpr std::string_view kDeleted = " (deleted)";
    if (path.ends_with(kDeleted)) path.remove_suffix(kDeleted.size());
    return to_utf8(path, kMaxArgv);
  }
  auto name = slurp(proc_path(pid, "comm"), 64);
  if (!name) return {};
  if (!name->empty() && name->back() == '\n') name->pop_back();
  return to_utf8(*name, 64);
}

std::vector<std::string> ProcFs::argv(std::uint32_t pid) {
  std::vector<std::string> words;
  auto text = slurp(proc_path(pid, "cmdline"), kMaxArgv);
  if (!text) return words;
  std::string_view rest = *text;
  while (!rest.empty() && words.size() < kMaxWords) {
    std::size_t end = std::min(rest.find('\0'), rest.size());
    words.push_back(to_utf8(rest.substr(0, end), kMaxArgv));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return words;
}

std::optional<std::string> ProcFs::environment(std::uint32_t pid, std::string_view name) {
  auto text = slurp(proc_path(pid, "environ"), 256 << 10);
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  while (!rest.empty()) {
    std::size_t end = std::min(rest.find('\0'), rest.size());
    std::string_view entry = rest.substr(0, end);
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=')
      return std::string(entry.substr(name.size() + 1));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return std::nullopt;
}

}  // namespace lucid::desktop
