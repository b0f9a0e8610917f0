#include "rdp/server-manager/display_files.hpp"

#include <charconv>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file_ops.hpp"

namespace lucid::server_manager {
namespace {

std::optional<int> number(std::string_view text) {
  int n = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n < 0 || n > 65'535) return std::nullopt;
  return n;
}

}  // namespace

std::optional<int> display_number(std::string_view display) {
  if (!display.starts_with(':')) return std::nullopt;
  display.remove_prefix(1);
  if (std::size_t dot = display.find('.'); dot != std::string_view::npos) {
    if (!number(display.substr(dot + 1))) return std::nullopt;
    display = display.substr(0, dot);
  }
  return number(display);
}

std::string DisplayFiles::lock(int display) const { return root_ + "/tmp/.X" + std::to_string(display) + "-lock"; }
std::string DisplayFiles::socket(int display) const { return root_ + "/tmp/.X11-unix/X" + std::to_string(display); }

std::optional<pid_t> DisplayFiles::x_server(int display) const {
  File file(::open(lock(display).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  char text[16] = {};
  if (!file || ::read(file.fd(), text, sizeof text - 1) <= 0) return std::nullopt;
  std::string_view pid = text;  // "      6181\n"
  while (pid.starts_with(' ')) pid.remove_prefix(1);
  while (pid.ends_with('\n')) pid.remove_suffix(1);
  int n = 0;
  auto [end, error] = std::from_chars(pid.data(), pid.data() + pid.size(), n);
  if (error != std::errc() || n <= 1) return std::nullopt;
  return n;
}

void DisplayFiles::remove(int display) const {
  ::unlink(lock(display).c_str());
  ::unlink(socket(display).c_str());
  std::string end = "_" + std::to_string(display);
  for (const std::string& name : system_files().list(sockdir_))
    if (name.ends_with(end)) ::unlink((sockdir_ + "/" + name).c_str());
}

std::vector<int> DisplayFiles::orphans(const std::set<uid_t>& uids, const std::set<uid_t>& known, const ProcessTable& processes) const {
  return without_server([&](uid_t owner) { return uids.contains(owner) || !known.contains(owner); }, processes);
}

std::vector<int> DisplayFiles::left_by(uid_t uid, const ProcessTable& processes) const {
  return without_server([uid](uid_t owner) { return owner == uid; }, processes);
}

std::vector<int> DisplayFiles::without_server(const std::function<bool(uid_t)>& concerns, const ProcessTable& processes) const {
  std::set<int> found;
  auto look = [&](const std::string& path, std::optional<int> display) {
    struct stat status{};
    if (!display || ::lstat(path.c_str(), &status) != 0) return;
    if (!concerns(status.st_uid)) return;  // somebody else's X server
    auto server = x_server(*display);
    if (!server || !processes.one(*server)) found.insert(*display);
  };
  for (const std::string& name : system_files().list(root_ + "/tmp"))
    if (name.starts_with(".X") && name.ends_with("-lock"))
      look(root_ + "/tmp/" + name, number(std::string_view(name).substr(2, name.size() - 7)));
  for (const std::string& name : system_files().list(root_ + "/tmp/.X11-unix"))
    if (name.starts_with('X')) look(root_ + "/tmp/.X11-unix/" + name, number(std::string_view(name).substr(1)));
  for (const std::string& name : system_files().list(sockdir_))
    if (std::size_t at = name.rfind('_'); at != std::string::npos)
      look(sockdir_ + "/" + name, number(std::string_view(name).substr(at + 1)));
  return {found.begin(), found.end()};
}

}  // namespace lucid::server_manager
