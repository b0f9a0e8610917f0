// Unix accounts of servers. Ephemeral ones are made and removed with Debian's useradd/userdel/chpasswd (one at a time: they lock /etc/passwd)
// and carry the GECOS "Lucid <server>", so that what is left over can be recognised. Passwords reach chpasswd through stdin, hashed with few
// rounds (they are 119 random bits, so a slow hash would protect nothing and cost connect time). Thread-safe.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "lib/base/random.hpp"

namespace lucid::server_manager {

inline constexpr std::string_view kGecosPrefix = "Lucid ";

struct Account {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string gecos, home;
};
// The accounts of a passwd(5) text that carry our GECOS with an id.
std::vector<Account> accounts_of_ours(std::string_view passwd);

class Accounts {
 public:
  explicit Accounts(RandomSource& random, std::string root = "") : random_(random), root_(std::move(root)) {}
  std::optional<Account> find(const std::string& name) const;  // through NSS: local, LDAP, …
  std::vector<Account> ours() const;                           // from /etc/passwd
  Account create(const std::string& server);                   // Error{unavailable, "account_failed"}
  std::string random_password();
  void set_password(const std::string& name, const std::string& password);
  // The hash as it is in /etc/shadow, to be put back later.
  std::optional<std::string> password_hash(const std::string& name) const;
  void set_password_hash(const std::string& name, const std::string& hash);
  // Absent is fine. A kept home is given to root, so that no later account with the same number owns it.
  enum class Home { removed, kept };
  void remove(const Account& account, Home home);

 private:
  // What a process that was killed left mounted there (chansrv mounts drives of old configurations) keeps a home from being removed.
  static void unmount_under(const std::string& home);
  void change(const std::vector<std::string>& argv, std::string_view input, int fine, const std::string& what);
  std::string random_text(std::size_t length);
  RandomSource& random_;
  const std::string root_;
  mutable std::mutex mutex_;
};

}  // namespace lucid::server_manager
