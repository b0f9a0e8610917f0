// The one xrdp-sesman of this host. It is ours: started with our sesman.ini, watched, started again with back-off when it dies, adopted after a
// restart of the manager. Port 3350 is fixed in xrdp; when somebody else holds it, ensure() says who and nothing is touched. Thread-safe.
// Errors: {unavailable, "sesman_port_taken" | "sesman_failed"}.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "lib/runtime/log.hpp"
#include "lib/store/documents.hpp"
#include "rdp/server-manager/config.hpp"
#include "rdp/server-manager/reactor.hpp"

namespace lucid::server_manager {

class Sesman {
 public:
  // `hook` is the installed start hook; `died` is told on the reactor's thread when a sesman of ours ended.
  Sesman(const Paths& paths, std::string hook, store::Documents& documents, Reactor& reactor, std::function<void()> died);
  // Takes over one that runs already (its document, else its command line).
  void adopt();
  ProcessId ensure();         // running and listening, or an Error
  ProcessId current() const;  // nil when none runs
  struct Started {
    bool ok = false;
    std::string detail;  // sesrun's words when not
  };
  // Logs in through sesman as a client would, so that X and the hook start.
  Started start_session(const std::string& account, const std::string& password, int width, int height);
  std::optional<std::string> problem() const;  // why the last ensure() failed

 private:
  ProcessId start_locked();
  void keep(const ProcessId& process);
  void watch_locked(const ProcessId& process);
  const Paths& paths_;
  const std::string hook_, directory_, ini_;
  store::Documents& documents_;
  Reactor& reactor_;
  const std::function<void()> died_;
  const runtime::Log log_{"rdp-server-manager"};
  std::mutex starting_;       // one start at a time
  mutable std::mutex mutex_;  // guards what follows
  ProcessId process_;
  std::string address_;  // where it listens: "::1" or "127.0.0.1", as Debian's build chooses
  std::optional<std::string> problem_;
};

}  // namespace lucid::server_manager
