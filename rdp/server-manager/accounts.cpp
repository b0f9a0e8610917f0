#include "rdp/server-manager/accounts.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>

#include <pwd.h>
#include <shadow.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "lib/base/file_ops.hpp"
#include "lib/base/id.hpp"
#include "rdp/server-manager/child.hpp"

namespace lucid::server_manager {
namespace {

constexpr int kPasswdBusy = 1, kUserMissing = 6, kUserAddBusy = 10;  // useradd(8), userdel(8)
constexpr std::chrono::seconds kPatience{20};

}  // namespace

std::vector<Account> accounts_of_ours(std::string_view passwd) {
  std::vector<Account> found;
  while (!passwd.empty()) {
    std::size_t end = std::min(passwd.find('\n'), passwd.size());
    std::string_view line = passwd.substr(0, end);
    passwd.remove_prefix(std::min(end + 1, passwd.size()));
    std::array<std::string_view, 7> field;  // name:password:uid:gid:gecos:home:shell
    std::size_t n = 0;
    for (; n < field.size(); ++n) {
      std::size_t colon = line.find(':');
      field[n] = line.substr(0, colon);
      if (colon == std::string_view::npos) break;
      line.remove_prefix(colon + 1);
    }
    if (n != 6 || !field[4].starts_with(kGecosPrefix) || !Id::parse(field[4].substr(kGecosPrefix.size()))) continue;
    if (!field[0].starts_with("lu")) continue;
    Account a{.name = std::string(field[0]), .gecos = std::string(field[4]), .home = std::string(field[5])};
    auto uid = std::from_chars(field[2].data(), field[2].data() + field[2].size(), a.uid);
    auto gid = std::from_chars(field[3].data(), field[3].data() + field[3].size(), a.gid);
    if (uid.ec != std::errc() || gid.ec != std::errc() || a.uid < 1000) continue;  // never a system account, whatever its GECOS says
    found.push_back(std::move(a));
  }
  return found;
}

std::optional<Account> Accounts::find(const std::string& name) const {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(16 << 10);
  int e = ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (e == ERANGE) {
    buffer.resize(1 << 20);
    e = ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  }
  if (found == nullptr) return std::nullopt;
  return Account{.name = entry.pw_name, .uid = entry.pw_uid, .gid = entry.pw_gid, .gecos = entry.pw_gecos, .home = entry.pw_dir};
}

std::vector<Account> Accounts::ours() const { return accounts_of_ours(as_text(system_files().read_file(root_ + "/etc/passwd"))); }

std::string Accounts::random_text(std::size_t length) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::string text;
  while (text.size() < length)
    for (std::uint8_t b : random_.array<32>())
      if (b < 7 * kLetters.size() && text.size() < length) text += kLetters[b % kLetters.size()];  // the rest would favour some
  return text;
}

std::string Accounts::random_password() { return random_text(23); }

void Accounts::change(const std::vector<std::string>& argv, std::string_view input, int fine, const std::string& what) {
  std::lock_guard lock(mutex_);
  Ran ran;
  for (int attempt = 0; attempt < 8; ++attempt) {
    ran = run(argv, input, kPatience);
    if (ran.ok() || ran.exit_code == fine) return;
    // Somebody else changes /etc/passwd: its lock has no queue to wait in.
    bool busy = ran.output.find("cannot lock") != std::string::npos && (ran.exit_code == kPasswdBusy || ran.exit_code == kUserAddBusy);
    if (!busy) break;
    ::usleep(static_cast<useconds_t>(25'000 << attempt));
  }
  throw Error(ErrorKind::unavailable, "account_failed",
              fmt::format("{}: {} answered {}{}: {}", what, argv.front(), ran.exit_code, ran.timed_out ? " (too slow)" : "",
                          to_utf8(ran.output, 500)));
}

Account Accounts::create(const std::string& server) {
  std::string name;
  do name = "lu" + random_text(7);  // 9 characters: clients cut the name they send in the first packet there
  while (find(name));
  const std::string shell = ::access("/bin/bash", X_OK) == 0 ? "/bin/bash" : "/bin/sh";
  change({"/usr/sbin/useradd", "-m", "-U", "-c", std::string(kGecosPrefix) + server, "-d", "/home/" + name, "-s", shell, "-K",
          "HOME_MODE=0700", name},
         "", 0, "create account " + name);
  auto made = find(name);
  if (!made) throw Error(ErrorKind::unavailable, "account_failed", "create account " + name + ": it is not there after useradd");
  return *made;
}

void Accounts::set_password(const std::string& name, const std::string& password) {
  change({"/usr/sbin/chpasswd", "-c", "SHA512", "-s", "1000"}, name + ":" + password + "\n", 0, "set the password of " + name);
}

std::optional<std::string> Accounts::password_hash(const std::string& name) const {
  spwd entry{};
  spwd* found = nullptr;
  std::vector<char> buffer(16 << 10);
  if (::getspnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) return std::nullopt;
  return std::string(entry.sp_pwdp);
}

void Accounts::set_password_hash(const std::string& name, const std::string& hash) {
  change({"/usr/sbin/chpasswd", "-e"}, name + ":" + hash + "\n", 0, "restore the password of " + name);
}

void Accounts::unmount_under(const std::string& home) {
  std::ifstream mounts("/proc/self/mounts");
  std::string device, where, rest;
  for (; mounts >> device >> where && std::getline(mounts, rest);)
    if (where.starts_with(home + "/")) ::umount2(where.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
}

void Accounts::remove(const Account& account, Home home) {
  if (account.home.starts_with("/home/lu")) unmount_under(account.home);
  // Only ever what we made: the name is looked at again, because a document could be old.
  auto now = find(account.name);
  if (now && now->gecos.starts_with(kGecosPrefix) && now->uid == account.uid) {
    std::vector<std::string> argv{"/usr/sbin/userdel", "-f"};
    if (home == Home::removed) argv.emplace_back("-r");
    argv.push_back(account.name);
    change(argv, "", kUserMissing, "remove account " + account.name);
  }
  if (home == Home::kept) {
    if (::lchown(account.home.c_str(), 0, 0) == 0) ::chmod(account.home.c_str(), 0700);
  } else if (account.home.starts_with("/home/lu") && system_files().exists(account.home)) {
    // userdel stops at what it cannot remove; nothing else may own that path.
    system_files().remove_tree(account.home);
  }
}

}  // namespace lucid::server_manager
