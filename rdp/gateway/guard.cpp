#include "rdp/gateway/guard.hpp"

#include <algorithm>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace lucid::gateway {
namespace {

struct Parts {
  std::string ip;
  std::uint16_t port = 0;
  bool v6 = false;
};

Parts parts(const sockaddr_storage& address, bool network) {
  char text[INET6_ADDRSTRLEN] = {};
  Parts out;
  if (address.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &address, sizeof in);
    ::inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
    out = {text, ntohs(in.sin_port), false};
  } else if (address.ss_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &address, sizeof in);
    out.port = ntohs(in.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
      ::inet_ntop(AF_INET, in.sin6_addr.s6_addr + 12, text, sizeof text);
    } else {
      if (network && !IN6_IS_ADDR_LOOPBACK(&in.sin6_addr)) std::memset(in.sin6_addr.s6_addr + 8, 0, 8);
      ::inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof text);
      out.v6 = true;
    }
    out.ip = text;
  }
  return out;
}

}  // namespace

std::string address_text(const sockaddr_storage& address) {
  Parts p = parts(address, false);
  return (p.v6 ? "[" + p.ip + "]" : p.ip) + ":" + std::to_string(p.port);
}

std::string address_key(const sockaddr_storage& address) {
  Parts p = parts(address, true);
  return p.v6 && p.ip != "::1" ? p.ip + "/64" : p.ip;
}

bool Guard::exempt(const std::string& key) const { return config_.exempt_loopback && (key.starts_with("127.") || key == "::1"); }

// Forgets entries that no longer say anything; when that is not enough, all that are neither connected nor banned, then all that are not
// connected: whole sweeps, so that a flood of addresses does not pay for one each.
void Guard::make_room(std::int64_t now) {
  auto refilled = [&](const Entry& e) {
    return static_cast<double>(now - e.refilled_ms) / 1000 * config_.connections_per_second >= config_.burst;
  };
  auto full = [&] { return entries_.size() >= config_.max_addresses; };
  std::erase_if(entries_, [&](const auto& item) {
    const Entry& e = item.second;
    return e.open == 0 && e.banned_until_ms <= now && now - e.failures_since_ms > config_.ban_window_ms && refilled(e);
  });
  if (full()) std::erase_if(entries_, [&](const auto& item) { return item.second.open == 0 && item.second.banned_until_ms <= now; });
  if (full()) std::erase_if(entries_, [](const auto& item) { return item.second.open == 0; });
}

Guard::Entry& Guard::entry(const std::string& key, std::int64_t now) {
  auto found = entries_.find(key);
  if (found != entries_.end()) return found->second;
  if (entries_.size() >= config_.max_addresses) make_room(now);
  Entry fresh;
  fresh.tokens = config_.burst;
  fresh.refilled_ms = now;
  return entries_.emplace(key, fresh).first->second;
}

Guard::Verdict Guard::enter(const std::string& key, std::int64_t now) {
  std::lock_guard lock(mutex_);
  Entry& e = entry(key, now);
  if (!exempt(key)) {
    if (e.banned_until_ms > now) return Verdict::banned;
    double earned = static_cast<double>(std::max<std::int64_t>(0, now - e.refilled_ms)) / 1000 * config_.connections_per_second;
    e.tokens = std::min(config_.burst, e.tokens + earned);
    e.refilled_ms = now;
    if (e.tokens < 1) return Verdict::too_fast;
    if (e.open >= config_.concurrent) return Verdict::too_many;
    e.tokens -= 1;
  }
  ++e.open;
  return Verdict::welcome;
}

void Guard::leave(const std::string& key) {
  std::lock_guard lock(mutex_);
  auto found = entries_.find(key);
  if (found != entries_.end() && found->second.open > 0) --found->second.open;
}

void Guard::adopt(const std::string& key) {
  std::lock_guard lock(mutex_);
  ++entry(key, 0).open;
}

bool Guard::failed(const std::string& key, std::int64_t now) {
  std::lock_guard lock(mutex_);
  if (exempt(key)) return false;
  Entry& e = entry(key, now);
  if (now - e.failures_since_ms > config_.ban_window_ms) {
    e.failures = 0;
    e.failures_since_ms = now;
  }
  if (++e.failures < config_.ban_after || e.banned_until_ms > now) return false;
  e.banned_until_ms = now + config_.ban_ms;
  return true;
}

std::vector<Ban> Guard::bans(std::int64_t now) const {
  std::lock_guard lock(mutex_);
  std::vector<Ban> out;
  for (const auto& [key, e] : entries_)
    if (e.banned_until_ms > now) out.push_back({key, e.banned_until_ms, e.failures});
  std::sort(out.begin(), out.end(), [](const Ban& a, const Ban& b) { return a.until_wall_ms > b.until_wall_ms; });
  return out;
}

void Guard::restore(const Ban& ban) {
  std::lock_guard lock(mutex_);
  Entry& e = entry(ban.address, 0);
  e.banned_until_ms = ban.until_wall_ms;
  e.failures = ban.failures;
}

std::size_t Guard::size() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

bool Guard::lift(const std::string& key) {
  std::lock_guard lock(mutex_);
  auto found = entries_.find(key);
  if (found == entries_.end() || found->second.banned_until_ms == 0) return false;
  found->second.banned_until_ms = 0;
  found->second.failures = 0;
  return true;
}

}  // namespace lucid::gateway
