// Pools, and which node carries which session.
#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "lib/contracts/fields.hpp"
#include "node/management/collections.hpp"
#include "node/management/placement.hpp"
#include "node/management/registry.hpp"

namespace lucid::node_management {
namespace {

Error pool_not_found() { return Error(ErrorKind::not_found, "pool_not_found", "there is no pool of that id"); }

std::string placed_json(const Placed& p) {
  return json::serialize(json::object{{"node", p.node.text()},
                                      {"cpu_millicores", p.cpu_millicores},
                                      {"memory_mb", p.memory_mb},
                                      {"placed_wall_ms", p.placed_wall_ms},
                                      {"released", p.released}});
}

}  // namespace

void Registry::load_pools() {
  for_each_document(parts_.documents, kPools, "", "", [&](const store::Document& d, const json::value& value) {
    contracts::Fields in(value);
    Pool p;
    p.id = in.id("id");
    p.name = in.text("name");
    p.policy = in.text("policy") == name(Policy::pack) ? Policy::pack : Policy::spread;
    p.min_members = in.number<int>("min_members");
    p.max_members = in.number<int>("max_members");
    p.created_wall_ms = in.number<std::int64_t>("created_wall_ms");
    for (const std::string& text : in.texts("members")) {
      auto id = Id::parse(text);
      auto it = id ? nodes_.find(*id) : nodes_.end();
      // A node retires first and leaves its pools then.
      if (it != nodes_.end() && it->second->state != State::retired) p.members.insert(*id);
    }
    if (!in.ok()) throw unreadable(kPools, d.key, in.error("pool"));
    pools_[p.id] = std::move(p);
  });
  for_each_document(parts_.documents, kPlacements, "", "", [&](const store::Document& d, const json::value& value) {
    contracts::Fields in(value);
    auto session = Id::parse(d.key);
    Placed p{in.id("node"),
             in.number<int>("cpu_millicores"),
             in.number<std::int64_t>("memory_mb"),
             in.number<std::int64_t>("placed_wall_ms"),
             true,
             in.boolean("released")};
    if (!in.ok() || !session) throw unreadable(kPlacements, d.key, in.error("placement"));
    auto node = nodes_.find(p.node);
    if (node == nodes_.end()) throw unreadable(kPlacements, d.key, Error(ErrorKind::corrupt, "its node is not there"));
    if (!p.released) node->second->placed[*session] = p;
    placements_[*session] = p;
  });
}

void Registry::keep_pool(const Pool& p) {
  json::array members;
  for (const Id& id : p.members) members.push_back(json::value(id.text()));
  parts_.documents.put(kPools, p.id.text(),
                       json::serialize(json::object{{"id", p.id.text()},
                                                    {"name", p.name},
                                                    {"policy", name(p.policy)},
                                                    {"min_members", p.min_members},
                                                    {"max_members", p.max_members},
                                                    {"created_wall_ms", p.created_wall_ms},
                                                    {"members", std::move(members)}}));
}

Pool& Registry::pool_at(const Id& id) {
  auto it = pools_.find(id);
  if (it == pools_.end()) throw pool_not_found();
  return it->second;
}

Registry::PoolView Registry::view(const Pool& pool) const {
  PoolView v{pool, 0};
  for (const Id& id : pool.members) {
    const Node& n = *nodes_.at(id);
    if (n.state == State::active && n.lease_until_ms >= parts_.time.steady_ms()) ++v.active;
  }
  return v;
}

Registry::PoolView Registry::make_pool(const std::string& pool_name, Policy policy, int min_members, int max_members) {
  std::lock_guard writer(pools_write_mutex_);
  Pool pool{Id::make(parts_.clock, parts_.random), pool_name, policy, min_members, max_members, {}, parts_.time.wall_ms()};
  {
    std::lock_guard lock(mutex_);
    if (pools_.size() >= kMaxPools)
      throw Error(ErrorKind::conflict, "limit_exceeded", fmt::format("there are {} pools already", kMaxPools));
    for (const auto& [id, p] : pools_)
      if (p.name == pool_name)
        throw Error(ErrorKind::conflict, "name_in_use", "another pool has this name").with_fields({{"/name", "is in use"}});
  }
  keep_pool(pool);
  std::lock_guard lock(mutex_);
  return view(pools_[pool.id] = pool);
}

Registry::PoolView Registry::pool(const Id& id) {
  std::lock_guard lock(mutex_);
  return view(pool_at(id));
}

std::vector<Registry::PoolView> Registry::pools() {
  std::lock_guard lock(mutex_);
  std::vector<PoolView> out;
  for (auto it = pools_.rbegin(); it != pools_.rend(); ++it) out.push_back(view(it->second));
  return out;
}

void Registry::remove_pool(const Id& id) {
  std::lock_guard writer(pools_write_mutex_);
  {
    std::lock_guard lock(mutex_);
    if (!pool_at(id).members.empty()) throw Error(ErrorKind::conflict, "pool_not_empty", "the pool still has members; remove them first");
  }
  parts_.documents.remove(kPools, id.text());
  std::lock_guard lock(mutex_);
  pools_.erase(id);
}

void Registry::add_member(const Id& pool, const Id& node) {
  std::lock_guard writer(pools_write_mutex_);
  Pool changed;
  {
    std::lock_guard lock(mutex_);
    changed = pool_at(pool);
    const Node& n = get(node);
    if (n.state == State::pending || n.state == State::retired || n.state == State::banned)
      throw Error(ErrorKind::conflict, "illegal_transition", fmt::format("a node that is {} joins no pool", contracts::name(n.state)));
    if (changed.members.contains(node)) return;
    if (static_cast<int>(changed.members.size()) >= changed.max_members)
      throw Error(ErrorKind::conflict, "pool_full",
                  fmt::format("the pool {} has {} members, the most it takes", changed.name, changed.members.size()));
    changed.members.insert(node);
  }
  keep_pool(changed);
  std::lock_guard lock(mutex_);
  pool_at(pool).members = std::move(changed.members);
}

void Registry::remove_member(const Id& pool, const Id& node) {
  std::lock_guard writer(pools_write_mutex_);
  Pool changed;
  {
    std::lock_guard lock(mutex_);
    changed = pool_at(pool);
    if (changed.members.erase(node) == 0) return;
  }
  keep_pool(changed);
  std::lock_guard lock(mutex_);
  pool_at(pool).members = std::move(changed.members);
}

void Registry::leave_pools(const Id& node) {
  std::vector<Id> in;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, p] : pools_)
      if (p.members.contains(node)) in.push_back(id);
  }
  for (const Id& id : in) remove_member(id, node);
}

// With mutex_ held: a node for the session, or throws.
Node& Registry::pick(const std::optional<Id>& pool, const contracts::PlaceRequest& request) {
  std::vector<const Node*> candidates;
  Policy policy = Policy::spread;
  if (pool) {
    const Pool& p = pool_at(*pool);
    policy = p.policy;
    for (const Id& id : p.members) candidates.push_back(nodes_.at(id).get());
  } else {
    bool any = false;
    for (const auto& [id, n] : nodes_) {
      if (n->type != contracts::NodeType::worker || n->state == State::pending || n->state == State::retired) continue;
      any = true;
      candidates.push_back(n.get());
    }
    if (!any) throw Error(ErrorKind::conflict, contracts::kNoNodesRegistered, "no worker node is registered");
  }
  Choice choice = choose(candidates, request, policy, parts_.time.steady_ms());
  if (choice.node == nullptr) {
    parts_.metrics.not_placed.add();
    throw Error(ErrorKind::conflict, "no_node", "no node can take the session: " + choice.why());
  }
  return *nodes_.at(choice.node->id);
}

contracts::Placement Registry::place(const std::optional<Id>& pool, const contracts::PlaceRequest& request) {
  auto began = std::chrono::steady_clock::now();
  const Id& session = request.session;
  Lock lock(mutex_);
  auto it = placements_.end();
  placed_.wait(lock, [&] {
    it = placements_.find(session);
    return it == placements_.end() || it->second.durable;
  });
  if (it != placements_.end() && !it->second.released) return {session, it->second.node, get(it->second.node).name};
  std::optional<Placed> before = it == placements_.end() ? std::nullopt : std::optional(it->second);
  bool written = false;
  // From the first reservation on the session's entry is not durable, so everybody else who asks for it waits.
  try {
    for (;;) {
      Node& n = pick(pool, request);
      Placed placed{n.id, request.cpu_millicores, request.memory_mb, parts_.time.wall_ms(), false, false};
      placements_[session] = placed;
      n.placed[session] = placed;
      lock.unlock();
      std::exception_ptr failure;
      try {
        parts_.documents.put(kPlacements, session.text(), placed_json(placed));
      } catch (...) { failure = std::current_exception(); }
      lock.lock();
      if (failure) {
        n.placed.erase(session);
        std::rethrow_exception(failure);
      }
      written = true;
      if (n.state == State::active && !n.changing) {
        placements_[session].durable = n.placed[session].durable = true;
        placed_.notify_all();
        parts_.metrics.placed.add();
        parts_.metrics.place_seconds.observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
        return {session, n.id, n.name};
      }
      n.placed.erase(session);  // it left while its placement was written; another one is chosen and overwrites it
    }
  } catch (...) {
    if (written) {
      lock.unlock();
      try {
        if (before)
          parts_.documents.put(kPlacements, session.text(), placed_json(*before));
        else
          parts_.documents.remove(kPlacements, session.text());
      } catch (const Error&) {
        // The disk fails both ways; after a restart the session shows on the node it was meant for, until it is released.
      }
      lock.lock();
    }
    if (before)
      placements_[session] = *before;
    else
      placements_.erase(session);
    placed_.notify_all();
    throw;
  }
}

void Registry::release(const Id& session) {
  Lock lock(mutex_);
  auto it = placements_.end();
  placed_.wait(lock, [&] {
    it = placements_.find(session);
    return it == placements_.end() || it->second.durable;
  });
  if (it == placements_.end() || it->second.released) return;
  Placed released = it->second;
  released.released = true;
  lock.unlock();
  parts_.documents.put(kPlacements, session.text(), placed_json(released));
  lock.lock();
  it = placements_.find(session);
  if (it == placements_.end() || it->second.released || it->second.node != released.node) return;
  it->second.released = true;
  nodes_.at(released.node)->placed.erase(session);
}

std::map<Id, Placed> Registry::placements() {
  std::lock_guard lock(mutex_);
  std::map<Id, Placed> out;
  for (const auto& [session, p] : placements_)
    if (p.durable) out.emplace(session, p);
  return out;
}

void Registry::forget(const std::vector<Id>& measured) {
  for (const Id& session : measured) {
    {
      std::lock_guard lock(mutex_);
      auto it = placements_.find(session);
      if (it == placements_.end() || !it->second.released) continue;  // placed again meanwhile
      it->second.durable = false;                                     // a new placement of it waits until this one is gone
      it->second.released = false;
    }
    std::exception_ptr failure;
    try {
      parts_.documents.remove(kPlacements, session.text());
    } catch (...) { failure = std::current_exception(); }
    std::lock_guard lock(mutex_);
    if (failure) {
      placements_[session].durable = placements_[session].released = true;
    } else {
      placements_.erase(session);
    }
    placed_.notify_all();
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace lucid::node_management
