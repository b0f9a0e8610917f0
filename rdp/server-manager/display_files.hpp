// What an X display leaves in the file system: /tmp/.XN-lock, /tmp/.X11-unix/XN and xrdp's sockets in /run/xrdp/sockdir. X removes them when it
// ends in peace; after a KILL we do, else the number is lost for good. The root directory is a parameter for tests. Any thread.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <sys/types.h>

#include "rdp/server-manager/processes.hpp"

namespace lucid::server_manager {

// ":10", ":10.0" → 10; nullopt for anything else.
std::optional<int> display_number(std::string_view display);

class DisplayFiles {
 public:
  explicit DisplayFiles(std::string sockdir, std::string root = "") : sockdir_(root + sockdir), root_(std::move(root)) {}
  // The X server's process id as its lock file says.
  std::optional<pid_t> x_server(int display) const;
  void remove(int display) const;
  // Displays with files of one of `uids` or of a user that exists no more (`known` says which do), whose X server does not run.
  std::vector<int> orphans(const std::set<uid_t>& uids, const std::set<uid_t>& known, const ProcessTable& processes) const;

  // Displays with files of that user whose X server does not run: also of one that nobody was told of, because it was killed as it started.
  std::vector<int> left_by(uid_t uid, const ProcessTable& processes) const;

 private:
  std::vector<int> without_server(const std::function<bool(uid_t)>& concerns, const ProcessTable& processes) const;
  std::string lock(int display) const;
  std::string socket(int display) const;
  const std::string sockdir_, root_;
};

}  // namespace lucid::server_manager
