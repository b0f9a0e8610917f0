#include "sessions/api/idempotency.hpp"

#include <algorithm>

#include "lib/base/json.hpp"
#include "lib/crypto/hash.hpp"

namespace lucid::api {
namespace {

constexpr const char* kCollection = "idempotency";
constexpr std::int64_t kDayMs = 86'400'000;

void add(crypto::Sha256Hasher& hasher, std::string_view part) {
  Bytes size;
  ByteWriter(size).u64(part.size());
  hasher.update(size);
  hasher.update(as_bytes(part));
}

std::string hash(std::initializer_list<std::string_view> parts) {
  crypto::Sha256Hasher hasher;
  for (std::string_view part : parts) add(hasher, part);
  return to_hex(hasher.finish());
}

std::string checked(const std::string& stored, const IdempotencyKeys::Asked& asked) {
  auto value = parse_json(stored);
  const json::object* o = value ? value->if_object() : nullptr;
  const json::value* fingerprint = o != nullptr ? o->if_contains("fingerprint") : nullptr;
  const json::value* kept = o != nullptr ? o->if_contains("value") : nullptr;
  if (fingerprint == nullptr || kept == nullptr || !fingerprint->is_string() || !kept->is_string())
    throw Error(ErrorKind::corrupt, "idempotency_document", "a stored idempotency key cannot be read");
  if (fingerprint->get_string() != asked.fingerprint)
    throw Error(ErrorKind::conflict, "idempotency_key_reused", "this Idempotency-Key was used for another request; choose a new one");
  return std::string(kept->get_string());
}

}  // namespace

IdempotencyKeys::Asked IdempotencyKeys::asked(std::string_view principal, std::string_view key, std::string_view method,
                                              std::string_view path, ByteView body) {
  bool printable = std::all_of(key.begin(), key.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  if (key.empty() || key.size() > 255 || !printable)
    throw Error(ErrorKind::invalid, "invalid_idempotency_key", "Idempotency-Key must be 1 to 255 printable ASCII characters");
  return {hash({principal, key}), hash({method, path, as_text(body)})};
}

std::uint64_t IdempotencyKeys::today() const {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(clock_.wall_ms(), kDayMs) / kDayMs);
}

std::optional<std::string> IdempotencyKeys::find(const Asked& asked) {
  for (std::uint64_t day : {today(), today() - 1})
    if (auto document = documents_.get(kCollection, store::sortable(day) + "/" + asked.slot)) return checked(document->json, asked);
  return std::nullopt;
}

std::string IdempotencyKeys::claim(const Asked& asked, const std::string& value) {
  if (auto known = find(asked)) return *known;
  drop_days_before(today() - 1);
  std::string key = store::sortable(today()) + "/" + asked.slot;
  std::string document = json::serialize(json::object{{"fingerprint", asked.fingerprint}, {"value", value}});
  if (documents_.insert(kCollection, key, document)) return value;
  auto other = documents_.get(kCollection, key);  // another thread was quicker
  return other ? checked(other->json, asked) : value;
}

void IdempotencyKeys::drop_days_before(std::uint64_t day) {
  if (dropped_before_.exchange(day) != day) documents_.remove_range(kCollection, "", store::sortable(day));
}

}  // namespace lucid::api
