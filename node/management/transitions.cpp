// Changes of state: each is an event, and the event is what makes it so. Changes that are asked for at once become durable in one step.
#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "lib/contracts/fields.hpp"
#include "lib/runtime/log.hpp"
#include "node/management/collections.hpp"
#include "node/management/registry.hpp"

namespace lucid::node_management {
namespace {

constexpr std::size_t kMaxEvents = 20'000, kKeptEvents = 10'000;
constexpr std::size_t kEventsAtOnce = 100, kSessionsAtOnce = 20'000;
constexpr std::size_t kMaxBatch = 500;
const runtime::Log kTransitionLog("node-management");

}  // namespace

std::string Registry::event_json(const Stored& s) {
  json::array sessions;
  for (const Id& id : s.event.sessions) sessions.push_back(json::value(id.text()));
  return json::serialize(json::object{{"seq", s.event.seq},
                                      {"node_id", s.event.node.text()},
                                      {"from", contracts::name(s.event.from)},
                                      {"to", contracts::name(s.event.to)},
                                      {"cause", s.event.cause},
                                      {"sessions", std::move(sessions)},
                                      {"wall_ms", s.wall_ms}});
}

void Registry::load_events() {
  for_each_document(parts_.documents, kEvents, "", "", [&](const store::Document& d, const json::value& value) {
    contracts::Fields in(value);
    Stored s;
    s.event.seq = in.number<std::uint64_t>("seq");
    s.event.node = in.id("node_id");
    auto from = contracts::node_state(in.text("from")), to = contracts::node_state(in.text("to"));
    if (!from) in.refuse("from");
    if (!to) in.refuse("to");
    s.event.cause = in.text("cause");
    for (const std::string& text : in.texts("sessions")) {
      auto id = Id::parse(text);
      if (!id) in.refuse("sessions");
      s.event.sessions.push_back(id.value_or(Id{}));
    }
    s.wall_ms = in.number<std::int64_t>("wall_ms");
    if (!in.ok()) throw unreadable(kEvents, d.key, in.error("event"));
    s.event.from = *from;
    s.event.to = *to;
    next_event_ = std::max(next_event_, s.event.seq + 1);
    if (auto it = nodes_.find(s.event.node); it != nodes_.end() && it->second->event < s.event.seq) {
      Node& n = *it->second;
      n.state = s.event.to;
      n.cause = s.event.cause;
      n.since_wall_ms = s.wall_ms;
      n.was_draining = s.event.to == State::offline && s.event.from == State::draining;
      n.struck = n.struck || s.event.to == State::banned;
      n.event = s.event.seq;
    }
    events_.push_back(std::move(s));
  });
}

// With mutex_ held. Nothing: refused.
std::optional<store::Documents::Insert> Registry::prepare(Change& change, std::vector<store::Documents::Insert>& inserts,
                                                          std::vector<Stored>& events) {
  auto refuse = [&](Error error) {
    change.refusal.emplace(std::move(error));
    return std::nullopt;
  };
  auto it = nodes_.find(change.node);
  if (it == nodes_.end()) return refuse(Error(ErrorKind::not_found, "node_not_found", "there is no node of that id"));
  Node& n = *it->second;
  auto to = next(n.state, change.trigger);
  if (!to)
    return refuse(
        Error(ErrorKind::conflict, "illegal_transition",
              fmt::format("\"{}\" leads nowhere from the state {} of node {}", name(change.trigger), contracts::name(n.state), n.name)));
  if (change.trigger == Trigger::lease_over && n.lease_until_ms >= parts_.time.steady_ms())
    return refuse(Error(ErrorKind::conflict, "illegal_transition", "the node was heard meanwhile"));
  Stored stored;
  stored.event = {
      .seq = next_event_ + events.size(), .node = n.id, .from = n.state, .to = *to, .cause = to_utf8(change.cause, 400), .sessions = {}};
  for (const auto& [session, placed] : n.placed) stored.event.sessions.push_back(session);
  stored.wall_ms = parts_.time.wall_ms();
  if (change.trigger == Trigger::activate) {
    n.ordinal = next_ordinal_++;
    inserts.push_back({kNodes, n.id.text(), node_json(n)});  // its state is that of before the event
  }
  n.changing = true;
  store::Documents::Insert insert{kEvents, store::sortable(stored.event.seq), event_json(stored)};
  events.push_back(std::move(stored));
  return insert;
}

// With mutex_ held.
void Registry::apply(const Stored& stored) {
  const contracts::NodeEvent& e = stored.event;
  Node& n = *nodes_.at(e.node);
  --by_state_[static_cast<std::size_t>(n.state)];
  ++by_state_[static_cast<std::size_t>(e.to)];
  n.state = e.to;
  n.cause = e.cause;
  n.since_wall_ms = stored.wall_ms;
  n.was_draining = e.to == State::offline && e.from == State::draining;
  n.struck = n.struck || e.to == State::banned;
  n.event = e.seq;
  n.changing = false;
  if (holds_lease(e.to) && !holds_lease(e.from)) n.lease_until_ms = parts_.time.steady_ms() + lease_ms();
  if (e.from == State::pending) {
    pending_.erase(n.id);
    if (auto it = invitations_.find(to_hex(n.invitation)); it != invitations_.end()) ++it->second.used;
  }
  if (e.to == State::retired) std::erase_if(names_, [&](const auto& entry) { return entry.second == n.id; });
  if (e.to == State::offline) parts_.metrics.leases_over.add();
  if (e.to == State::offline || e.to == State::banned) {
    std::string sessions;
    for (std::size_t i = 0; i < std::min<std::size_t>(e.sessions.size(), 20); ++i) sessions += (i == 0 ? "" : " ") + e.sessions[i].text();
    kTransitionLog.warn("a node is no longer there", {{"node", n.id.text()},
                                                      {"name", n.name},
                                                      {"state", contracts::name(e.to)},
                                                      {"cause", e.cause},
                                                      {"sessions", fmt::format("{}", e.sessions.size())},
                                                      {"session_ids", sessions}});
  } else {
    kTransitionLog.info("node", {{"node", n.id.text()}, {"name", n.name}, {"state", contracts::name(e.to)}, {"cause", e.cause}});
  }
  next_event_ = e.seq + 1;
  events_.push_back(stored);
}

void Registry::commit(std::span<Change* const> changes) {
  Lock lock(mutex_);
  waiting_.insert(waiting_.end(), changes.begin(), changes.end());
  auto all_done = [&] { return std::all_of(changes.begin(), changes.end(), [](const Change* c) { return c->done; }); };
  while (!all_done()) {
    if (leading_) {
      committed_.wait(lock);
      continue;
    }
    leading_ = true;
    std::vector<Change*> taken, later;
    std::vector<store::Documents::Insert> inserts;
    std::vector<Stored> events;
    for (Change* change : waiting_) {
      auto node = nodes_.find(change->node);
      // A second change of a node waits for what becomes of the first.
      if (events.size() == kMaxBatch || (node != nodes_.end() && node->second->changing)) {
        later.push_back(change);
        continue;
      }
      if (auto insert = prepare(*change, inserts, events)) {
        inserts.push_back(std::move(*insert));
        taken.push_back(change);
      } else {
        change->done = true;
      }
    }
    waiting_ = std::move(later);
    std::exception_ptr failure;
    if (!taken.empty()) {
      lock.unlock();
      try {
        auto fresh = parts_.documents.insert_many(inserts);
        if (!std::all_of(fresh.begin(), fresh.end(), [](bool f) { return f; }))
          throw Error(ErrorKind::internal, "an event of that number exists already in nodes.db");
      } catch (...) { failure = std::current_exception(); }
      lock.lock();
    }
    for (std::size_t i = 0; i < taken.size(); ++i) {
      taken[i]->failure = failure;
      taken[i]->done = true;
      if (failure)
        nodes_.at(taken[i]->node)->changing = false;
      else
        apply(events[i]);
    }
    leading_ = false;
    committed_.notify_all();
    event_added_.notify_all();
  }
  lock.unlock();
  for (const Change* change : changes)
    if (change->failure) std::rethrow_exception(change->failure);
}

contracts::NodeStatus Registry::act(const Id& id, Trigger trigger, const std::string& cause) {
  Change change{id, trigger, cause, {}, nullptr, false};
  Change* one[]{&change};
  commit(one);
  if (change.refusal) throw *change.refusal;
  if (trigger == Trigger::retire) leave_pools(id);
  return status(id);
}

void Registry::expire() {
  std::vector<Change> changes;
  {
    std::lock_guard lock(mutex_);
    std::int64_t now = parts_.time.steady_ms();
    for (const auto& [id, n] : nodes_)
      if (holds_lease(n->state) && !n->changing && n->lease_until_ms < now)
        changes.push_back({id, Trigger::lease_over, "no heartbeat for a whole lease", {}, nullptr, false});
    for (std::size_t i = 0; i < by_state_.size(); ++i) parts_.metrics.by_state[i]->set(static_cast<double>(by_state_[i]));
  }
  if (changes.empty()) return;
  std::vector<Change*> pointers;
  for (Change& c : changes) pointers.push_back(&c);
  commit(pointers);
}

void Registry::compact() {
  std::uint64_t cut = 0;
  std::vector<std::pair<Id, std::string>> nodes;
  std::vector<std::uint64_t> events;
  {
    std::lock_guard lock(mutex_);
    if (events_.size() <= kMaxEvents) return;
    cut = events_[events_.size() - kKeptEvents].event.seq;
    for (const auto& [id, n] : nodes_)
      if (n->state != State::pending && n->kept_event < n->event && n->event < cut) {
        nodes.emplace_back(id, node_json(*n));
        events.push_back(n->event);
      }
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    parts_.documents.put(kNodes, nodes[i].first.text(), nodes[i].second);
    std::lock_guard lock(mutex_);
    nodes_.at(nodes[i].first)->kept_event = events[i];
  }
  parts_.documents.remove_range(kEvents, "", store::sortable(cut));
  std::lock_guard lock(mutex_);
  while (!events_.empty() && events_.front().event.seq < cut) events_.pop_front();
}

contracts::NodeEvents Registry::events(std::uint64_t after, std::int64_t wait_ms) {
  Lock lock(mutex_);
  auto something = [&] { return stopping_ || (!events_.empty() && events_.back().event.seq > after); };
  event_added_.wait_for(lock, std::chrono::milliseconds(wait_ms), something);
  contracts::NodeEvents answer;
  answer.next = after;
  // A mark beyond the last event is of another database: begin again rather than stay silent for ever.
  if (after >= next_event_) answer.next = after = 0;
  auto it = std::upper_bound(events_.begin(), events_.end(), after, [](std::uint64_t seq, const Stored& s) { return seq < s.event.seq; });
  std::size_t sessions = 0;
  for (; it != events_.end() && answer.events.size() < kEventsAtOnce && sessions < kSessionsAtOnce; ++it) {
    answer.events.push_back(it->event);
    answer.next = it->event.seq;
    sessions += it->event.sessions.size();
  }
  return answer;
}

}  // namespace lucid::node_management
