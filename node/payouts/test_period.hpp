// For tests: seeded random periods with every kind of receipt, account and policy in them.
#pragma once

#include <set>
#include <vector>

#include "node/payouts/period.hpp"
#include "node/poot/test_receipts.hpp"

namespace lucid::payouts {

struct RandomPeriod {
  Period period;
  std::vector<poot::Receipt> receipts;
  std::vector<Account> accounts;
};

inline Micros random_micros(poot::Random& random) {  // mostly ordinary, at times tiny or huge
  switch (random.below(6)) {
    case 0: return static_cast<Micros>(random.below(3));
    case 1: return static_cast<Micros>(random.below(100));
    case 2: return static_cast<Micros>(random.below(kMaxMicros >> 6));
    default: return static_cast<Micros>(random.below(50'000) * kMicrosPerUnit + random.below(kMicrosPerUnit));
  }
}

inline std::vector<poot::HostingSlot> random_slots(poot::Random& random, std::uint64_t most) {
  std::set<std::uint16_t> at;
  for (std::uint64_t i = random.from_to(1, most); i > 0; --i) at.insert(static_cast<std::uint16_t>(random.below(poot::kSlotsPerEpoch)));
  std::vector<poot::HostingSlot> slots;
  for (std::uint16_t slot : at)
    slots.push_back({slot, static_cast<std::uint32_t>(random.from_to(1, 12)), random.one_in(5) ? 0 : random.below(80u << 20)});
  return slots;
}

inline poot::Uptime random_uptime(poot::Random& random) {
  poot::Uptime uptime;
  std::uint64_t and_mask = random.one_in(3) ? random.next() : ~std::uint64_t{0};
  for (std::size_t i = 0; i < uptime.map.size(); ++i)
    uptime.map[i] = static_cast<std::uint8_t>((random.next() | random.next()) & (and_mask >> i % 8));
  uptime.set(static_cast<std::uint32_t>(random.below(poot::kSlotsPerEpoch)));
  return uptime;
}

inline poot::Storage random_storage(poot::Random& random) {
  poot::Storage storage;
  storage.chunks = static_cast<std::uint32_t>(random.from_to(1, 300));
  storage.bytes = storage.chunks * random.from_to(1, 5u << 20);
  storage.asked = static_cast<std::uint32_t>(random.below(30));
  storage.passed = random.one_in(3) ? storage.asked : static_cast<std::uint32_t>(random.below(storage.asked + 1));
  return storage;
}

inline RandomPeriod random_period(std::uint64_t seed) {
  poot::Random random(seed);
  RandomPeriod made;
  Period& period = made.period;
  period.id = "random-" + std::to_string(seed);
  period.first = random.one_in(8) ? random.below(8) : 1000 + random.below(100);
  period.last = period.first + random.below(4);
  period.budget = std::max<Micros>(1, random_micros(random));
  period.budget_carried_in = random.one_in(4) ? random_micros(random) : 0;
  for (auto& byte : period.log_root) byte = static_cast<std::uint8_t>(random.next());
  Policy& policy = period.policy;
  if (random.one_in(2)) policy.withheld = {static_cast<std::uint32_t>(random.below(1001)), 1000};
  if (random.one_in(4)) policy.fee = {static_cast<std::uint32_t>(random.below(8)), 7};
  if (random.one_in(3)) policy.minimum = static_cast<Micros>(random.from_to(1, 2'000'000));
  if (random.one_in(3)) policy.threshold = policy.minimum + static_cast<Micros>(random.below(100 * kMicrosPerUnit));
  if (random.one_in(3)) policy.split_above = policy.threshold + static_cast<Micros>(random.below(50'000 * kMicrosPerUnit));
  policy.split_above = std::max(policy.split_above, kMaxMicros / 1'000'000);
  std::uint64_t nodes = random.below(9);
  for (std::uint32_t n = 1; n <= nodes; ++n) {
    const Id node = poot::numbered(n);
    for (poot::Epoch e = poot::window_begin(period.first); e <= period.last; ++e) {
      if (!random.one_in(5)) made.receipts.push_back({e, node, random_uptime(random)});
      if (random.one_in(2)) made.receipts.push_back(poot::hosting(e, node, random_slots(random, 12)));
      if (random.one_in(4)) made.receipts.push_back(poot::storage(e, node, random_storage(random)));
      if (random.one_in(4)) {
        std::set<Id> sessions;
        for (std::uint64_t i = random.from_to(1, 4); i > 0; --i)
          sessions.insert(poot::session(static_cast<std::uint32_t>(random.from_to(1, 20))));
        made.receipts.push_back(poot::validation(e, node, {sessions.begin(), sessions.end()}));
      }
    }
  }
  for (std::uint32_t n = 1; n <= nodes + 2; ++n)
    if (random.one_in(2))
      made.accounts.push_back({.node = poot::numbered(n),
                               .standing = static_cast<Standing>(random.one_in(2) ? 0 : random.below(3)),
                               .carried_in = random.one_in(2) ? 0 : random_micros(random),
                               .withheld_in = random.one_in(2) ? 0 : random_micros(random)});
  return made;
}

}  // namespace lucid::payouts
