// Fenced leases: who may act on a resource now. Each grant carries a fencing token greater than any before it for that
// resource, so a holder that was replaced is recognised however late it speaks. In process. Token and holder are durable
// when acquire() or release() returns, so tokens keep growing over restarts; expiry is kept in memory, so renew() costs
// no disk access. After a restart the holder on record counts as unexpired for one ttl. Expiry follows steady time: a
// jump of the wall clock ends no lease. Thread-safe; work on one resource never waits for the disk of another.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "lib/base/clock.hpp"
#include "lib/store/documents.hpp"

namespace lucid::store {

struct Lease {
  std::string resource, holder;
  std::uint64_t fencing_token = 0;
  std::int64_t expires_wall_ms = 0;
};

class Leases {
 public:
  Leases(Documents& documents, const Clock& clock, std::int64_t ttl_ms);
  // Granted when free, expired, or already held by `holder` (then with a new token).
  std::optional<Lease> acquire(const std::string& resource, const std::string& holder);
  // False when the token is no longer the current one. A late renewal stands as long as nobody else has acquired.
  bool renew(const std::string& resource, std::uint64_t fencing_token);
  bool release(const std::string& resource, std::uint64_t fencing_token);
  std::optional<Lease> current(const std::string& resource);  // nullopt: free or expired

 private:
  struct Entry {
    std::mutex mutex;
    bool loaded = false, dropped = false;  // dropped: no longer in the table, look it up again
    std::string holder;                    // empty: free
    std::uint64_t token = 0;
    std::int64_t expires_steady_ms = 0;
  };
  // The entry of `resource`, loaded, with its mutex held.
  struct Locked {
    std::shared_ptr<Entry> entry;
    std::unique_lock<std::mutex> lock;
  };
  Locked lock_entry(const std::string& resource);
  void persist(const std::string& resource, const std::string& holder, std::uint64_t token);
  void drop(const std::string& resource, Entry& entry);
  Lease lease_of(const std::string& resource, const Entry& entry) const;

  Documents& documents_;
  const Clock& clock_;
  std::int64_t ttl_ms_;
  std::int64_t started_steady_ms_;
  std::mutex mutex_;  // the table only; never held over disk access
  std::unordered_map<std::string, std::shared_ptr<Entry>> entries_;
};

}  // namespace lucid::store
