// Which work is given to whom: one round a second, on one thread, every step of it bounded.
#include <algorithm>

#include <fmt/format.h>

#include "lib/crypto/hash.hpp"
#include "node/management/work.hpp"

namespace lucid::node_management {
namespace {

using Kind = contracts::NodeWork::Kind;

constexpr std::chrono::seconds kRound{1};
constexpr std::size_t kTakenUp = 32;       // recordings a round
constexpr std::size_t kRefused = 10'000;   // remembered, so that they are not asked for again and again
constexpr std::size_t kAssigned = 64;      // recordings to nodes a round
constexpr std::size_t kHoldsARound = 256;  // of all nodes
constexpr std::size_t kProofsARound = 64;
constexpr std::size_t kValidationsARound = 32;
constexpr std::size_t kOpenValidations = 2;  // of one node
constexpr std::uint64_t kTries = 3;          // of one validator on one recording
constexpr std::int64_t kReleaseMs = 10'000;
constexpr std::int64_t kPruneMs = 3'600'000;

std::int64_t fetch_deadline(std::uint64_t bytes) { return kFetchDeadlineMs + static_cast<std::int64_t>(bytes >> 10); }

// Drawn for one piece of work: never the same twice, as the ids are not, even from a random source that repeats itself.
Hash32 fresh_nonce(const Id& work, RandomSource& random) {
  Bytes seed(work.bytes().begin(), work.bytes().end());
  auto drawn = random.array<32>();
  seed.insert(seed.end(), drawn.begin(), drawn.end());
  return crypto::blake3(seed);
}

}  // namespace

void Work::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    tick();
    lock.lock();
    changed_.wait_for(lock, kRound, [this] { return stopping_; });
  }
}

void Work::tick() {
  auto step = [this](auto&& does) {
    try {
      does();
      return true;
    } catch (const std::exception& e) {  // a service is away: what it is needed for waits
      if (complaint_ != e.what()) log_.warn("no work could be planned", {{"reason", complaint_ = e.what()}});
      return false;
    }
  };
  step([this] { expire(); });
  bool good = step([this] { discover(); });
  good &= step([this] { release_gone_nodes(); });
  Nodes storage = host_.active(contracts::NodeType::storage);
  good &= step([&] { assign(storage); });
  good &= step([&] { ask_to_hold(storage); });
  good &= step([&] { ask_to_prove(storage); });
  good &= step([this] { ask_to_validate(); });
  good &= step([this] { prune(); });
  if (good) complaint_.clear();
}

void Work::expire() {
  std::vector<WorkItem> late;
  std::vector<Id> unfetched;
  {
    std::int64_t now = clock_.steady_ms();
    std::lock_guard lock(mutex_);
    for (auto& [id, o] : open_) {
      if (o.ending) continue;
      if (o.handed_steady_ms && now > *o.handed_steady_ms + o.item.work.deadline_ms) {
        o.ending = true;
        late.push_back(o.item);
      } else if (!o.handed_steady_ms && now > o.made_steady_ms + kUnfetchedMs) {
        o.ending = true;
        unfetched.push_back(id);
      }
    }
  }
  for (std::size_t i = 0; i < late.size(); ++i) try {
      end(late[i], {WorkEnd::late, kLateReason});
    } catch (...) {
      for (; i < late.size(); ++i) unclaim(late[i].work.id);
      for (const Id& id : unfetched) unclaim(id);
      throw;
    }
  drop(unfetched);
}

void Work::drop(const std::vector<Id>& work) {
  for (const Id& id : work) {
    documents_.remove(kWorkOpen, id.text());
    close(id);
  }
}

void Work::discover() {
  // The newest ones at once; all others in turn, so that none is missed however long it took to finish.
  take_up(recordings_.page("").finalised);
  if (cursor_.empty()) cursor_ = recordings_.page("").next;
  if (cursor_.empty()) return;
  Recordings::Page page = recordings_.page(cursor_);
  take_up(page.finalised);
  cursor_ = page.next;
}

void Work::take_up(const std::vector<Id>& finalised) {
  std::size_t taken = 0;
  for (const Id& session : finalised) {
    {
      std::lock_guard lock(mutex_);
      if (known_.contains(session)) continue;
    }
    if (refused_.contains(session) || ++taken > kTakenUp) continue;
    RecordingRecord record;
    try {
      Recordings::Recorded recorded = recordings_.recorded(session);
      record.chunks = recorded.chunks;
      record.bytes = recorded.bytes;
      record.root = recorded.root;
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::unavailable) throw;
      if (refused_.size() >= kRefused) refused_.clear();
      refused_.insert(session);
      if (e.kind() != ErrorKind::not_found)
        log_.warn("a finalised recording cannot be given to nodes", {{"session", session.text()}, {"reason", e.what()}});
      continue;
    }
    documents_.put(kRecordings, session.text(), to_text(record));
    std::lock_guard lock(mutex_);
    known_[session].record = std::move(record);
  }
}

void Work::release_gone_nodes() {
  std::int64_t now = clock_.steady_ms();
  if (now < next_release_) return;
  next_release_ = now + kReleaseMs;
  std::vector<Id> nodes;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [key, holding] : holdings_)
      if (nodes.empty() || nodes.back() != key.first) nodes.push_back(key.first);
    for (const auto& [node, work] : open_of_) nodes.push_back(node);
  }
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  for (const Id& id : nodes) {
    auto node = host_.node(id);
    if (node && node->state != contracts::NodeState::banned && node->state != contracts::NodeState::retired) continue;
    std::vector<Id> open;
    {
      std::lock_guard lock(mutex_);
      if (auto it = open_of_.find(id); it != open_of_.end()) open = it->second;
    }
    drop(open);
    std::lock_guard saving(saving_);
    documents_.remove_range(kHoldings, id.text() + "/", store::after_prefix(id.text() + "/"));
    std::lock_guard lock(mutex_);
    for (auto it = holdings_.lower_bound({id, Id{}}); it != holdings_.end() && it->first.first == id; it = holdings_.erase(it))
      if (auto known = known_.find(it->first.second); known != known_.end() && known->second.holders > 0) --known->second.holders;
  }
}

void Work::assign(const Nodes& storage) {
  struct Room {
    Id node;
    std::uint64_t free = 0;
  };
  std::vector<std::pair<HoldingKey, HoldingRecord>> fresh;
  {
    std::lock_guard lock(mutex_);
    std::map<Id, std::uint64_t> assigned;
    for (const auto& [key, holding] : holdings_) assigned[key.first] += holding.total_bytes;
    std::vector<Room> rooms;
    for (const contracts::NodeStatus& node : storage) {
      std::uint64_t used = assigned.contains(node.id) ? assigned[node.id] : 0;
      if (node.capacity.storage_bytes > used) rooms.push_back({node.id, node.capacity.storage_bytes - used});
    }
    if (rooms.empty()) return;
    for (auto& [session, recording] : known_) {
      if (fresh.size() >= kAssigned) break;
      if (recording.holders >= std::min(config_.copies, storage.size()) || recording.record.chunks == 0) continue;
      // Most room first; equal room by id.
      std::stable_sort(rooms.begin(), rooms.end(), [](const Room& a, const Room& b) { return a.free > b.free; });
      for (Room& room : rooms) {
        if (recording.holders >= config_.copies || room.free < recording.record.bytes) break;
        HoldingKey key{room.node, session};
        if (holdings_.contains(key)) continue;
        HoldingRecord holding;
        holding.chunks = recording.record.chunks;
        holding.total_bytes = recording.record.bytes;
        room.free -= holding.total_bytes;
        ++recording.holders;
        holdings_[key] = holding;
        fresh.emplace_back(key, holding);
      }
    }
  }
  for (const auto& [key, holding] : fresh) save_holding(key);
}

void Work::ask_to_hold(const Nodes& storage) {
  std::size_t given = 0;
  for (const contracts::NodeStatus& node : storage) {
    if (given >= kHoldsARound) return;
    std::map<Id, std::vector<std::uint64_t>> wanted;  // session → sequences
    {
      std::lock_guard lock(mutex_);
      std::set<std::pair<Id, std::uint64_t>> asked;
      if (auto mine = open_of_.find(node.id); mine != open_of_.end())
        for (const Id& id : mine->second)
          if (const contracts::NodeWork& w = open_.at(id).item.work; w.kind == Kind::hold) asked.insert({w.session, w.sequence});
      if (asked.size() >= kOpenHolds || open_.size() >= kOpenWork) continue;
      std::size_t room = kOpenHolds - asked.size();
      for (auto it = holdings_.lower_bound({node.id, Id{}}); it != holdings_.end() && it->first.first == node.id && room > 0; ++it) {
        const HoldingRecord& h = it->second;
        std::vector<std::uint64_t> sequences;
        for (std::uint64_t s : h.missing)
          if (room > 0 && !asked.contains({it->first.second, s})) sequences.push_back(s), --room;
        for (std::uint64_t s = h.next; s < h.chunks && room > 0; ++s) sequences.push_back(s), --room;
        if (!sequences.empty()) wanted[it->first.second] = std::move(sequences);
      }
    }
    for (const auto& [session, sequences] : wanted) {
      std::vector<WorkItem> items;
      try {
        for (std::uint64_t s : sequences) {
          auto rows = recordings_.rows(session, s, 1);
          if (rows.empty() || rows[0].sequence != s) continue;
          WorkItem item;
          item.work = {.id = new_id(),
                       .kind = Kind::hold,
                       .session = session,
                       .sequence = s,
                       .offset = 0,
                       .length = rows[0].bytes,
                       .nonce = {},
                       .chunks = 0,
                       .deadline_ms = fetch_deadline(rows[0].bytes)};
          item.node = node.id;
          item.bytes = rows[0].bytes;
          item.expected = rows[0].blake3;
          items.push_back(std::move(item));
        }
      } catch (const Error& e) {
        if (e.kind() != ErrorKind::not_found) throw;
        forget(session);
        continue;
      }
      if (items.empty()) continue;
      given += items.size();
      std::uint64_t last = items.back().work.sequence;
      issue(std::move(items));
      std::lock_guard saving(saving_);
      {
        std::lock_guard lock(mutex_);
        auto it = holdings_.find({node.id, session});
        if (it == holdings_.end()) continue;
        for (; it->second.next <= last; ++it->second.next) it->second.missing.insert(it->second.next);
      }
      save_holding({node.id, session});
    }
  }
}

void Work::ask_to_prove(const Nodes& storage) {
  std::size_t given = 0;
  std::int64_t now = clock_.steady_ms();
  for (const contracts::NodeStatus& node : storage) {
    if (given >= kProofsARound) return;
    auto due = next_challenge_.find(node.id);
    auto interval = static_cast<std::uint64_t>(config_.challenge_ms);
    if (due == next_challenge_.end()) due = next_challenge_.emplace(node.id, now + static_cast<std::int64_t>(below(interval))).first;
    if (now < due->second) continue;
    Id session;
    std::uint64_t sequence = 0;
    {
      std::lock_guard lock(mutex_);
      if (open_.size() >= kOpenWork) return;
      if (auto mine = open_of_.find(node.id); mine != open_of_.end())
        if (std::any_of(mine->second.begin(), mine->second.end(),
                        [this](const Id& id) { return open_.at(id).item.work.kind == Kind::challenge; }))
          continue;
      std::uint64_t held = 0;
      for (auto it = holdings_.lower_bound({node.id, Id{}}); it != holdings_.end() && it->first.first == node.id; ++it)
        held += it->second.held();
      if (held == 0) continue;
      std::uint64_t chosen = below(held);
      for (auto it = holdings_.lower_bound({node.id, Id{}});; ++it) {
        if (chosen >= it->second.held()) {
          chosen -= it->second.held();
          continue;
        }
        session = it->first.second;
        for (sequence = 0;; ++sequence)
          if (it->second.holds(sequence) && chosen-- == 0) break;
        break;
      }
    }
    Bytes stored;
    try {
      stored = recordings_.chunk(session, sequence);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::not_found) throw;
      forget(session);
      continue;
    }
    if (stored.empty()) continue;
    WorkItem item;
    std::uint64_t length = std::min<std::uint64_t>(stored.size(), kChallengeBytes), offset = below(stored.size() - length + 1);
    Id id = new_id();
    item.work = {.id = id,
                 .kind = Kind::challenge,
                 .session = session,
                 .sequence = sequence,
                 .offset = offset,
                 .length = length,
                 .nonce = fresh_nonce(id, random_),
                 .chunks = 0,
                 .deadline_ms = kChallengeDeadlineMs};
    item.node = node.id;
    item.bytes = stored.size();
    Bytes asked(item.work.nonce.begin(), item.work.nonce.end());
    asked.insert(asked.end(), stored.begin() + static_cast<std::ptrdiff_t>(offset),
                 stored.begin() + static_cast<std::ptrdiff_t>(offset + length));
    item.expected = crypto::blake3(asked);
    issue({std::move(item)});
    ++given;
    // Half to one and a half times the interval: the next moment cannot be foreseen.
    due->second = now + static_cast<std::int64_t>(interval / 2 + below(interval + 1));
  }
}

void Work::ask_to_validate() {
  std::vector<std::pair<Id, RecordingRecord>> wanted;
  {
    std::lock_guard lock(mutex_);
    if (open_.size() >= kOpenWork) return;
    for (const auto& [session, recording] : known_) {
      if (wanted.size() == kValidationsARound) break;
      if (recording.record.validators.size() + recording.validating < config_.validations && recording.record.chunks > 0)
        wanted.emplace_back(session, recording.record);
    }
  }
  if (wanted.empty()) return;
  Nodes validators = host_.active(contracts::NodeType::validator);
  std::map<Id, std::size_t> busy;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [node, work] : open_of_)
      busy[node] = static_cast<std::size_t>(
          std::count_if(work.begin(), work.end(), [this](const Id& id) { return open_.at(id).item.work.kind == Kind::validate; }));
  }
  for (const auto& [session, record] : wanted) {
    std::vector<Id> free;
    for (const contracts::NodeStatus& node : validators) {
      auto failed = record.failed.find(node.id);
      if (busy[node.id] < kOpenValidations && !record.validators.contains(node.id) &&
          (failed == record.failed.end() || failed->second < kTries))
        free.push_back(node.id);
    }
    if (free.empty()) continue;
    WorkItem item;
    item.node = free[below(free.size())];  // by lot, so nobody can arrange to check his own
    item.work = {.id = new_id(),
                 .kind = Kind::validate,
                 .session = session,
                 .sequence = 0,
                 .offset = 0,
                 .length = 0,
                 .nonce = {},
                 .chunks = record.chunks,
                 .deadline_ms = fetch_deadline(record.bytes)};
    item.bytes = record.bytes;
    item.expected = record.root;
    ++busy[item.node];
    issue({std::move(item)});
  }
}

void Work::forget(const Id& session) {
  std::vector<Id> open;
  std::vector<HoldingKey> holdings;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, o] : open_)
      if (o.item.work.session == session && !o.ending) open.push_back(id);
    for (const auto& [key, holding] : holdings_)
      if (key.second == session) holdings.push_back(key);
  }
  drop(open);
  std::lock_guard saving(saving_);
  for (const HoldingKey& key : holdings) documents_.remove(kHoldings, key.first.text() + "/" + key.second.text());
  documents_.remove(kRecordings, session.text());
  std::lock_guard lock(mutex_);
  for (const HoldingKey& key : holdings) holdings_.erase(key);
  known_.erase(session);
}

void Work::prune() {
  std::int64_t now = clock_.steady_ms();
  if (now < next_prune_) return;
  next_prune_ = now + kPruneMs;
  // Ids are ordered by the time they were made: the first 48 bits are its milliseconds.
  std::int64_t before = clock_.wall_ms() - kKeptMs;
  if (before <= 0) return;
  std::array<std::uint8_t, 16> first{};
  for (int i = 0; i < 6; ++i) first[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(before >> (8 * (5 - i)));
  documents_.remove_range(kWorkEnded, "", Id(first).text());
}

std::uint64_t Work::below(std::uint64_t limit) {
  std::uint64_t drawn = 0;
  for (std::uint8_t byte : random_.array<8>()) drawn = drawn << 8 | byte;
  return drawn % limit;
}

}  // namespace lucid::node_management
