// For tests only: documents in memory, for those that begin hundreds of lives, where what is proved is not on the disk. Survives nothing. Any thread.
#pragma once

#include <map>
#include <mutex>

#include "lib/store/documents.hpp"

namespace lucid::store {

class MemoryDocuments final : public Documents {
 public:
  bool insert(const std::string& c, const std::string& k, const std::string& j) override {
    std::lock_guard lock(mutex_);
    return all_[c].try_emplace(k, Document{k, 1, j}).second;
  }
  std::vector<bool> insert_many(std::span<const Insert> inserts) override {
    std::vector<bool> out;
    for (const Insert& i : inserts) out.push_back(insert(i.collection, i.key, i.json));
    return out;
  }
  std::optional<Document> get(const std::string& c, const std::string& k) override {
    std::lock_guard lock(mutex_);
    auto it = all_[c].find(k);
    return it == all_[c].end() ? std::nullopt : std::optional(it->second);
  }
  bool replace(const std::string& c, const std::string& k, const std::string& j, std::int64_t version) override {
    std::lock_guard lock(mutex_);
    auto it = all_[c].find(k);
    if (it == all_[c].end() || it->second.version != version) return false;
    it->second = {k, version + 1, j};
    return true;
  }
  void put(const std::string& c, const std::string& k, const std::string& j) override {
    std::lock_guard lock(mutex_);
    auto& d = all_[c][k];
    d = {k, d.version + 1, j};
  }
  bool remove(const std::string& c, const std::string& k) override {
    std::lock_guard lock(mutex_);
    return all_[c].erase(k) > 0;
  }
  std::uint64_t remove_range(const std::string& c, const std::string& from, const std::string& to) override {
    std::lock_guard lock(mutex_);
    return std::erase_if(all_[c], [&](const auto& e) { return inside(e.first, from, to); });
  }
  std::vector<Document> scan(const std::string& c, const Scan& scan) override {
    std::lock_guard lock(mutex_);
    std::vector<Document> out;
    auto& all = all_[c];
    auto begin = all.lower_bound(scan.from), end = scan.to.empty() ? all.end() : all.lower_bound(scan.to);
    if (scan.order == Order::ascending)
      for (auto it = begin; it != end && out.size() < scan.limit; ++it) out.push_back(it->second);
    else
      while (end != begin && out.size() < scan.limit) out.push_back((--end)->second);
    return out;
  }
  std::uint64_t count(const std::string& c, const std::string& from, const std::string& to) override {
    std::lock_guard lock(mutex_);
    std::uint64_t n = 0;
    for (const auto& e : all_[c]) n += inside(e.first, from, to) ? 1u : 0u;
    return n;
  }

 private:
  static bool inside(const std::string& key, const std::string& from, const std::string& to) {
    return key >= from && (to.empty() || key < to);
  }
  std::mutex mutex_;
  std::map<std::string, std::map<std::string, Document>> all_;
};

}  // namespace lucid::store
