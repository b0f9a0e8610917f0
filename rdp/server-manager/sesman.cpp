#include "rdp/server-manager/sesman.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <sstream>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include "lib/base/bytes.hpp"
#include "lib/contracts/fields.hpp"
#include "rdp/server-manager/processes.hpp"
#include "rdp/server-manager/xrdp_files.hpp"

namespace lucid::server_manager {
namespace {

constexpr int kPort = 3350;

bool answers(int family, const void* address, socklen_t size) {
  File socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return socket && ::connect(socket.fd(), static_cast<const sockaddr*>(address), size) == 0;
}

// Where something listens on sesman's port, or empty.
std::string listening_address() {
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(kPort);
  six.sin6_addr = in6addr_loopback;
  if (answers(AF_INET6, &six, sizeof six)) return "::1";
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(kPort);
  four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (answers(AF_INET, &four, sizeof four)) return "127.0.0.1";
  return {};
}

// The process that listens on sesman's port, as "xrdp-sesman (process 123)"; through the socket's inode in /proc.
std::string holder() {
  std::string inode;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream lines(table);
    std::string line;
    std::getline(lines, line);
    while (std::getline(lines, line)) {
      std::istringstream fields(line);
      std::string number, local, remote, state, skip;
      fields >> number >> local >> remote >> state;
      for (int i = 0; i < 5; ++i) fields >> skip;  // queues, timer, retransmits, uid, time-out
      std::string found;
      fields >> found;
      if (state == "0A" && local.ends_with(fmt::format(":{:04X}", kPort))) inode = found;
    }
  }
  if (inode.empty()) return "another process";
  std::string socket = "socket:[" + inode + "]";
  for (const Process& p : ProcessTable().all()) {
    std::string directory = fmt::format("/proc/{}/fd", p.id.pid);
    for (const std::string& fd : system_files().list(directory)) {
      char target[64];
      ssize_t n = ::readlink((directory + "/" + fd).c_str(), target, sizeof target);
      if (n > 0 && std::string_view(target, static_cast<std::size_t>(n)) == socket) return fmt::format("{} (process {})", p.name, p.id.pid);
    }
  }
  return "another process";
}

}  // namespace

Sesman::Sesman(const Paths& paths, std::string hook, store::Documents& documents, Reactor& reactor, std::function<void()> died)
    : paths_(paths),
      hook_(std::move(hook)),
      directory_(paths.data + "/sesman"),
      ini_(directory_ + "/sesman.ini"),
      documents_(documents),
      reactor_(reactor),
      died_(std::move(died)) {}

ProcessId Sesman::current() const {
  std::lock_guard lock(mutex_);
  return process_;
}

std::optional<std::string> Sesman::problem() const {
  std::lock_guard lock(mutex_);
  return problem_;
}

void Sesman::keep(const ProcessId& process) {
  documents_.put("host", "sesman", json::serialize(json::object{{"pid", process.pid}, {"start", process.start}}));
}

void Sesman::watch_locked(const ProcessId& process) {
  {
    std::lock_guard lock(mutex_);
    process_ = process;
  }
  reactor_.watch(process, [this, process] {
    {
      std::lock_guard lock(mutex_);
      if (process_ != process) return;
      process_ = {};
    }
    log_.warn("xrdp-sesman ended", {{"pid", std::to_string(process.pid)}});
    died_();
  });
}

void Sesman::adopt() {
  std::lock_guard start(starting_);
  ProcessTable table;
  ProcessId found;
  if (auto kept = documents_.get("host", "sesman"))
    if (auto value = parse_json(kept->json)) {
      contracts::Fields in(*value);
      ProcessId id{in.number<pid_t>("pid"), in.number<std::uint64_t>("start")};
      if (in.ok() && table.alive(id)) found = id;
    }
  auto ours = [&](const ProcessId& id) {
    auto argv = table.argv(id.pid);
    return std::ranges::find(argv, ini_) != argv.end();
  };
  if (found && !ours(found)) found = {};
  if (!found) {
    // Started, but the document was not written any more. Session leaders have the same command line; they are children of it or orphans,
    // and none of them listens.
    auto all = table.all();
    for (const Process& p : all)
      if (p.uid == 0 && p.name == "xrdp-sesman" && ours(p.id) && !listening_address().empty() &&
          std::ranges::any_of(all, [&](const Process& c) { return c.parent == p.id.pid && c.name == "xrdp-sesman"; }))
        found = p.id;
  }
  if (!found) return;
  watch_locked(found);
  std::lock_guard lock(mutex_);
  address_ = listening_address();
  log_.info("xrdp-sesman adopted", {{"pid", std::to_string(found.pid)}});
}

ProcessId Sesman::ensure() {
  std::lock_guard start(starting_);
  {
    std::lock_guard lock(mutex_);
    if (process_) return process_;
  }
  try {
    ProcessId process = start_locked();
    std::lock_guard lock(mutex_);
    problem_ = std::nullopt;
    return process;
  } catch (const Error& e) {
    std::lock_guard lock(mutex_);
    problem_ = e.what();
    throw;
  }
}

ProcessId Sesman::start_locked() {
  if (!listening_address().empty())
    throw Error(
        ErrorKind::unavailable, "sesman_port_taken",
        fmt::format("start xrdp-sesman: {} listens on its port {}, which xrdp cannot change; end it (Debian's own: systemctl disable "
                    "--now xrdp xrdp-sesman)",
                    holder(), kPort));
  FileOps& files = system_files();
  files.make_directories(directory_);
  files.replace_file(ini_, as_bytes(sesman_ini({.hook = hook_, .log = directory_ + "/sesman.log", .xorg = paths_.xorg})));
  // It only ever appends; between two lives is the time to forget.
  for (const char* name : {"/sesman.log", "/sesman.out"}) {
    struct stat status{};
    if (::stat((directory_ + name).c_str(), &status) == 0 && status.st_size > (1 << 20)) files.remove(directory_ + name);
  }
  ProcessId process = start_detached({.argv = {paths_.sesman, "-n", "-c", ini_}, .log = directory_ + "/sesman.out"});
  keep(process);
  File ended(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  std::string address;
  // Nothing tells when a daemon listens; until it does, its end is what is waited for.
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (bool gone = false; address.empty() && !gone && std::chrono::steady_clock::now() < deadline;) {
    pollfd wait{ended.fd(), POLLIN, 0};
    gone = ::poll(&wait, 1, 10) > 0;
    address = listening_address();
  }
  if (address.empty()) {
    std::string log;
    try {
      log = std::string(as_text(files.read_file(directory_ + "/sesman.log", 1 << 24)));
    } catch (const Error&) {}
    if (log.size() > 400) log = log.substr(log.size() - 400);
    ::kill(process.pid, SIGKILL);
    reactor_.watch(process, [] {});
    throw Error(ErrorKind::unavailable, "sesman_failed", "start xrdp-sesman: it does not listen; its log ends: " + to_utf8(log, 500));
  }
  {
    std::lock_guard lock(mutex_);
    address_ = address;
  }
  // Sessions' sockets: anyone may make one, nobody may remove another's.
  ::chmod(paths_.sockdir.c_str(), 03777);
  watch_locked(process);
  log_.info("xrdp-sesman started", {{"pid", std::to_string(process.pid)}});
  return process;
}

Sesman::Started Sesman::start_session(const std::string& account, const std::string& password, int width, int height) {
  std::string address;
  {
    std::lock_guard lock(mutex_);
    address = address_;
  }
  // -s, because sesrun looks for "localhost" only where Debian's sesman does not listen when IPv6 is there.
  Ran ran = run(
      {paths_.sesrun, "-c", ini_, "-s", address, "-t", "Xorg", "-b", "24", "-g", fmt::format("{}x{}", width, height), "-F", "0", account},
      password, std::chrono::seconds(20));
  // "ok data=1 display=:10 GUID=…" or "… data=0 …"; the exit code is 0 for both.
  bool ok = ran.ok() && ran.output.find("ok data=1") != std::string::npos;
  return {ok, ok ? std::string() : (ran.timed_out ? "xrdp-sesrun did not end: " : "") + to_utf8(ran.output, 1000)};
}

}  // namespace lucid::server_manager
