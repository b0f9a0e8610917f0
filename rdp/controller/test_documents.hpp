// Documents in memory, for tests that begin hundreds of lives: what they prove is in the controller, not on the disk.
#pragma once

#include <map>
#include <mutex>

#include "lib/store/documents.hpp"

namespace lucid::controller {

class MemoryDocuments final : public store::Documents {
 public:
  bool insert(const std::string& c, const std::string& k, const std::string& j) override {
    std::lock_guard lock(mutex_);
    return all_[c].try_emplace(k, store::Document{k, 1, j}).second;
  }
  std::vector<bool> insert_many(std::span<const Insert> inserts) override {
    std::vector<bool> out;
    for (const Insert& i : inserts) out.push_back(insert(i.collection, i.key, i.json));
    return out;
  }
  std::optional<store::Document> get(const std::string& c, const std::string& k) override {
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
  std::vector<store::Document> scan(const std::string& c, const store::Scan& scan) override {
    std::lock_guard lock(mutex_);
    std::vector<store::Document> out;
    auto take = [&](const auto& e) {
      if (out.size() < scan.limit && inside(e.first, scan.from, scan.to)) out.push_back(e.second);
    };
    if (scan.order == store::Order::ascending)
      for (const auto& e : all_[c]) take(e);
    else
      for (auto it = all_[c].rbegin(); it != all_[c].rend(); ++it) take(*it);
    return out;
  }
  std::uint64_t count(const std::string& c, const std::string& from, const std::string& to) override {
    std::lock_guard lock(mutex_);
    std::uint64_t n = 0;
    for (const auto& e : all_[c]) n += inside(e.first, from, to) ? 1 : 0;
    return n;
  }

 private:
  static bool inside(const std::string& key, const std::string& from, const std::string& to) {
    return key >= from && (to.empty() || key < to);
  }
  std::mutex mutex_;
  std::map<std::string, std::map<std::string, store::Document>> all_;
};

}  // namespace lucid::controller
