// What a server is made of on this host, and how it is made and ended: programs and packages that must be there, its own directory and xrdp, its
// processes wherever they hide, and what they leave in the file system. Knows no states; the Manager decides. Thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/file_ops.hpp"
#include "rdp/server-manager/accounts.hpp"
#include "rdp/server-manager/cgroups.hpp"
#include "rdp/server-manager/config.hpp"
#include "rdp/server-manager/display_files.hpp"
#include "rdp/server-manager/processes.hpp"
#include "rdp/server-manager/record.hpp"

namespace lucid::server_manager {

class Host {
 public:
  Host(const Config& config, RandomSource& random);

  // Why no server can be made here: {unavailable, "not_root" | "package_missing"}, or nullopt.
  std::optional<Error> problem() const;
  // The desktop's name; empty chooses the light default. Error{invalid} for a word we do not know, {unavailable, "package_missing"}.
  std::string choose_desktop(const std::string& wanted) const;
  std::vector<std::string> desktop_command(const std::string& desktop) const;

  // Held by the one manager of this host, until it ends however it ends. Error{unavailable, "already_running"} naming the other process.
  File lock_host() const;
  // The certificate xrdp shows: the settings' own, else made at the first start. Error{unavailable, "certificate_unusable"}.
  void prepare_certificate(std::int64_t now_wall_ms);
  const std::string& fingerprint() const { return fingerprint_; }
  // Of the certificate that is on disk now, which is what xrdp shows to the next client.
  std::int64_t certificate_expires_wall_ms() const;
  // Copies the start hook to where every account can execute it; answers its path.
  std::string install_hook() const;

  std::string directory(const Id& slot) const;
  void write_files(const Record& record);
  ProcessId start_xrdp(const Record& record);
  // Waits until it answers an X.224 connection request and a TLS handshake with our certificate; the reason when it does not within 10 s.
  std::optional<std::string> wait_until_ready(const Record& record) const;

  enum class Part { session, all };  // the X session without xrdp, or everything
  std::vector<Process> processes(const Record& record, Part part) const;
  // TERM, KILL after 5 s, until none is left; then the files of its display go. False when some would not end.
  bool end(const Record& record, Part part);
  bool end_processes(const std::function<std::vector<Process>()>& find) const;
  // The account, home, directory and cgroup of a server that has ended.
  void erase(const Record& record);
  // Xorg's own last words, for a display that did not come up.
  std::string x_log(const Record& record) const;

  Accounts& accounts() { return accounts_; }
  Cgroups& cgroups() { return cgroups_; }
  const ProcessTable& table() const { return table_; }
  const DisplayFiles& displays() const { return displays_; }

 private:
  std::string ini(const Id& slot) const { return directory(slot) + "/xrdp.ini"; }
  const Config& config_;
  Accounts accounts_;
  Cgroups cgroups_;
  ProcessTable table_;
  DisplayFiles displays_;
  std::string certificate_, key_, fingerprint_;
};

}  // namespace lucid::server_manager
