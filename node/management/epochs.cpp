#include "node/management/epochs.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "lib/contracts/fields.hpp"
#include "lib/evidence/checkpoint.hpp"
#include "node/management/collections.hpp"

namespace lucid::node_management {
namespace {

constexpr const char* kFirstEpoch = "first_epoch";
constexpr const char* kHostingBase = "hosting_base";

poot::Slot slot_of(std::int64_t wall_ms) { return poot::slot_at(wall_ms).value_or(0); }

std::optional<std::uint64_t> number_of_key(std::string_view key) {
  std::uint64_t n = 0;
  auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), n, 16);
  return error == std::errc{} && end == key.data() + key.size() ? std::optional(n) : std::nullopt;
}

ClosedEpoch read_closed(const store::Document& d) {
  auto value = parse_json(d.json, std::size_t{256} << 20);
  if (!value) throw unreadable(kEpochs, d.key, value.error());
  contracts::Fields in(*value);
  ClosedEpoch c;
  c.epoch = in.number<poot::Epoch>("epoch");
  c.root = in.hash("root");
  c.previous = in.hash("previous");
  c.checkpoint = in.text("checkpoint");
  auto leaves = from_hex(in.text("leaves"));
  if (!leaves || leaves->size() % 32 != 0) in.refuse("leaves");
  if (!in.ok()) throw unreadable(kEpochs, d.key, in.error("epoch"));
  c.leaves.resize(leaves->size() / 32);
  for (std::size_t i = 0; i < c.leaves.size(); ++i)
    std::copy_n(leaves->begin() + static_cast<std::ptrdiff_t>(i * 32), 32, c.leaves[i].begin());
  return c;
}

}  // namespace

Epochs::Epochs(Parts parts) : parts_(std::move(parts)) {}

void Epochs::open(std::int64_t wall_ms) {
  auto last = parts_.documents.scan(kEpochs, {.from = "", .to = "", .limit = 1, .order = store::Order::descending});
  if (!last.empty()) {
    newest_ = read_closed(last[0]);
    open_ = newest_->epoch + 1;
    auto checkpoint = evidence::open_checkpoint(newest_->checkpoint, parts_.key.verify_key());
    evidence::Tree tree;
    for (const Hash32& leaf : newest_->leaves) tree.append(leaf);
    if (!checkpoint || checkpoint->root != tree.root() || checkpoint->size != tree.size() || newest_->root != tree.root())
      problem_ =
          fmt::format("nodes.db: the receipts of epoch {} do not lead to the checkpoint signed over them; restore the file from a backup",
                      newest_->epoch);
    finish(newest_->epoch);
  } else {
    poot::Epoch now = poot::epoch_of(slot_of(wall_ms));
    parts_.documents.insert(kMarks, kFirstEpoch, json::serialize(json::object{{"epoch", now}}));
    auto first = parts_.documents.get(kMarks, kFirstEpoch);
    auto value = first ? parse_json(first->json) : Expected<json::value>(json::object{});
    contracts::Fields in(*value);
    open_ = in.number<poot::Epoch>("epoch");
    if (!in.ok()) throw unreadable(kMarks, kFirstEpoch, in.error("mark"));
  }
  load_uptime();
  load_hosting();
  parts_.metrics.open_epoch.set(static_cast<double>(open_));
}

void Epochs::load_uptime() {
  for_each_document(parts_.documents, kUptime, store::sortable(poot::first_slot(open_)), "",
                    [&](const store::Document& d, const json::value& value) {
                      contracts::Fields in(value);
                      auto slot = number_of_key(d.key);
                      auto map = from_hex(in.text("up"));
                      if (!in.ok() || !slot || !map) throw unreadable(kUptime, d.key, in.error("uptime map"));
                      auto& maps = uptime_[poot::epoch_of(*slot)];
                      for (std::size_t ordinal = 0; ordinal < map->size() * 8; ++ordinal) {
                        if (((*map)[ordinal / 8] >> (ordinal % 8) & 1) == 0) continue;
                        if (maps.size() <= ordinal) maps.resize(ordinal + 1);
                        maps[ordinal].set(poot::slot_in_epoch(*slot));
                      }
                    });
}

void Epochs::load_hosting() {
  std::string after;
  if (auto document = parts_.documents.get(kMarks, kHostingBase)) {
    auto value = parse_json(document->json, std::size_t{64} << 20);
    if (!value) throw unreadable(kMarks, kHostingBase, value.error());
    contracts::Fields in(*value);
    measured_ = in.number<poot::Slot>("slot");
    after = store::sortable(*measured_ + 1);
    for (const json::value& item : in.array("sessions")) {
      contracts::Fields s(item);
      base_[s.id("session")] = {s.number<std::uint64_t>("bytes"), s.id("node")};
      if (!s.ok()) in.refuse("sessions");
    }
    if (!in.ok()) throw unreadable(kMarks, kHostingBase, in.error("mark"));
  }
  // What was measured after the marks were kept.
  for_each_document(parts_.documents, kHosting, after, "", [&](const store::Document& d, const json::value&) {
    auto slot = number_of_key(d.key);
    if (!slot) throw unreadable(kHosting, d.key, Error(ErrorKind::corrupt, "its key is no slot"));
    adopt(d);
    measured_ = std::max(measured_.value_or(0), *slot);
  });
}

// The totals of a slot are where the next one counts from.
void Epochs::adopt(const store::Document& hosting) {
  auto value = parse_json(hosting.json, std::size_t{64} << 20);
  if (!value) throw unreadable(kHosting, hosting.key, value.error());
  contracts::Fields in(*value);
  for (const json::value& item : in.array("sessions")) {
    contracts::Fields s(item);
    base_[s.id("session")] = {s.number<std::uint64_t>("total"), s.id("node")};
    if (!s.ok()) in.refuse("sessions");
  }
  if (!in.ok()) throw unreadable(kHosting, hosting.key, in.error("hosting"));
}

void Epochs::up(std::uint32_t ordinal, std::int64_t from_wall_ms, std::int64_t to_wall_ms) {
  std::lock_guard lock(mutex_);
  poot::Slot first = std::max(slot_of(from_wall_ms), poot::first_slot(open_)), last = slot_of(to_wall_ms);
  for (poot::Slot slot = first; slot <= last; ++slot) {
    auto& maps = uptime_[poot::epoch_of(slot)];
    if (maps.size() <= ordinal) maps.resize(ordinal + 1);
    std::uint32_t at = poot::slot_in_epoch(slot);
    if (maps[ordinal].up(at)) continue;
    maps[ordinal].set(at);
    unsaved_.insert(slot);
  }
}

void Epochs::flush() {
  std::set<poot::Slot> slots;
  {
    std::lock_guard lock(mutex_);
    slots.swap(unsaved_);
  }
  while (!slots.empty()) {
    poot::Slot slot = *slots.begin();
    Bytes map;
    {
      std::lock_guard lock(mutex_);
      const auto& maps = uptime_[poot::epoch_of(slot)];
      map.resize((maps.size() + 7) / 8);
      for (std::size_t ordinal = 0; ordinal < maps.size(); ++ordinal)
        if (maps[ordinal].up(poot::slot_in_epoch(slot)))
          map[ordinal / 8] = static_cast<std::uint8_t>(map[ordinal / 8] | 1u << (ordinal % 8));
    }
    try {
      parts_.documents.put(kUptime, store::sortable(slot), json::serialize(json::object{{"up", to_hex(map)}}));
    } catch (...) {
      std::lock_guard lock(mutex_);
      unsaved_.insert(slots.begin(), slots.end());
      throw;
    }
    slots.erase(slots.begin());
  }
}

std::vector<Id> Epochs::measure(std::int64_t wall_ms, const std::function<std::map<Id, Placed>()>& placed_now) {
  poot::Slot now = std::max(slot_of(wall_ms), poot::first_slot(open_epoch()) + 1);
  if (measured_ && now <= *measured_ + 1) return {};
  poot::Slot slot = now - 1;
  std::map<Id, Placed> placements = placed_now();
  std::set<Id> sessions;
  for (const auto& [session, placed] : placements) sessions.insert(session);
  std::map<Id, Committed> committed;
  if (!sessions.empty()) committed = parts_.measure(sessions);

  std::map<Id, Base> next;
  std::vector<Id> counted;
  json::array list;
  for (const auto& [session, placed] : placements) {
    auto found = committed.find(session);
    Committed c = found == committed.end() ? Committed{} : found->second;
    auto base = base_.find(session);
    // A recording that began after its session was placed here is all this node's. What is older is nobody's, and begins to count now.
    std::uint64_t before = c.bytes;
    if (base != base_.end() && base->second.node == placed.node)
      before = std::min(base->second.bytes, c.bytes);
    else if (base == base_.end() && c.started_wall_ms >= placed.placed_wall_ms)
      before = 0;
    if (std::uint64_t fresh = std::min(c.bytes - before, poot::kMaxBytes); fresh > 0)
      list.push_back(json::object{{"session", session.text()}, {"node", placed.node.text()}, {"bytes", fresh}, {"total", c.bytes}});
    if (placed.released)
      counted.push_back(session);
    else if (found != committed.end())
      next[session] = {std::max(c.bytes, base != base_.end() ? base->second.bytes : 0), placed.node};
    else if (base != base_.end())
      next[session] = base->second;
  }
  if (!list.empty() && !parts_.documents.insert(kHosting, store::sortable(slot), json::serialize(json::object{{"sessions", list}}))) {
    // It was counted before a failure that kept the service from knowing. What was committed since counts for the next slot.
    if (auto there = parts_.documents.get(kHosting, store::sortable(slot))) adopt(*there);
    measured_ = slot;
    return {};
  }
  // From here on it is counted. The marks may be lost with the process: the slot's own document holds the totals.
  base_ = std::move(next);
  measured_ = slot;
  json::array marks;
  for (const auto& [session, base] : base_)
    marks.push_back(json::object{{"session", session.text()}, {"bytes", base.bytes}, {"node", base.node.text()}});
  parts_.documents.put(kMarks, kHostingBase, json::serialize(json::object{{"slot", slot}, {"sessions", std::move(marks)}}));
  return counted;
}

// Counted once by `work`: an epoch's last results may be told again in the next.
void Epochs::keep_result(const Id& node, const Id& work, std::int64_t wall_ms, const json::object& result) {
  poot::Epoch epoch = std::max(poot::epoch_of(slot_of(wall_ms)), open_epoch());
  auto key = [&](poot::Epoch e) { return store::sortable(e) + "/" + node.text() + "/" + work.text(); };
  if (epoch > 0 && parts_.documents.get(kResults, key(epoch - 1))) return;
  parts_.documents.insert(kResults, key(epoch), json::serialize(result));
}

void Epochs::challenged(const Id& node, const Id& work, bool passed, std::int64_t wall_ms) {
  keep_result(node, work, wall_ms, json::object{{"node", node.text()}, {"passed", passed}});
}

void Epochs::validated(const Id& node, const Id& work, const Id& session, std::int64_t wall_ms) {
  keep_result(node, work, wall_ms, json::object{{"node", node.text()}, {"session", session.text()}});
}

poot::Epoch Epochs::open_epoch() {
  std::lock_guard lock(mutex_);
  return open_;
}

std::optional<ClosedEpoch> Epochs::newest() {
  std::lock_guard lock(mutex_);
  return newest_;
}

std::optional<ClosedEpoch> Epochs::closed(poot::Epoch epoch) {
  auto document = parts_.documents.get(kEpochs, store::sortable(epoch));
  return document ? std::optional(read_closed(*document)) : std::nullopt;
}

Hash32 Epochs::log_root(poot::Epoch epoch) {
  auto c = closed(epoch);
  return c ? c->root : Hash32{};
}

std::string Epochs::verifier_key(poot::Epoch epoch) const {
  return evidence::note_verifier_key(fmt::format("{}/{}", parts_.origin, epoch), parts_.key.verify_key());
}

std::string Epochs::problem() {
  std::lock_guard lock(mutex_);
  return problem_;
}

}  // namespace lucid::node_management
