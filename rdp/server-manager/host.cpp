#include "rdp/server-manager/host.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <set>
#include <sstream>

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include "lib/crypto/tls_certificate.hpp"
#include "rdp/server-manager/rdp_probe.hpp"
#include "rdp/server-manager/xrdp_files.hpp"

namespace lucid::server_manager {
namespace {

constexpr std::chrono::seconds kTermGrace{5}, kKillGrace{5};

struct Desktop {
  const char* name;
  const char* command;
  const char* package;
};
// The first that is installed is the default.
constexpr std::array<Desktop, 6> kDesktops{{{"openbox", "/usr/bin/openbox-session", "openbox"},
                                            {"xfce", "/usr/bin/startxfce4", "xfce4"},
                                            {"icewm", "/usr/bin/icewm-session", "icewm"},
                                            {"fluxbox", "/usr/bin/startfluxbox", "fluxbox"},
                                            {"lxqt", "/usr/bin/startlxqt", "lxqt"},
                                            {"mate", "/usr/bin/mate-session", "mate-desktop-environment"}}};

Error missing(const std::string& package, const std::string& file) {
  return Error(
      ErrorKind::unavailable, "package_missing",
      fmt::format("make an RDP server: {} is not there; install the Debian package {} (apt-get install {})", file, package, package));
}

std::string mounts() {
  std::ifstream in("/proc/self/mounts");
  return {std::istreambuf_iterator<char>(in), {}};
}

void copy_executable(const std::string& from, const std::string& to) {
  Bytes program = system_files().read_file(from);
  std::string fresh = to + ".new";
  File out(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0755));
  if (!out) throw system_error("create", fresh, errno);
  system_files().write(out, program, fresh);
  if (::fchmod(out.fd(), 0755) != 0) throw system_error("chmod", fresh, errno);
  out.close();
  // Renamed into place: a hook that runs keeps the old file.
  system_files().rename(fresh, to);
}

}  // namespace

Host::Host(const Config& config, RandomSource& random)
    : config_(config), accounts_(random), cgroups_(::geteuid() == 0 ? mounts() : std::string()), displays_(config.paths.sockdir) {}

std::optional<Error> Host::problem() const {
  if (::geteuid() != 0)
    return Error(ErrorKind::unavailable, "not_root",
                 "make an RDP server: rdp-server-manager does not run as root, and accounts, xrdp-sesman and X sessions need that");
  const Paths& p = config_.paths;
  for (const std::string* program : {&p.xrdp, &p.sesman, &p.sesrun})
    if (::access(program->c_str(), X_OK) != 0) return missing("xrdp", *program);
  if (::access(p.xorg_module.c_str(), R_OK) != 0) return missing("xorgxrdp", p.xorg_module);
  return std::nullopt;
}

std::string Host::choose_desktop(const std::string& wanted) const {
  std::string names;
  for (const Desktop& d : kDesktops) {
    bool installed = ::access(d.command, X_OK) == 0;
    if (wanted == d.name && !installed) throw missing(d.package, d.command);
    if (installed && (wanted.empty() || wanted == d.name)) return d.name;
    names += (names.empty() ? "" : ", ") + std::string(d.name);
  }
  if (wanted.empty()) throw missing(kDesktops[0].package, kDesktops[0].command);
  throw Error(ErrorKind::invalid, "make an RDP server: there is no such desktop")
      .with_fields({{"/desktop", "must be one of " + names + ", or empty for the default"}});
}

std::vector<std::string> Host::desktop_command(const std::string& desktop) const {
  // Openbox paints no background: people would take its black screen for a dead one.
  if (desktop == "openbox") return {"/bin/sh", "-c", "xsetroot -solid '#305070'; exec /usr/bin/openbox-session"};
  for (const Desktop& d : kDesktops)
    if (desktop == d.name) return {d.command};
  throw Error(ErrorKind::corrupt, "start the desktop " + desktop + ": no such desktop is known");
}

File Host::lock_host() const {
  const std::string& path = config_.paths.host_lock;
  File file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) throw system_error("open", path, errno);
  if (::flock(file.fd(), LOCK_EX | LOCK_NB) != 0) {
    char pid[24] = {};
    ssize_t n = ::pread(file.fd(), pid, sizeof pid - 1, 0);
    throw Error(
        ErrorKind::unavailable, "already_running",
        fmt::format("manage this host's RDP servers: another rdp-server-manager does (process {}); xrdp-sesman's fixed port allows one",
                    n > 0 ? pid : "unknown"));
  }
  std::string pid = std::to_string(::getpid());
  if (::ftruncate(file.fd(), 0) != 0 || ::pwrite(file.fd(), pid.data(), pid.size(), 0) < 0) throw system_error("write", path, errno);
  return file;
}

void Host::prepare_certificate(std::int64_t now_wall_ms) {
  FileOps& files = system_files();
  certificate_ = config_.tls_certificate;
  key_ = config_.tls_key;
  if (certificate_.empty()) {
    std::string directory = config_.paths.data + "/tls";
    certificate_ = directory + "/cert.pem";
    key_ = directory + "/key.pem";
    files.make_directories(directory);
    // The key first: a certificate without its key would look finished.
    if (!files.exists(certificate_) || !files.exists(key_)) {
      auto made = crypto::make_self_signed("lucid", {"lucid"}, now_wall_ms, 3650);
      files.replace_file(key_, as_bytes(made.private_key_pem));
      files.replace_file(certificate_, as_bytes(made.certificate_pem));
    }
  }
  auto refuse = [&](const std::string& why) {
    return Error(ErrorKind::unavailable, "certificate_unusable",
                 fmt::format("use the TLS certificate {} with {}: {}", certificate_, key_, why));
  };
  Bytes certificate, key;
  try {
    certificate = files.read_file(certificate_, 1 << 20);
    key = files.read_file(key_, 1 << 20);
  } catch (const Error& e) { throw refuse(e.what()); }
  if (auto why = crypto::certificate_problem(as_text(certificate), as_text(key))) throw refuse(*why);
  fingerprint_ = crypto::certificate_fingerprint(as_text(certificate)).value();
}

std::int64_t Host::certificate_expires_wall_ms() const {
  auto expires = crypto::certificate_expires_wall_ms(as_text(system_files().read_file(certificate_, 1 << 20)));
  if (!expires) throw expires.error();
  return *expires;
}

std::string Host::install_hook() const {
  const Paths& p = config_.paths;
  // Debian mounts /run noexec where an initramfs is used; only the socket can live there then.
  for (const std::string& directory : {p.run, p.hook_fallback}) {
    if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) throw system_error("create directory", directory, errno);
    struct stat status{};
    if (::lstat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) || status.st_uid != 0 || ::chmod(directory.c_str(), 0755) != 0)
      throw Error(ErrorKind::unavailable, "run_directory", "use " + directory + ": it must be a directory of root's");
    struct statvfs mount{};
    if (::statvfs(directory.c_str(), &mount) != 0 || (mount.f_flag & ST_NOEXEC) != 0) continue;
    std::string socket = directory + "/hook.socket", place = p.run + "/hook.sock\n";
    system_files().replace_file(socket, as_bytes(place));
    if (::chmod(socket.c_str(), 0644) != 0) throw system_error("chmod", socket, errno);
    copy_executable(p.hook, directory + "/lucid-session-start");
    return directory + "/lucid-session-start";
  }
  throw Error(ErrorKind::unavailable, "run_directory",
              fmt::format("install the start hook: {} and {} are both mounted noexec", p.run, p.hook_fallback));
}

std::string Host::directory(const Id& slot) const { return config_.paths.data + "/servers/" + slot.text(); }

void Host::write_files(const Record& r) {
  std::string place = directory(r.slot);
  system_files().make_directories(place);
  system_files().replace_file(ini(r.slot), as_bytes(xrdp_ini({.port = r.port,
                                                              .color_depth = r.color_depth,
                                                              .account = r.account,
                                                              .certificate = certificate_,
                                                              .key = key_,
                                                              .log = place + "/xrdp.log"})));
}

ProcessId Host::start_xrdp(const Record& r) {
  ProcessId process = start_detached({.argv = {config_.paths.xrdp, "-n", "-c", ini(r.slot)}, .log = directory(r.slot) + "/xrdp.out"});
  cgroups_.add(r.slot.text(), process.pid);
  return process;
}

std::optional<std::string> Host::wait_until_ready(const Record& r) const {
  File ended(static_cast<int>(::syscall(SYS_pidfd_open, r.xrdp.pid, 0)));
  std::string why = "it does not listen";
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (;;) {
    auto peer = probe_rdp(r.port, std::chrono::seconds(5));
    if (peer && peer->fingerprint == fingerprint_) return std::nullopt;
    why = peer ? "something else answers on its port, with another certificate" : peer.error().what();
    // Nothing tells when a daemon listens; until it does, its end is what is waited for.
    pollfd wait{ended.fd(), POLLIN, 0};
    if (::poll(&wait, 1, 10) > 0 || !table_.alive(r.xrdp)) {
      std::string log;
      for (const char* name : {"/xrdp.out", "/xrdp.log"}) try {
          Bytes bytes = system_files().read_file(directory(r.slot) + name);
          log += as_text(ByteView(bytes).last(std::min<std::size_t>(bytes.size(), 300)));
        } catch (const Error&) {  // never made
        }
      return "it ended; its log: " + to_utf8(log, 600);
    }
    if (std::chrono::steady_clock::now() > deadline) return why;
  }
}

std::vector<Process> Host::processes(const Record& r, Part part) const {
  std::vector<Process> all = table_.all(), found;
  std::set<pid_t> chosen;
  for (const Process& p : ProcessTable::family(all, r.leader)) chosen.insert(p.id.pid);
  if (r.session)
    for (const ProcessId& id : {r.session->x_server, r.session->hook})
      if (table_.alive(id)) chosen.insert(id.pid);
  for (pid_t pid : cgroups_.members(r.slot.text())) chosen.insert(pid);
  // The leader of an ephemeral account's session, before the hook told of it: root's, known by its child. The sesman itself, which leads the
  // kernel's session too, is none.
  if (r.ephemeral && r.uid >= 1000)
    for (const Process& child : all)
      if (child.uid == r.uid)
        for (const Process& p : all)
          if (p.id.pid == child.parent && p.uid == 0 && p.name == "xrdp-sesman" && ::getsid(p.id.pid) != p.id.pid) chosen.insert(p.id.pid);
  const std::string file = ini(r.slot), display = r.session ? ":" + std::to_string(r.session->display) : "";
  for (Process& p : all) {
    bool member = chosen.contains(p.id.pid);
    if (!member && r.uid >= 1000 && p.uid == r.uid)
      // A named account may be at work elsewhere too; an ephemeral one has nothing but this server.
      member = r.ephemeral || (!display.empty() && [&] {
                 auto value = table_.environment(p.id.pid, "DISPLAY");
                 return value && (*value == display || value->starts_with(display + "."));
               }());
    bool is_xrdp = p.name == "xrdp" && p.uid == 0;
    if (is_xrdp) {
      auto argv = table_.argv(p.id.pid);
      is_xrdp = std::ranges::find(argv, file) != argv.end();
      member = is_xrdp;  // never another server's
    }
    if (member && (part == Part::all || !is_xrdp)) found.push_back(std::move(p));
  }
  return found;
}

bool Host::end_processes(const std::function<std::vector<Process>()>& find) const {
  for (auto [signal, grace] : {std::pair{SIGTERM, kTermGrace}, std::pair{SIGKILL, kKillGrace}}) {
    auto deadline = std::chrono::steady_clock::now() + grace;
    std::set<ProcessId> told;
    for (auto left = grace; left > std::chrono::seconds(0);) {
      std::vector<Process> living = find();
      if (living.empty()) return true;
      // A leader ends with its session's programs, but not while it waits for an X server that will never come: it is not waited for alone.
      bool leaders_alone = std::ranges::all_of(living, [](const Process& p) { return p.name == "xrdp-sesman"; });
      if (signal == SIGTERM && leaders_alone && deadline - std::chrono::steady_clock::now() < grace - std::chrono::seconds(1)) break;
      std::vector<File> descriptors;
      std::vector<pollfd> wait;
      for (const Process& p : living) {
        File fd(static_cast<int>(::syscall(SYS_pidfd_open, p.id.pid, 0)));
        // Signalled through the descriptor of the very process that was chosen, never by a number that may be another's by now.
        if (!fd || !table_.alive(p.id)) continue;
        if (told.insert(p.id).second) ::syscall(SYS_pidfd_send_signal, fd.fd(), signal, nullptr, 0);
        wait.push_back({fd.fd(), POLLIN, 0});
        descriptors.push_back(std::move(fd));
      }
      auto now = std::chrono::steady_clock::now();
      left = std::chrono::ceil<std::chrono::seconds>(deadline - now);
      auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now).count();
      // Looked again at every end, and twice a second for what was newly made.
      if (!wait.empty() && ms > 0) ::poll(wait.data(), wait.size(), static_cast<int>(std::min<std::int64_t>(ms, 500)));
    }
  }
  return find().empty();
}

bool Host::end(const Record& r, Part part) {
  bool ended = end_processes([&] { return processes(r, part); });
  if (ended && r.session) displays_.remove(r.session->display);
  if (ended && part == Part::all) cgroups_.remove(r.slot.text());
  return ended;
}

void Host::erase(const Record& r) {
  if (r.ephemeral && !r.account.empty()) {
    // While the account is there its number is nobody else's.
    if (r.uid != 0)
      for (int display : displays_.left_by(r.uid, table_)) displays_.remove(display);
    accounts_.remove({.name = r.account, .uid = r.uid, .gid = r.gid, .gecos = "", .home = r.home},
                     r.keep_home ? Accounts::Home::kept : Accounts::Home::removed);
  }
  system_files().remove_tree(directory(r.slot));
  cgroups_.remove(r.slot.text());
}

std::string Host::x_log(const Record& r) const {
  std::string newest;
  timespec newest_time{};
  for (const std::string& name : system_files().list(r.home)) {
    struct stat status{};
    std::string path = r.home + "/" + name;
    if (!name.starts_with(".xorgxrdp.") || !name.ends_with(".log") || ::lstat(path.c_str(), &status) != 0) continue;
    if (newest.empty() || std::pair(status.st_mtim.tv_sec, status.st_mtim.tv_nsec) > std::pair(newest_time.tv_sec, newest_time.tv_nsec))
      newest = path, newest_time = status.st_mtim;
  }
  if (newest.empty()) return "Xorg left no log";
  // The home is its user's: no link out of it is followed, no file of others shown.
  File file(::open(newest.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status{};
  if (!file || ::fstat(file.fd(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != r.uid) return "Xorg's log cannot be read";
  std::array<char, 1500> tail;
  ssize_t n = ::pread(file.fd(), tail.data(), tail.size(), std::max<off_t>(0, status.st_size - static_cast<off_t>(tail.size())));
  return to_utf8(std::string_view(tail.data(), static_cast<std::size_t>(std::max<ssize_t>(n, 0))), 2000);
}

}  // namespace lucid::server_manager
