// Handing work out, judging answers, and what follows from them.
#include "node/management/work.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "lib/crypto/hash.hpp"

namespace lucid::node_management {
namespace {

using Kind = contracts::NodeWork::Kind;

constexpr std::uint64_t kWrongRoot = 1'000;  // tries a wrong root counts for: never asked about that recording again

std::string holding_key(const Id& node, const Id& session) { return node.text() + "/" + session.text(); }

std::pair<Id, Id> read_holding_key(const std::string& key) {
  auto node = Id::parse(key.substr(0, 36)), session = Id::parse(key.size() > 37 ? key.substr(37) : "");
  if (!node || !session) throw Error(ErrorKind::corrupt, "bad_document", "a stored holding has the key " + key);
  return {*node, *session};
}

Error work_not_found() { return Error(ErrorKind::not_found, "work_not_found", "this node was given no work of that id"); }

template <class Each>
void each_document(store::Documents& documents, const char* collection, Each each) {
  constexpr std::size_t kBatch = 1'000;
  for (std::string from;;) {
    auto batch = documents.scan(collection, {.from = from, .to = "", .limit = kBatch, .order = store::Order::ascending});
    for (const store::Document& document : batch) each(document);
    if (batch.size() < kBatch) return;
    from = batch.back().key + '\0';
  }
}

}  // namespace

Work::Work(store::Documents& documents, WorkHost& host, Recordings& recordings, const Clock& clock, RandomSource& random, WorkConfig config)
    : documents_(documents), host_(host), recordings_(recordings), clock_(clock), random_(random), config_(config) {}

Work::~Work() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (planner_.joinable()) planner_.join();
}

void Work::count_in(runtime::Metrics& metrics) {
  constexpr const char* kKinds[] = {"hold", "challenge", "validate"};
  constexpr const char* kEnds[] = {"passed", "wrong", "late"};
  for (std::size_t kind = 0; kind < 3; ++kind)
    for (std::size_t end = 0; end < 3; ++end)
      counters_[kind][end] = &metrics.counter("lucid_nodes_work_total", "Work given to nodes that has ended, by kind and how",
                                              {{"kind", kKinds[kind]}, {"end", kEnds[end]}});
}

void Work::load() {
  each_document(documents_, kRecordings, [this](const store::Document& d) {
    auto id = Id::parse(d.key);
    if (!id) throw Error(ErrorKind::corrupt, "bad_document", "a stored recording has the key " + d.key);
    known_[*id].record = read_recording(d.json);
  });
  each_document(documents_, kHoldings, [this](const store::Document& d) {
    HoldingKey key = read_holding_key(d.key);
    holdings_[key] = read_holding(d.json);
    if (auto it = known_.find(key.second); it != known_.end()) ++it->second.holders;
  });
  std::vector<WorkItem> ended;
  each_document(documents_, kWorkOpen, [this, &ended](const store::Document& d) {
    WorkItem item = read_work_item(d.json);
    if (item.work.kind == Kind::hold) {  // the holding may not have been written any more
      auto it = holdings_.find({item.node, item.work.session});
      if (it != holdings_.end() && item.work.sequence >= it->second.next) {
        for (std::uint64_t s = it->second.next; s <= item.work.sequence; ++s) it->second.missing.insert(s);
        it->second.next = item.work.sequence + 1;
      }
    }
    if (documents_.get(kWorkEnded, d.key))
      ended.push_back(std::move(item));
    else {
      if (item.work.kind == Kind::validate)
        if (auto it = known_.find(item.work.session); it != known_.end()) ++it->second.validating;
      open_of_[item.node].push_back(item.work.id);
      open_[item.work.id] = {.item = item, .handed_steady_ms = {}, .made_steady_ms = clock_.steady_ms(), .ending = false};
    }
  });
  for (const WorkItem& item : ended) {
    apply(item, read_work_result(documents_.get(kWorkEnded, item.work.id.text())->json));
    documents_.remove(kWorkOpen, item.work.id.text());
  }
}

void Work::open() {
  load();
  planner_ = std::thread([this] { run(); });
}

std::vector<contracts::NodeWork> Work::work_for(const Id& node) {
  std::vector<contracts::NodeWork> out;
  std::int64_t now = clock_.steady_ms();
  std::lock_guard lock(mutex_);
  auto mine = open_of_.find(node);
  if (mine == open_of_.end()) return out;
  // Challenges first: what else there is has minutes of time.
  for (bool challenges : {true, false})
    for (const Id& id : mine->second) {
      if (out.size() == kWorkPerBeat) return out;
      Open& o = open_.at(id);
      if ((o.item.work.kind == Kind::challenge) != challenges || o.ending) continue;
      std::int64_t until = o.handed_steady_ms.value_or(now) + o.item.work.deadline_ms;
      if (until <= now) continue;
      if (!o.handed_steady_ms) o.handed_steady_ms = now;
      out.push_back(o.item.work);
      out.back().deadline_ms = until - now;
    }
  return out;
}

WorkDesk::Answered Work::answer(const Id& node, const contracts::WorkAnswer& answer) {
  std::optional<WorkItem> item;
  bool late = false;
  {
    std::unique_lock lock(mutex_);
    auto it = open_.end();
    changed_.wait(lock, [&] { return (it = open_.find(answer.work)) == open_.end() || !it->second.ending; });
    if (it != open_.end()) {
      if (it->second.item.node != node) throw work_not_found();
      item = it->second.item;
      late = it->second.handed_steady_ms && clock_.steady_ms() > *it->second.handed_steady_ms + item->work.deadline_ms;
      it->second.ending = true;
    }
  }
  WorkResult result;
  if (item) {
    try {
      result = end(*item, late ? WorkResult{WorkEnd::late, kLateReason} : judge(*item, answer));
    } catch (...) {
      unclaim(answer.work);
      throw;
    }
  } else {
    auto ended = documents_.get(kWorkEnded, answer.work.text());
    if (!ended || read_work_item(ended->json).node != node) throw work_not_found();
    result = read_work_result(ended->json);
  }
  return {result.end == WorkEnd::passed, result.reason};
}

WorkResult Work::judge(const WorkItem& item, const contracts::WorkAnswer& answer) {
  if (answer.digest != item.expected)
    return {WorkEnd::wrong, item.work.kind == Kind::validate ? "the root is not the one under the recording's checkpoint"
                                                             : "the digest is not the one of the stored bytes"};
  if (item.work.kind != Kind::validate) return {};
  auto node = host_.node(item.node);
  Bytes signed_bytes(as_bytes(contracts::kValidation).begin(), as_bytes(contracts::kValidation).end());
  signed_bytes.insert(signed_bytes.end(), item.work.session.bytes().begin(), item.work.session.bytes().end());
  signed_bytes.insert(signed_bytes.end(), answer.digest.begin(), answer.digest.end());
  if (!node || !node->key.verify(signed_bytes, answer.signature)) return {WorkEnd::wrong, "the counter-signature does not hold"};
  return {};
}

WorkResult Work::end(const WorkItem& item, WorkResult result) {
  // A result that is there already stands: what follows from it failed half way then.
  if (!documents_.insert(kWorkEnded, item.work.id.text(), to_text(item, result))) {
    result = read_work_result(documents_.get(kWorkEnded, item.work.id.text()).value().json);
  } else {
    std::lock_guard lock(mutex_);
    if (auto* counter = counters_[static_cast<std::size_t>(item.work.kind)][static_cast<std::size_t>(result.end)]) counter->add();
    ++(result.end == WorkEnd::passed ? totals_.passed : result.end == WorkEnd::wrong ? totals_.wrong : totals_.late);
  }
  apply(item, result);
  documents_.remove(kWorkOpen, item.work.id.text());
  close(item.work.id);
  return result;
}

void Work::unclaim(const Id& work) {
  {
    std::lock_guard lock(mutex_);
    if (auto it = open_.find(work); it != open_.end()) it->second.ending = false;
  }
  changed_.notify_all();
}

void Work::apply(const WorkItem& item, const WorkResult& result) {
  const contracts::NodeWork& work = item.work;
  bool passed = result.end == WorkEnd::passed;
  if (work.kind == Kind::challenge) host_.challenged(item.node, work.id, passed);
  if (work.kind == Kind::validate && passed) host_.validated(item.node, work.id, work.session);

  std::lock_guard saving(saving_);
  if (work.kind == Kind::validate) {
    std::string text;
    {
      std::lock_guard lock(mutex_);
      auto it = known_.find(work.session);
      if (it == known_.end()) return;
      RecordingRecord& record = it->second.record;
      if (passed)
        record.validators.insert(item.node);
      else
        record.failed[item.node] += result.end == WorkEnd::wrong ? kWrongRoot : 1;
      text = to_text(record);
    }
    documents_.put(kRecordings, work.session.text(), text);
    return;
  }
  {
    std::lock_guard lock(mutex_);
    auto it = holdings_.find({item.node, work.session});
    if (it == holdings_.end()) return;
    HoldingRecord& h = it->second;
    if (work.kind == Kind::hold && passed && h.missing.erase(work.sequence) == 1) h.bytes += item.bytes;
    // Who cannot prove a chunk does not hold it: it is given anew.
    if (work.kind == Kind::challenge && result.end == WorkEnd::wrong && h.holds(work.sequence)) {
      h.missing.insert(work.sequence);
      h.bytes -= item.bytes;
    }
  }
  save_holding({item.node, work.session});
}

void Work::save_holding(const HoldingKey& key) {
  std::string text;
  {
    std::lock_guard lock(mutex_);
    auto it = holdings_.find(key);
    if (it == holdings_.end()) return;
    text = to_text(it->second);
  }
  documents_.put(kHoldings, holding_key(key.first, key.second), text);
}

void Work::issue(std::vector<WorkItem> items) {
  std::vector<store::Documents::Insert> inserts;
  for (const WorkItem& item : items) inserts.push_back({kWorkOpen, item.work.id.text(), to_text(item)});
  std::vector<bool> fresh = documents_.insert_many(inserts);
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!fresh[i]) continue;  // an id came twice: that piece is asked for another time
    WorkItem& item = items[i];
    if (item.work.kind == Kind::validate)
      if (auto it = known_.find(item.work.session); it != known_.end()) ++it->second.validating;
    open_of_[item.node].push_back(item.work.id);
    Id id = item.work.id;
    open_[id] = {.item = std::move(item), .handed_steady_ms = {}, .made_steady_ms = clock_.steady_ms(), .ending = false};
  }
}

void Work::close(const Id& work) {
  {
    std::lock_guard lock(mutex_);
    auto it = open_.find(work);
    if (it == open_.end()) return;
    const WorkItem& item = it->second.item;
    auto mine = open_of_.find(item.node);
    std::erase(mine->second, work);
    if (mine->second.empty()) open_of_.erase(mine);
    if (item.work.kind == Kind::validate)
      if (auto known = known_.find(item.work.session); known != known_.end() && known->second.validating > 0) --known->second.validating;
    open_.erase(it);
  }
  changed_.notify_all();
}

Bytes Work::chunk(const Id& node, const Id& session, std::uint64_t sequence) {
  {
    std::int64_t now = clock_.steady_ms();
    std::lock_guard lock(mutex_);
    auto mine = open_of_.find(node);
    bool asked = mine != open_of_.end() && std::any_of(mine->second.begin(), mine->second.end(), [&](const Id& id) {
                   const Open& o = open_.at(id);
                   const contracts::NodeWork& w = o.item.work;
                   if (w.session != session || !o.handed_steady_ms || now > *o.handed_steady_ms + w.deadline_ms) return false;
                   return (w.kind == Kind::hold && w.sequence == sequence) || (w.kind == Kind::validate && sequence < w.chunks);
                 });
    if (!asked) throw Error(ErrorKind::not_found, "chunk_not_asked", "this node is not asked to hold or validate that chunk");
  }
  return recordings_.chunk(session, sequence);
}

std::map<Id, WorkDesk::Held> Work::held() {
  std::map<Id, Held> out;
  std::lock_guard lock(mutex_);
  for (const auto& [key, holding] : holdings_) {
    if (holding.held() == 0) continue;
    Held& held = out[key.first];
    held.bytes += holding.bytes;
    held.chunks += holding.held();
  }
  return out;
}

Work::Totals Work::totals() {
  std::lock_guard lock(mutex_);
  totals_.open = open_.size();
  totals_.recordings = known_.size();
  return totals_;
}

Id Work::new_id() { return Id::make(clock_, random_); }

}  // namespace lucid::node_management
