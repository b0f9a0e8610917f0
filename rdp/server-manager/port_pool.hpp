// Loopback ports for xrdp: taken only after a trial bind, and not given again within 60 s of their return (a client or an old connection may
// still knock). Returns are kept by the Manager over restarts (returned(), restore()). Thread-safe. Error{conflict, "ports_exhausted"}.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>

#include "lib/base/clock.hpp"

namespace lucid::server_manager {

class PortPool {
 public:
  using Free = std::function<bool(std::uint16_t)>;
  PortPool(std::uint16_t first, std::uint16_t last, const Clock& clock, Free is_free);
  std::uint16_t take();
  void reserve(std::uint16_t port);  // of an adopted server
  void give_back(std::uint16_t port);
  struct Use {
    std::size_t taken = 0, resting = 0, all = 0;
  };
  Use use() const;
  std::map<std::uint16_t, std::int64_t> returned() const;  // port → wall clock, those still resting
  void restore(const std::map<std::uint16_t, std::int64_t>& returned);

 private:
  const std::uint16_t first_, last_;
  const Clock& clock_;
  const Free is_free_;
  mutable std::mutex mutex_;
  std::uint16_t next_;
  std::set<std::uint16_t> taken_;
  std::map<std::uint16_t, std::int64_t> resting_;
};

// Whether 127.0.0.1:port can be bound and listened on now.
bool can_listen(std::uint16_t port);

}  // namespace lucid::server_manager
