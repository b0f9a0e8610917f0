// The close of an epoch, and what is read of closed ones.
#include <algorithm>
#include <charconv>
#include <chrono>

#include <fmt/format.h>

#include "lib/contracts/fields.hpp"
#include "lib/evidence/checkpoint.hpp"
#include "lib/runtime/log.hpp"
#include "node/management/collections.hpp"
#include "node/management/epochs.hpp"

namespace lucid::node_management {
namespace {

constexpr std::size_t kReceiptsAtOnce = 200;
const runtime::Log kEpochLog("node-management");

json::value tally_json(const poot::Tally& t) {
  return json::object{{"node_id", t.node.text()},
                      {"rank", t.rank},
                      {"hosting", t.score.own.hosting},
                      {"storage", t.score.own.storage},
                      {"validation", t.score.own.validation},
                      {"credits", t.score.credits},
                      {"slots_up", t.score.slots_up}};
}

poot::Tally read_tally(const json::value& value, poot::Epoch epoch) {
  contracts::Fields in(value);
  poot::Tally t;
  t.node = in.id("node_id");
  t.rank = in.number<std::uint32_t>("rank");
  t.score.epoch = epoch;
  t.score.own = {in.number<std::uint64_t>("hosting"), in.number<std::uint64_t>("storage"), in.number<std::uint64_t>("validation")};
  t.score.credits = in.number<std::uint64_t>("credits");
  t.score.slots_up = in.number<std::uint32_t>("slots_up");
  if (!in.ok()) throw unreadable(kTallies, store::sortable(epoch), in.error("tally"));
  return t;
}

json::value leader_json(const poot::Leader& l) {
  return json::object{{"slot", l.slot},       {"node_id", l.node ? json::value(l.node->text()) : json::value(nullptr)},
                      {"rank", l.rank},       {"reason", static_cast<int>(l.reason)},
                      {"resting", l.resting}, {"fall_backs", l.fall_backs}};
}

poot::Leader read_leader(const json::value& value) {
  contracts::Fields in(value);
  poot::Leader l;
  l.slot = in.number<poot::Slot>("slot");
  if (!in.value("node_id").is_null()) l.node = in.id("node_id");
  l.rank = in.number<std::uint32_t>("rank");
  l.reason = static_cast<poot::LeaderReason>(in.number<std::uint8_t>("reason"));
  l.resting = in.number<std::uint32_t>("resting");
  l.fall_backs = in.number<std::uint32_t>("fall_backs");
  if (!in.ok()) throw unreadable(kLeaders, "", in.error("leader"));
  return l;
}

}  // namespace

void Epochs::turn(std::int64_t wall_ms) {
  for (;;) {
    if (unfinished_) finish(*unfinished_);
    poot::Epoch epoch = open_epoch();
    if (poot::ends_wall_ms(epoch) + kCloseDelayMs > wall_ms) return;
    close(epoch);
  }
}

void Epochs::close(poot::Epoch epoch) {
  auto began = std::chrono::steady_clock::now();
  make_receipts(epoch);
  seal(epoch);
  finish(epoch);
  parts_.metrics.epochs_closed.add();
  parts_.metrics.open_epoch.set(static_cast<double>(epoch + 1));
  parts_.metrics.close_seconds.observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
}

std::map<Id, poot::Hosting> Epochs::hosting_of(poot::Epoch epoch) {
  std::map<Id, poot::Hosting> out;
  std::string from = store::sortable(poot::first_slot(epoch)), to = store::sortable(poot::first_slot(epoch + 1));
  for_each_document(parts_.documents, kHosting, from, to, [&](const store::Document& d, const json::value& value) {
    contracts::Fields in(value);
    std::uint64_t slot = 0;
    std::from_chars(d.key.data(), d.key.data() + d.key.size(), slot, 16);
    std::map<Id, poot::HostingSlot> nodes;
    for (const json::value& item : in.array("sessions")) {
      contracts::Fields s(item);
      poot::HostingSlot& h = nodes[s.id("node")];
      h.slot = static_cast<std::uint16_t>(poot::slot_in_epoch(slot));
      if (h.sessions < poot::kMaxSessionsPerSlot) ++h.sessions;
      h.bytes = std::min(h.bytes + s.number<std::uint64_t>("bytes"), poot::kMaxBytes);
      if (!s.ok()) in.refuse("sessions");
    }
    if (!in.ok()) throw unreadable(kHosting, d.key, in.error("hosting"));
    for (const auto& [node, h] : nodes) out[node].slots.push_back(h);
  });
  return out;
}

std::map<Id, Epochs::Tallied> Epochs::results_of(poot::Epoch epoch) {
  std::map<Id, Tallied> out;
  for_each_document(parts_.documents, kResults, store::sortable(epoch), store::sortable(epoch + 1),
                    [&](const store::Document& d, const json::value& value) {
                      contracts::Fields in(value);
                      Tallied& t = out[in.id("node")];
                      if (value.as_object().contains("session")) {
                        Id session = in.id("session");
                        if (t.validated.size() < poot::kMaxValidations) t.validated.insert(session);
                      } else if (bool passed = in.boolean("passed"); t.asked < poot::kMaxAsked) {
                        ++t.asked;
                        t.passed += passed ? 1 : 0;
                      }
                      if (!in.ok()) throw unreadable(kResults, d.key, in.error("result"));
                    });
  return out;
}

std::string Epochs::receipt_key(const poot::Receipt& r) const {
  return r.node.text() + "/" + store::sortable(r.epoch) + "/" + std::to_string(static_cast<int>(r.kind()));
}

// Step 1. Receipts that are there already stay as they are, so this may be done again at any point.
void Epochs::make_receipts(poot::Epoch epoch) {
  auto hosting = hosting_of(epoch);
  auto results = results_of(epoch);
  std::map<Id, WorkDesk::Held> held = parts_.held ? parts_.held() : std::map<Id, WorkDesk::Held>{};
  std::vector<poot::Uptime> uptime;
  {
    std::lock_guard lock(mutex_);
    if (auto it = uptime_.find(epoch); it != uptime_.end()) uptime = it->second;
  }
  std::vector<store::Documents::Insert> inserts;
  auto write = [&] {
    auto fresh = parts_.documents.insert_many(inserts);
    parts_.metrics.receipts.add(static_cast<double>(std::count(fresh.begin(), fresh.end(), true)));
    inserts.clear();
  };
  for (const auto& [node, ordinal] : parts_.nodes()) {
    auto add = [&](decltype(poot::Receipt::work) work) {
      poot::Receipt r{epoch, node, std::move(work)};
      if (r.says_nothing()) return;
      inserts.push_back({kReceipts, receipt_key(r), json::serialize(json::object{{"receipt", to_hex(poot::to_bytes(r))}})});
    };
    if (auto it = hosting.find(node); it != hosting.end()) add(std::move(it->second));
    if (ordinal < uptime.size()) add(uptime[ordinal]);
    Tallied t;
    if (auto it = results.find(node); it != results.end()) t = std::move(it->second);
    if (auto it = held.find(node); it != held.end() && it->second.chunks > 0) {
      auto bytes = std::min(it->second.bytes, poot::kMaxBytes);
      add(poot::Storage{bytes, static_cast<std::uint32_t>(std::min<std::uint64_t>({it->second.chunks, bytes, UINT32_MAX})), t.asked,
                        t.passed});
    }
    add(poot::Validation{{t.validated.begin(), t.validated.end()}});
    if (inserts.size() >= kReceiptsAtOnce) write();
  }
  if (!inserts.empty()) write();
}

// Step 2: from what is stored. With this document the epoch is closed.
void Epochs::seal(poot::Epoch epoch) {
  ClosedEpoch c;
  c.epoch = epoch;
  c.previous = epoch == 0 ? Hash32{} : log_root(epoch - 1);
  evidence::Tree tree;
  Bytes leaves;
  for (const auto& [node, ordinal] : parts_.nodes())
    for (const auto& [receipt, bytes] : stored(node, epoch, epoch)) {
      Hash32 leaf = evidence::leaf_hash(bytes);
      tree.append(leaf);
      c.leaves.push_back(leaf);
      leaves.insert(leaves.end(), leaf.begin(), leaf.end());
    }
  c.root = tree.root();
  c.checkpoint = evidence::sign_checkpoint({.origin = fmt::format("{}/{}", parts_.origin, epoch),
                                            .size = tree.size(),
                                            .root = c.root,
                                            .extensions = {"previous " + to_hex(c.previous)}},
                                           parts_.key);
  parts_.documents.insert(kEpochs, store::sortable(epoch),
                          json::serialize(json::object{{"epoch", epoch},
                                                       {"root", to_hex(c.root)},
                                                       {"previous", to_hex(c.previous)},
                                                       {"checkpoint", c.checkpoint},
                                                       {"leaves", to_hex(leaves)}}));
  kEpochLog.info("epoch closed",
                 {{"epoch", std::to_string(epoch)}, {"receipts", std::to_string(c.leaves.size())}, {"root", to_hex(c.root)}});
  unfinished_ = epoch;
  std::lock_guard lock(mutex_);
  newest_ = std::move(c);
  open_ = epoch + 1;
  uptime_.erase(epoch);
  std::erase_if(unsaved_, [&](poot::Slot slot) { return poot::epoch_of(slot) <= epoch; });
}

// Steps 3 to 5; each is skipped when it is done.
void Epochs::finish(poot::Epoch epoch) {
  if (!parts_.documents.get(kTallies, store::sortable(epoch))) make_tally(epoch);
  if (!parts_.documents.get(kLeaders, store::sortable(epoch))) make_leaders(epoch);
  std::string end = store::sortable(poot::first_slot(epoch + 1));
  parts_.documents.remove_range(kUptime, "", end);
  parts_.documents.remove_range(kHosting, "", end);
  // Those of this epoch may still be told again.
  parts_.documents.remove_range(kResults, "", store::sortable(epoch));
  unfinished_.reset();
}

void Epochs::make_tally(poot::Epoch epoch) {
  std::vector<poot::Scored> scored;
  for (const auto& [node, ordinal] : parts_.nodes()) {
    auto window = receipts(node, poot::window_begin(epoch), epoch);
    if (window.empty()) continue;
    scored.push_back({node, poot::score_node(node, epoch, epoch, window).epochs.at(0)});
  }
  json::array list;
  for (const poot::Tally& t : poot::rank(epoch, epoch == 0 ? Hash32{} : log_root(epoch - 1), std::move(scored)))
    list.push_back(tally_json(t));
  parts_.documents.insert(kTallies, store::sortable(epoch), json::serialize(json::object{{"tally", std::move(list)}}));
}

void Epochs::make_leaders(poot::Epoch epoch) {
  std::vector<poot::Receipt> uptime;
  for (const auto& [node, ordinal] : parts_.nodes())
    for (poot::Receipt& r : receipts(node, epoch, epoch))
      if (r.kind() == poot::WorkKind::uptime) uptime.push_back(std::move(r));
  auto before = epoch == 0 ? std::vector<poot::Leader>{} : leaders(epoch - 1);
  auto ranks = epoch == 0 ? std::vector<poot::Tally>{} : tally(epoch - 1);
  json::array list;
  for (const poot::Leader& l : poot::leaders_of_epoch(epoch, ranks, before, poot::up_by_receipts(uptime))) list.push_back(leader_json(l));
  parts_.documents.insert(kLeaders, store::sortable(epoch), json::serialize(json::object{{"leaders", std::move(list)}}));
}

std::vector<poot::Tally> Epochs::tally(poot::Epoch epoch) {
  auto document = parts_.documents.get(kTallies, store::sortable(epoch));
  if (!document) return {};
  auto value = parse_json(document->json, std::size_t{64} << 20);
  if (!value) throw unreadable(kTallies, document->key, value.error());
  contracts::Fields in(*value);
  std::vector<poot::Tally> out;
  for (const json::value& item : in.array("tally")) out.push_back(read_tally(item, epoch));
  if (!in.ok()) throw unreadable(kTallies, document->key, in.error("tally"));
  return out;
}

std::vector<poot::Leader> Epochs::leaders(poot::Epoch epoch) {
  auto document = parts_.documents.get(kLeaders, store::sortable(epoch));
  if (!document) return {};
  auto value = parse_json(document->json, std::size_t{64} << 20);
  if (!value) throw unreadable(kLeaders, document->key, value.error());
  contracts::Fields in(*value);
  std::vector<poot::Leader> out;
  for (const json::value& item : in.array("leaders")) out.push_back(read_leader(item));
  if (!in.ok()) throw unreadable(kLeaders, document->key, in.error("leaders"));
  return out;
}

Epochs::SlotLeader Epochs::leader(poot::Slot slot, std::int64_t wall_ms) {
  auto not_found = [&](const char* why) {
    return Error(ErrorKind::not_found, "slot_not_found", fmt::format("slot {} has no leader: {}", slot, why));
  };
  poot::Epoch epoch = poot::epoch_of(slot);
  if (epoch > poot::kMaxEpoch || slot >= poot::slot_at(wall_ms).value_or(0)) throw not_found("it is not over");
  poot::Epoch open = open_epoch();
  if (epoch < open) {
    for (const poot::Leader& l : leaders(epoch))
      if (l.slot == slot) return {l, true};
    throw not_found("its epoch was not measured");
  }
  if (epoch > open) throw not_found("the epoch before is not closed yet");
  std::map<Id, poot::Uptime> maps;
  {
    auto nodes = parts_.nodes();
    std::lock_guard lock(mutex_);
    if (auto it = uptime_.find(epoch); it != uptime_.end())
      for (const auto& [node, ordinal] : nodes)
        if (ordinal < it->second.size()) maps[node] = it->second[ordinal];
  }
  auto was_up = [&](const Id& node, poot::Slot s) {
    auto it = maps.find(node);
    return it != maps.end() && it->second.up(poot::slot_in_epoch(s));
  };
  auto ranks = epoch == 0 ? std::vector<poot::Tally>{} : tally(epoch - 1);
  auto last = epoch == 0 ? std::vector<poot::Leader>{} : leaders(epoch - 1);
  for (poot::Slot s = poot::first_slot(epoch); s <= slot; ++s) {
    if (last.size() > poot::kRestSlots) last.erase(last.begin(), last.end() - poot::kRestSlots);
    last.push_back(poot::leader_of(s, ranks, last, was_up));
  }
  return {last.back(), false};
}

std::vector<std::pair<poot::Receipt, Bytes>> Epochs::stored(const Id& node, poot::Epoch first, poot::Epoch last) {
  std::vector<std::pair<poot::Receipt, Bytes>> out;
  std::string prefix = node.text() + "/";
  for_each_document(parts_.documents, kReceipts, prefix + store::sortable(first), prefix + store::sortable(last + 1),
                    [&](const store::Document& d, const json::value& value) {
                      contracts::Fields in(value);
                      auto bytes = from_hex(in.text("receipt"));
                      if (!in.ok() || !bytes) throw unreadable(kReceipts, d.key, in.error("receipt"));
                      auto receipt = poot::parse_receipt(*bytes);
                      if (!receipt) throw unreadable(kReceipts, d.key, receipt.error());
                      if (receipt_key(*receipt) != d.key)
                        throw unreadable(kReceipts, d.key, Error(ErrorKind::corrupt, "the receipt belongs to another key"));
                      out.emplace_back(std::move(*receipt), std::move(*bytes));
                    });
  return out;
}

std::vector<poot::Receipt> Epochs::receipts(const Id& node, poot::Epoch first, poot::Epoch last) {
  std::vector<poot::Receipt> out;
  for (auto& [receipt, bytes] : stored(node, first, last)) out.push_back(std::move(receipt));
  return out;
}

Epochs::Page Epochs::list(poot::Epoch epoch, const std::optional<Id>& node, const std::optional<Id>& after, std::size_t limit) {
  auto c = closed(epoch);
  if (!c) throw Error(ErrorKind::not_found, "epoch_not_found", fmt::format("epoch {} is not closed, or was not measured here", epoch));
  Page page;
  for (const auto& [id, ordinal] : parts_.nodes()) {
    if ((node && id != *node) || (after && id <= *after)) continue;
    if (page.receipts.size() >= limit) {
      page.next = page.receipts.back().receipt.node;
      break;
    }
    for (auto& [receipt, bytes] : stored(id, epoch, epoch)) {
      // Receipts of equal bytes cannot be: each names its node and kind.
      auto leaf = std::find(c->leaves.begin(), c->leaves.end(), evidence::leaf_hash(bytes));
      if (leaf == c->leaves.end())
        throw Error(ErrorKind::corrupt, "receipt_not_in_log",
                    fmt::format("a receipt of node {} is not in the log of epoch {}", id.text(), epoch));
      page.receipts.push_back({static_cast<std::uint64_t>(leaf - c->leaves.begin()), std::move(receipt), std::move(bytes)});
    }
  }
  return page;
}

}  // namespace lucid::node_management
