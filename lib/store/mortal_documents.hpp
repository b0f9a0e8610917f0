// For tests only: documents whose process is killed at a chosen change of them. die_at() and revive() while nobody else uses it, the rest from any
// thread. Does not own `inner`, which holds what the next life finds.
#pragma once

#include <atomic>
#include <mutex>

#include "lib/store/documents.hpp"

namespace lucid::store {

// Counts changes; dies at one, before or after it is made: from then on every call throws, as if the process were gone. revive() is a disk that
// works again. 0 dies never.
class MortalDocuments final : public Documents {
 public:
  explicit MortalDocuments(Documents& inner, int dies_at = 0, bool after = false) : inner_(inner), dies_at_(dies_at), after_(after) {}
  void die_at(int change, bool after) {
    changes_ = 0;
    dies_at_ = change;
    after_ = after;
  }
  void revive() {
    dead_ = false;
    dies_at_ = 0;
  }
  bool dead() const { return dead_; }
  int changes() const { return changes_; }

  bool insert(const std::string& c, const std::string& k, const std::string& j) override {
    return change([&] { return inner_.insert(c, k, j); });
  }
  std::vector<bool> insert_many(std::span<const Insert> inserts) override {
    return change([&] { return inner_.insert_many(inserts); });
  }
  std::optional<Document> get(const std::string& c, const std::string& k) override { return alive(), inner_.get(c, k); }
  bool replace(const std::string& c, const std::string& k, const std::string& j, std::int64_t v) override {
    return change([&] { return inner_.replace(c, k, j, v); });
  }
  void put(const std::string& c, const std::string& k, const std::string& j) override {
    change([&] { return inner_.put(c, k, j), true; });
  }
  bool remove(const std::string& c, const std::string& k) override {
    return change([&] { return inner_.remove(c, k); });
  }
  std::uint64_t remove_range(const std::string& c, const std::string& f, const std::string& t) override {
    return change([&] { return inner_.remove_range(c, f, t); });
  }
  std::vector<Document> scan(const std::string& c, const Scan& s) override { return alive(), inner_.scan(c, s); }
  std::uint64_t count(const std::string& c, const std::string& f, const std::string& t) override { return alive(), inner_.count(c, f, t); }

 private:
  void alive() const {
    if (dead_) throw Error(ErrorKind::unavailable, "killed", "the process is gone");
  }
  template <class F>
  auto change(F f) -> decltype(f()) {
    std::lock_guard lock(mutex_);
    alive();
    if (++changes_ != dies_at_) return f();
    if (after_) f();
    dead_ = true;
    alive();
    return f();
  }
  Documents& inner_;
  std::mutex mutex_;  // changes come one at a time, so that the nth is one and the same
  std::atomic<int> changes_{0};
  int dies_at_;
  bool after_;
  std::atomic<bool> dead_{false};
};

}  // namespace lucid::store
