// For tests: documents in memory, a source of receipts, a rail that keeps its own books, and a way to end a life at any step.
#pragma once

#include <map>
#include <mutex>

#include "lib/store/memory_documents.hpp"
#include "node/payout-runs/ledger.hpp"
#include "node/payout-runs/payout_runs.hpp"

namespace lucid::payout_runs::test {

// What ends a life: nothing of ours catches it.
struct Crash {};

// Counts steps and ends the life, or fails the call, at the chosen one.
class Injector {
 public:
  enum class Kind { crash, error };
  void arm(std::uint64_t at, Kind kind = Kind::crash) {
    left_ = at;
    kind_ = kind;
  }
  void disarm() { left_ = 0; }
  void hit() {
    ++seen_;
    if (left_ == 0 || --left_ > 0) return;
    ++thrown_;
    if (kind_ == Kind::error) throw Error(ErrorKind::unavailable, "injected", "the injected failure");
    throw Crash{};
  }
  std::uint64_t seen() const { return seen_; }
  std::uint64_t thrown() const { return thrown_; }

 private:
  std::uint64_t left_ = 0, seen_ = 0, thrown_ = 0;
  Kind kind_ = Kind::crash;
};

// Every change of the documents is a step that a life may end before or after.
class WatchedDocuments final : public store::Documents {
 public:
  WatchedDocuments(store::Documents& to, std::function<void()> hit) : to_(to), hit_(std::move(hit)) {}
  bool insert(const std::string& c, const std::string& k, const std::string& j) override {
    return step([&] { return to_.insert(c, k, j); });
  }
  std::vector<bool> insert_many(std::span<const Insert> inserts) override {
    return step([&] { return to_.insert_many(inserts); });
  }
  std::optional<store::Document> get(const std::string& c, const std::string& k) override { return to_.get(c, k); }
  bool replace(const std::string& c, const std::string& k, const std::string& j, std::int64_t v) override {
    return step([&] { return to_.replace(c, k, j, v); });
  }
  void put(const std::string& c, const std::string& k, const std::string& j) override {
    step([&] { return to_.put(c, k, j), true; });
  }
  bool remove(const std::string& c, const std::string& k) override {
    return step([&] { return to_.remove(c, k); });
  }
  std::uint64_t remove_range(const std::string& c, const std::string& from, const std::string& to) override {
    return step([&] { return to_.remove_range(c, from, to); });
  }
  std::vector<store::Document> scan(const std::string& c, const store::Scan& scan) override { return to_.scan(c, scan); }
  std::uint64_t count(const std::string& c, const std::string& f, const std::string& t) override { return to_.count(c, f, t); }

 private:
  template <class Do>
  std::invoke_result_t<Do> step(Do act) {
    hit_();
    auto result = act();
    hit_();
    return result;
  }
  store::Documents& to_;
  std::function<void()> hit_;
};

// Every write, sync and cut of a file is a step that a life may end before, after, or (a write) in the middle of.
class WatchedFiles final : public FileOps {
 public:
  explicit WatchedFiles(std::function<void()> hit) : hit_(std::move(hit)) {}
  void write(const File& file, ByteView bytes, const std::string& path) override {
    hit_();
    std::size_t part = bytes.size() * 2 / 3;
    FileOps::write(file, bytes.first(part), path);
    hit_();
    FileOps::write(file, bytes.subspan(part), path);
    hit_();
  }
  // Nothing in these tests cuts the power, so nothing waits for a disk.
  void sync_data(const File&, const std::string&) override { hit_(); }
  void sync_directory(const std::string&) override {}
  void truncate(const File& file, std::uint64_t size, const std::string& path) override {
    hit_();
    FileOps::truncate(file, size, path);
    hit_();
  }

 private:
  std::function<void()> hit_;
};

// Calls on the rail as steps.
class WatchedRail final : public Rail {
 public:
  WatchedRail(Rail& to, std::function<void()> hit) : to_(to), hit_(std::move(hit)) {}
  const char* name() const override { return to_.name(); }
  Accepted submit(const Submission& batch, const std::string& key) override {
    hit_();
    Accepted accepted = to_.submit(batch, key);
    hit_();
    return accepted;
  }
  BatchStatus status(const std::string& key, const std::string& reference) override {
    hit_();
    BatchStatus status = to_.status(key, reference);
    hit_();
    return status;
  }
  void expect(const std::string& reference) override { to_.expect(reference); }

 private:
  Rail& to_;
  std::function<void()> hit_;
};

// A payment service that keeps its own books and only knows keys: whoever submits a payout under two keys pays it twice.
class BooksRail final : public Rail {
 public:
  using Fate = PaymentStatus::Fate;
  // Decides over a payment the first time it is looked at after it was taken; the default pays.
  std::function<Fate(const Payment&, std::size_t looks)> decide = [](const Payment&, std::size_t) { return Fate::paid; };
  std::map<Id, std::int64_t> times_paid, micro_paid;
  std::map<std::string, int> submits;
  std::size_t rejected = 0;

  const char* name() const override { return "books"; }
  Accepted submit(const Submission& batch, const std::string& key) override {
    ++submits[key];
    auto [it, fresh] = taken_.try_emplace(key);
    if (fresh) {
      it->second.batch = batch;
      it->second.reference = "ref-" + std::to_string(taken_.size());
      it->second.fates.assign(batch.payments.size(), Fate::open);
    }
    return {.reference = it->second.reference, .refusal = ""};
  }
  BatchStatus status(const std::string& key, const std::string&) override {
    auto it = taken_.find(key);
    if (it == taken_.end()) return {};
    Taken& taken = it->second;
    ++taken.looks;
    BatchStatus status{.known = true, .reference = taken.reference, .currency = taken.batch.currency, .payments = {}};
    for (std::size_t i = 0; i < taken.fates.size(); ++i) {
      const Payment& p = taken.batch.payments[i];
      if (taken.fates[i] == Fate::open && (taken.fates[i] = decide(p, taken.looks)) == Fate::paid) {
        ++times_paid[p.payout];
        micro_paid[p.payout] += p.micro;
      }
      rejected += taken.fates[i] == Fate::rejected ? 1u : 0u;
      status.payments.push_back({.payout = p.payout,
                                 .node = p.node,
                                 .micro = p.micro,
                                 .fate = taken.fates[i],
                                 .confirmations = 0,
                                 .reason = taken.fates[i] == Fate::rejected ? "account closed" : ""});
    }
    return status;
  }

 private:
  struct Taken {
    Submission batch;
    std::string reference;
    std::vector<Fate> fates;
    std::size_t looks = 0;
  };
  std::map<std::string, Taken> taken_;
};

inline Id node_id(std::uint8_t n) {
  std::array<std::uint8_t, 16> bytes{};
  bytes[0] = 1;
  bytes[6] = 0x70;
  bytes[8] = 0x80;
  bytes[15] = n;
  return Id(bytes);
}

class TestSource final : public Source {
 public:
  poot::Epoch open = 0;
  std::map<Id, payouts::Standing> nodes;
  std::map<Id, std::vector<poot::Receipt>> receipts;

  // `sessions` in one slot of every epoch, up all of the time.
  void works(const Id& node, poot::Epoch first, poot::Epoch last, std::uint32_t sessions) {
    nodes.try_emplace(node, payouts::Standing::member);
    poot::Uptime up;
    up.map.fill(0xff);
    for (poot::Epoch e = first; e <= last; ++e) {
      receipts[node].push_back({e, node, up});
      receipts[node].push_back({e, node, poot::Hosting{{{.slot = 7, .sessions = sessions, .bytes = 1'000}}}});
    }
  }
  poot::Epoch open_epoch() override { return open; }
  Hash32 log_root(poot::Epoch epoch) override {
    Hash32 root{};
    root[0] = static_cast<std::uint8_t>(epoch);
    return root;
  }
  std::map<Id, payouts::Standing> standings() override { return nodes; }
  bool knows(const Id& node) override { return nodes.contains(node); }
  void each_node(poot::Epoch first, poot::Epoch last, const EachNode& each) override {
    for (const auto& [node, all] : receipts) {
      std::vector<poot::Receipt> some;
      for (const poot::Receipt& r : all)
        if (r.epoch >= first && r.epoch <= last) some.push_back(r);
      if (!some.empty()) each(node, some);
    }
  }
};

inline PayoutRuns::PeriodRequest period(const std::string& id, poot::Epoch first, poot::Epoch last, const std::string& budget) {
  return {.id = id, .first = first, .last = last, .currency = "USDT", .budget = budget, .policy = {}};
}

// Steps, with time going on, until no batch is open.
inline void run_to_end(PayoutRuns& runs, ManualClock& clock, int most = 100) {
  for (int i = 0; i < most && runs.totals().batches > 0; ++i) clock.advance(std::max<std::int64_t>(1, runs.step()));
}

inline std::vector<Payout> all_payouts(PayoutRuns& runs, PayoutRuns::Filter filter = {}) {
  std::vector<Payout> all;
  std::string cursor;
  do {
    auto page = runs.list(filter, cursor, 7);
    all.insert(all.end(), page.payouts.begin(), page.payouts.end());
    cursor = page.next;
  } while (!cursor.empty());
  return all;
}

}  // namespace lucid::payout_runs::test
