// Which addresses may connect: a token bucket for new connections, a limit on concurrent ones, and a ban after repeated failures. Kept in
// memory, bounded; bans go to a successor with the hand-over and end with a crash. Any thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include <sys/socket.h>

#include "rdp/gateway/config.hpp"

namespace lucid::gateway {

struct Ban {
  std::string address;
  std::int64_t until_wall_ms = 0;
  int failures = 0;
};

// "192.0.2.7:50312", "[2001:db8::1]:50312"; an IPv4 address mapped into IPv6 is shown as IPv4.
std::string address_text(const sockaddr_storage& address);
// What limits are counted by: "192.0.2.7", "2001:db8::/64".
std::string address_key(const sockaddr_storage& address);

class Guard {
 public:
  enum class Verdict { welcome, banned, too_fast, too_many };

  explicit Guard(GuardConfig config) : config_(config) {}
  // A `welcome` counts as a concurrent connection until leave().
  Verdict enter(const std::string& key, std::int64_t now_wall_ms);
  void leave(const std::string& key);
  // A connection that another process accepted lives on here.
  void adopt(const std::string& key);
  // A handshake or admission failed by the client's doing. Answers whether the address is banned by it.
  bool failed(const std::string& key, std::int64_t now_wall_ms);
  std::vector<Ban> bans(std::int64_t now_wall_ms) const;
  void restore(const Ban& ban);
  bool lift(const std::string& key);
  std::size_t size() const;  // addresses remembered

 private:
  struct Entry {
    double tokens = 0;  // of the bucket, as of refilled_ms
    std::int64_t refilled_ms = 0;
    std::size_t open = 0;
    int failures = 0;
    std::int64_t failures_since_ms = 0;
    std::int64_t banned_until_ms = 0;
  };
  bool exempt(const std::string& key) const;
  Entry& entry(const std::string& key, std::int64_t now);
  void make_room(std::int64_t now);

  const GuardConfig config_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;
};

}  // namespace lucid::gateway
