#include "lib/store/leases.hpp"

#include "lib/base/json.hpp"

namespace lucid::store {

namespace {

constexpr const char* kCollection = "leases";

}  // namespace

Leases::Leases(Documents& documents, const Clock& clock, std::int64_t ttl_ms)
    : documents_(documents), clock_(clock), ttl_ms_(ttl_ms), started_steady_ms_(clock.steady_ms()) {}

Leases::Locked Leases::lock_entry(const std::string& resource) {
  while (true) {
    std::shared_ptr<Entry> entry;
    {
      std::lock_guard lock(mutex_);
      auto& slot = entries_[resource];
      if (!slot) slot = std::make_shared<Entry>();
      entry = slot;
    }
    std::unique_lock lock(entry->mutex);
    if (entry->dropped) continue;
    if (!entry->loaded) {
      if (auto document = documents_.get(kCollection, resource)) {
        auto parsed = parse_json(document->json);
        if (!parsed) throw Error(ErrorKind::corrupt, "lease_corrupt", "stored lease of " + resource + " is not JSON");
        FieldReader in(*parsed);
        entry->holder = in.text_or("holder", "", {.min = 0, .max = 1024});
        entry->token = static_cast<std::uint64_t>(in.integer("token", 0, INT64_MAX));
        in.finish();
        // The holder on record may live on: it has one ttl from our start to renew.
        entry->expires_steady_ms = started_steady_ms_ + ttl_ms_;
      }
      entry->loaded = true;
    }
    return {std::move(entry), std::move(lock)};
  }
}

void Leases::persist(const std::string& resource, const std::string& holder, std::uint64_t token) {
  documents_.put(kCollection, resource, json::serialize(json::object{{"holder", holder}, {"token", token}}));
}

// Memory holds only resources that are leased: the rest is on record. The entry's mutex is held.
void Leases::drop(const std::string& resource, Entry& entry) {
  std::lock_guard lock(mutex_);
  entry.dropped = true;
  entries_.erase(resource);
}

Lease Leases::lease_of(const std::string& resource, const Entry& entry) const {
  return {resource, entry.holder, entry.token, clock_.wall_ms() + entry.expires_steady_ms - clock_.steady_ms()};
}

std::optional<Lease> Leases::acquire(const std::string& resource, const std::string& holder) {
  auto [entry, lock] = lock_entry(resource);
  bool held = !entry->holder.empty() && entry->expires_steady_ms > clock_.steady_ms();
  if (held && entry->holder != holder) return std::nullopt;
  persist(resource, holder, entry->token + 1);
  entry->holder = holder;
  ++entry->token;
  entry->expires_steady_ms = clock_.steady_ms() + ttl_ms_;
  return lease_of(resource, *entry);
}

bool Leases::renew(const std::string& resource, std::uint64_t fencing_token) {
  auto [entry, lock] = lock_entry(resource);
  if (entry->holder.empty()) return drop(resource, *entry), false;
  if (entry->token != fencing_token) return false;
  entry->expires_steady_ms = clock_.steady_ms() + ttl_ms_;
  return true;
}

bool Leases::release(const std::string& resource, std::uint64_t fencing_token) {
  auto [entry, lock] = lock_entry(resource);
  if (entry->holder.empty()) return drop(resource, *entry), false;
  if (entry->token != fencing_token) return false;
  persist(resource, "", fencing_token);
  drop(resource, *entry);
  return true;
}

std::optional<Lease> Leases::current(const std::string& resource) {
  auto [entry, lock] = lock_entry(resource);
  if (entry->holder.empty()) return drop(resource, *entry), std::nullopt;
  if (entry->expires_steady_ms <= clock_.steady_ms()) return std::nullopt;
  return lease_of(resource, *entry);
}

}  // namespace lucid::store
