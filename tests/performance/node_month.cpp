// A month of a large deployment, from the canonical bytes of its receipts to the statement: read, scored, ranked, its leaders found, shared out and
// written. The receipts are made from a seed, node by node, by whole numbers only, so every machine makes the same and must print the same
// digests. Times are CPU time of the one thread; making the receipts is not counted.
//   node_month [--nodes N] [--epochs N] [--seed N]      prints volume, seconds and digests
//     --expect HEX      exit 1 unless this is the digest of the statement
//     --limit SECONDS   exit 1 when it took longer
//     --export FOLDER   also writes receipts.bin, period.txt, accounts.txt, statement.json, tally.txt for tests/interop/node_period.py
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "lib/crypto/hash.hpp"
#include "node/payouts/statement.hpp"
#include "node/poot/leader.hpp"
#include "node/poot/test_random.hpp"

using namespace lucid;
using namespace lucid::poot;

namespace {

constexpr Epoch kFirst = 1035;  // 2026-11-01
constexpr std::uint64_t kMiB = 1u << 20;

struct Options {
  std::uint64_t nodes = 10'000, epochs = 30, seed = 1, limit_seconds = 0;
  std::string expect, folder;
};

struct Volume {
  std::uint64_t receipts = 0, slots = 0, bytes = 0;
};

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

class Phases {
 public:
  template <class Work>
  auto run(const char* name, Work work) {
    Stop stop{*this, name, cpu_seconds()};
    return work();
  }
  double print() const {
    double sum = 0;
    for (const char* name : {"read", "score", "rank", "leaders", "share", "write", "digest"}) {
      std::printf("%-8s %6.3f s\n", name, seconds_.at(name));
      sum += seconds_.at(name);
    }
    std::printf("%-8s %6.3f s\n", "together", sum);
    return sum;
  }

 private:
  struct Stop {
    Phases& phases;
    const char* name;
    double began;
    ~Stop() { phases.seconds_[name] += cpu_seconds() - began; }
  };
  std::map<std::string, double> seconds_;
};

Id random_id(Random& random) {
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < 16; ++i) bytes[i] = static_cast<std::uint8_t>(random.next() >> 32);
  return Id(bytes);
}

// What one node did: up in most slots of most days, hosting in nearly every slot it was up, storing, validating a little.
std::vector<Bytes> receipts_of(const Id& node, Random& random, Epoch first, Epoch last, Volume& volume) {
  std::vector<Bytes> made;
  const std::uint64_t away_days = random.below(4), gap = random.from_to(8, 400), chunks = random.from_to(1, 20'000);
  for (Epoch epoch = window_begin(first); epoch <= last; ++epoch) {
    if (random.below(10) < away_days) continue;
    Uptime uptime;
    Hosting hosting;
    for (std::uint32_t slot = 0; slot < kSlotsPerEpoch; ++slot) {
      std::uint64_t r = random.next();
      if (r % gap == 0) continue;
      uptime.set(slot);
      if ((r >> 16) % 16 == 0) continue;
      hosting.slots.push_back({static_cast<std::uint16_t>(slot), static_cast<std::uint32_t>(1 + (r >> 24) % 12), (r >> 32) % (80 * kMiB)});
    }
    volume.slots += hosting.slots.size();
    auto put = [&](Receipt receipt) {
      if (!receipt.says_nothing()) made.push_back(to_bytes(receipt));
    };
    put({epoch, node, std::move(hosting)});
    put({epoch, node, uptime});
    Storage storage{.bytes = chunks * random.from_to(1, 4 * kMiB), .chunks = static_cast<std::uint32_t>(chunks), .asked = 24, .passed = 24};
    if (random.one_in(8)) storage.passed = static_cast<std::uint32_t>(random.below(25));
    put({epoch, node, storage});
    if (random.one_in(3)) {
      std::set<Id> sessions;  // few enough that some come twice
      for (std::uint64_t i = random.from_to(1, 16); i > 0; --i) {
        Random one(random.below(300));
        sessions.insert(random_id(one));
      }
      put({epoch, node, Validation{{sessions.begin(), sessions.end()}}});
    }
  }
  for (const Bytes& bytes : made) volume.bytes += bytes.size();
  volume.receipts += made.size();
  return made;
}

payouts::Period month(const Options& options) {
  payouts::Period period;
  period.id = "2026-11";
  period.first = kFirst;
  period.last = kFirst + options.epochs - 1;
  period.budget = 250'000 * payouts::kMicrosPerUnit;
  period.budget_carried_in = 1'234'567;
  period.log_root = crypto::sha256(as_bytes("the log of the epoch before the last"));
  period.policy.withheld = {1, 20};
  return period;
}

// One in eight is owed something from before; some of them have left, a few are banned.
void add_account(std::vector<payouts::Account>& accounts, const Id& node, Random& random) {
  if (!random.one_in(8)) return;
  payouts::Account account;
  account.node = node;
  account.carried_in = static_cast<payouts::Micros>(random.below(10 * payouts::kMicrosPerUnit));
  account.withheld_in = static_cast<payouts::Micros>(random.below(50'000 * payouts::kMicrosPerUnit));
  account.standing = static_cast<payouts::Standing>(random.one_in(2) ? 0 : random.from_to(1, 2));
  accounts.push_back(account);
}

void export_to(const Options& options, std::vector<Bytes> receipts, const std::vector<payouts::Account>& accounts,
               const payouts::Statement& statement, const std::string& text, const std::vector<Tally>& tally) {
  Random random(options.seed);
  std::size_t count = receipts.size();
  for (std::size_t i = 0; i < count; i += 50) receipts.push_back(Bytes(receipts[i]));  // exact duplicates count once
  random.shuffle(receipts);
  std::ofstream out(options.folder + "/receipts.bin", std::ios::binary);
  for (const Bytes& receipt : receipts) {
    Bytes length;
    ByteWriter(length).u32(static_cast<std::uint32_t>(receipt.size()));
    out << as_text(length) << as_text(receipt);
  }
  const payouts::Period& period = statement.period;
  std::ofstream(options.folder + "/period.txt")
      << period.first << ' ' << period.last << ' ' << period.budget << ' ' << period.budget_carried_in << ' ' << to_hex(period.log_root)
      << ' ' << period.policy.withheld.part << ' ' << period.policy.withheld.of << ' ' << period.policy.fee.part << ' '
      << period.policy.fee.of << ' ' << period.policy.threshold << ' ' << period.policy.split_above << ' ' << period.policy.minimum << '\n';
  std::ofstream accounts_out(options.folder + "/accounts.txt");
  for (const payouts::Account& account : accounts)
    accounts_out << account.node.text() << ' ' << name(account.standing) << ' ' << account.carried_in << ' ' << account.withheld_in << '\n';
  std::ofstream(options.folder + "/statement.json") << text;
  std::ofstream tally_out(options.folder + "/tally.txt");
  for (const Tally& one : tally)
    tally_out << one.node.text() << ' ' << one.rank << ' ' << one.score.credits << ' ' << one.score.slots_up << ' ' << one.score.live()
              << '\n';
}

int run(const Options& options) {
  Phases phases;
  Volume volume;
  const payouts::Period period = month(options);
  std::vector<NodeScores> scores;
  std::vector<payouts::Account> accounts;
  std::vector<Receipt> uptimes;
  std::vector<Bytes> exported;
  Random seeds(options.seed);
  for (std::uint64_t n = 0; n < options.nodes; ++n) {
    Random random(seeds.next());
    const Id node = random_id(random);
    std::vector<Bytes> made = receipts_of(node, random, period.first, period.last, volume);
    add_account(accounts, node, random);
    std::vector<Receipt> receipts = phases.run("read", [&] {
      std::vector<Receipt> read;
      read.reserve(made.size());
      for (const Bytes& bytes : made) {
        auto receipt = parse_receipt(bytes);
        if (!receipt) throw receipt.error();
        read.push_back(std::move(*receipt));
      }
      return read;
    });
    scores.push_back(phases.run("score", [&] { return score_node(node, period.first, period.last, receipts); }));
    for (Receipt& receipt : receipts)
      if (receipt.kind() == WorkKind::uptime) uptimes.push_back(std::move(receipt));
    if (!options.folder.empty())
      exported.insert(exported.end(), std::make_move_iterator(made.begin()), std::make_move_iterator(made.end()));
  }
  std::vector<std::vector<Tally>> tallies;
  phases.run("rank", [&] {
    for (std::size_t i = 0; i < options.epochs; ++i) {
      std::vector<Scored> scored;
      for (const NodeScores& node : scores) scored.push_back({node.node, node.epochs[i]});
      tallies.push_back(rank(period.first + i, period.log_root, std::move(scored)));
    }
  });
  std::string ranks;
  for (const auto& tally : tallies)
    for (const Tally& one : tally) ranks += one.node.text() + ' ' + std::to_string(one.rank) + '\n';
  std::vector<Leader> leaders;
  phases.run("leaders", [&] {
    WasUp was_up = up_by_receipts(uptimes);
    for (std::size_t i = 1; i < options.epochs; ++i) {
      leaders = leaders_of_epoch(period.first + i, tallies[i - 1], leaders, was_up);
      for (const Leader& leader : leaders) ranks += (leader.node ? leader.node->text() : "") + ' ' + leader.text() + '\n';
    }
  });
  payouts::Statement statement = phases.run("share", [&] { return payouts::close_period(period, std::move(scores), accounts); });
  std::string text = phases.run("write", [&] { return payouts::to_json_text(statement); });
  std::string digest = to_hex(phases.run("digest", [&] { return payouts::digest(text); }));

  std::printf("%llu nodes, %llu epochs: %llu receipts of %.1f MB, %llu hosting slots; statement %.1f MB, %.6f paid\n",
              static_cast<unsigned long long>(options.nodes), static_cast<unsigned long long>(options.epochs),
              static_cast<unsigned long long>(volume.receipts), static_cast<double>(volume.bytes) / 1e6,
              static_cast<unsigned long long>(volume.slots), static_cast<double>(text.size()) / 1e6,
              static_cast<double>(statement.totals.paid) / 1e6);
  double seconds = phases.print();
  std::printf("ranks and leaders %s\nstatement         %s\n", to_hex(crypto::sha256(as_bytes(ranks))).c_str(), digest.c_str());
  if (!options.folder.empty()) export_to(options, std::move(exported), accounts, statement, text, tallies.back());
  if (!options.expect.empty() && options.expect != digest) return std::fprintf(stderr, "the digest is not %s\n", options.expect.c_str()), 1;
  if (options.limit_seconds != 0 && seconds > static_cast<double>(options.limit_seconds)) return std::fprintf(stderr, "too slow\n"), 1;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string_view name = argv[i], value = argv[i + 1];
    auto number = [&] { return std::strtoull(value.data(), nullptr, 10); };
    if (name == "--nodes")
      options.nodes = number();
    else if (name == "--epochs")
      options.epochs = number();
    else if (name == "--seed")
      options.seed = number();
    else if (name == "--limit")
      options.limit_seconds = number();
    else if (name == "--expect")
      options.expect = value;
    else if (name == "--export")
      options.folder = value;
    else
      return std::fprintf(stderr, "node_month: unknown option %s\n", argv[i]), 2;
  }
  if (argc % 2 == 0 || options.epochs < 1 || options.epochs > kMaxEpochsAtOnce)
    return std::fprintf(stderr, "node_month: see the head of node_month.cpp\n"), 2;
  try {
    return run(options);
  } catch (const Error& error) { return std::fprintf(stderr, "node_month: %s\n", error.what()), 1; }
}
