// Documents: JSON texts under ordered string keys in named collections, with a version each. The subset every
// MongoDB-compatible server has: single-document atomicity, unique keys, key-range scans; no multi-document transaction
// is needed by any caller. Every change is durable (survives power loss) when the call returns; changes that several
// threads ask for at once share one sync. Any thread. Errors: Error{storage_full} when the disk is full, {unavailable}
// when it fails otherwise, {corrupt} when what is there is no database; then nothing was changed.
// Backends run through documents_conformance.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.hpp"

namespace lucid::store {

struct Document {
  std::string key;
  std::int64_t version = 1;  // 1 at insert, +1 at every replace
  std::string json;
};

enum class Order { ascending, descending };

struct Scan {
  // The keys in [from, to) in byte order; `order` only says from which end they come. So a page that goes downwards is
  // continued with `to` = the last key seen.
  std::string from = {};  // inclusive; empty: no bound
  std::string to = {};    // exclusive; empty: no bound
  std::size_t limit = 100;
  Order order = Order::ascending;
};

class Documents {
 public:
  virtual ~Documents() = default;
  // False when the key exists (nothing changed).
  virtual bool insert(const std::string& collection, const std::string& key, const std::string& json) = 0;
  // Inserts all in one durable step; answers for each whether it was new. All or nothing on failure.
  struct Insert {
    std::string collection, key, json;
  };
  virtual std::vector<bool> insert_many(std::span<const Insert> inserts) = 0;
  virtual std::optional<Document> get(const std::string& collection, const std::string& key) = 0;
  // False when the stored version is not `expected_version` or the key is absent.
  virtual bool replace(const std::string& collection, const std::string& key, const std::string& json, std::int64_t expected_version) = 0;
  // Insert or replace whatever is there.
  virtual void put(const std::string& collection, const std::string& key, const std::string& json) = 0;
  virtual bool remove(const std::string& collection, const std::string& key) = 0;
  // Removes keys in [from, to); the number removed.
  virtual std::uint64_t remove_range(const std::string& collection, const std::string& from, const std::string& to) = 0;
  virtual std::vector<Document> scan(const std::string& collection, const Scan& scan) = 0;
  virtual std::uint64_t count(const std::string& collection, const std::string& from, const std::string& to) = 0;
};

// One SQLite file in WAL mode, synchronous=FULL, mode 0600. Throws Error naming the file.
std::unique_ptr<Documents> open_sqlite_documents(const std::string& path);

// Key part that sorts as the number does: 16 hex digits.
std::string sortable(std::uint64_t number);
// The end of the key range that starts with `prefix` (prefix + 0xff…).
std::string after_prefix(const std::string& prefix);

}  // namespace lucid::store
