#include "node/management/registry.hpp"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "lib/contracts/fields.hpp"
#include "lib/crypto/hash.hpp"
#include "node/management/collections.hpp"

namespace lucid::node_management {
namespace {

constexpr const char* kInvitationPrefix = "lucid-invite:";
constexpr std::int64_t kForgetPendingMs = 600'000;
constexpr std::uint64_t kLastSequence = std::uint64_t{1} << 53;

std::string folded(std::string_view name) {
  std::string out(name);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string invitation_hash(std::string_view secret) { return to_hex(crypto::sha256(as_bytes(secret))); }

Error invitation_invalid() {
  return Error(ErrorKind::forbidden, "invitation_invalid",
               "the invitation is unknown, used up or out of date; ask the operator for a new one");
}
Error node_not_found() { return Error(ErrorKind::not_found, "node_not_found", "there is no node of that id"); }
Error signature_invalid(const std::string& why) { return Error(ErrorKind::unauthorized, "signature_invalid", why); }

bool signed_challenge(const crypto::VerifyKey& key, const std::array<std::uint8_t, 32>& challenge, ByteView signature) {
  Bytes message(as_bytes(contracts::kActivation).begin(), as_bytes(contracts::kActivation).end());
  message.insert(message.end(), challenge.begin(), challenge.end());
  return key.verify(message, signature);
}

}  // namespace

Registry::Registry(Parts parts) : parts_(std::move(parts)) {}

void Registry::stop() {
  std::lock_guard lock(mutex_);
  stopping_ = true;
  event_added_.notify_all();
}

std::string Registry::node_json(const Node& n) {
  return json::serialize(json::object{{"id", n.id.text()},
                                      {"name", n.name},
                                      {"type", contracts::name(n.type)},
                                      {"key", n.key.text()},
                                      {"capacity", contracts::to_json(n.capacity)},
                                      {"capabilities", json::array(n.capabilities.begin(), n.capabilities.end())},
                                      {"invitation", to_hex(n.invitation)},
                                      {"ordinal", n.ordinal},
                                      {"registered_wall_ms", n.registered_wall_ms},
                                      {"state", contracts::name(n.state)},
                                      {"cause", n.cause},
                                      {"since_wall_ms", n.since_wall_ms},
                                      {"was_draining", n.was_draining},
                                      {"struck", n.struck},
                                      {"event", n.event}});
}

void Registry::load_nodes() {
  for_each_document(parts_.documents, kNodes, "", "", [&](const store::Document& d, const json::value& value) {
    contracts::Fields in(value);
    auto node = std::make_unique<Node>();
    Node& n = *node;
    n.id = in.id("id");
    n.name = in.text("name");
    auto type = contracts::node_type(in.text("type"));
    auto state = contracts::node_state(in.text("state"));
    auto key = crypto::VerifyKey::parse(in.text("key"));
    if (!type) in.refuse("type");
    if (!state) in.refuse("state");
    if (!key) in.refuse("key");
    contracts::Fields capacity(in.value("capacity"));
    n.capacity = {capacity.number<int>("cpu_millicores"), capacity.number<std::int64_t>("memory_mb"), capacity.number<int>("session_slots"),
                  capacity.number<std::uint64_t>("storage_bytes")};
    n.capabilities = in.texts("capabilities");
    n.invitation = in.hash("invitation");
    n.ordinal = in.number<std::uint32_t>("ordinal");
    n.registered_wall_ms = in.number<std::int64_t>("registered_wall_ms");
    n.cause = in.text("cause");
    n.since_wall_ms = in.number<std::int64_t>("since_wall_ms");
    n.was_draining = in.boolean("was_draining");
    n.struck = in.boolean("struck");
    n.kept_event = n.event = in.number<std::uint64_t>("event");
    if (!in.ok() || !capacity.ok()) throw unreadable(kNodes, d.key, in.ok() ? capacity.error("node") : in.error("node"));
    n.type = *type;
    n.state = *state;
    n.key = *key;
    n.lease_until_ms = parts_.time.steady_ms();  // made whole once all are counted
    next_ordinal_ = std::max(next_ordinal_, n.ordinal + 1);
    next_event_ = std::max(next_event_, n.event + 1);
    nodes_[n.id] = std::move(node);
  });
  for_each_document(parts_.documents, kCeilings, "", "", [&](const store::Document& d, const json::value& value) {
    contracts::Fields in(value);
    auto ceiling = in.number<std::uint64_t>("ceiling");
    auto id = Id::parse(d.key);
    if (!in.ok() || !id) throw unreadable(kCeilings, d.key, in.error("ceiling"));
    if (auto it = nodes_.find(*id); it != nodes_.end()) it->second->ceiling = it->second->last_sequence = ceiling;
  });
}

void Registry::open() {
  Lock lock(mutex_);
  load_nodes();
  load_events();
  load_pools();
  std::int64_t now = parts_.time.steady_ms();
  for (auto& [id, n] : nodes_) {
    ++by_state_[static_cast<std::size_t>(n->state)];
    keys_[n->key.text()] = id;
    if (n->state != State::retired) names_[folded(n->name)] = id;
  }
  for (auto& [id, n] : nodes_) n->lease_until_ms = now + lease_ms();
  std::int64_t wall = parts_.time.wall_ms();
  std::vector<std::string> gone;
  for_each_document(parts_.documents, kInvitations, "", "", [&](const store::Document& d, const json::value& value) {
    contracts::Fields in(value);
    auto uses = in.number<std::uint64_t>("uses");
    auto expires = in.number<std::int64_t>("expires_wall_ms");
    auto valid = in.number<std::int64_t>("valid_ms");
    if (!in.ok()) throw unreadable(kInvitations, d.key, in.error("invitation"));
    if (expires <= wall)
      gone.push_back(d.key);
    else  // a clock turned back makes none valid for longer than it was given
      invitations_[d.key] = {uses, now + std::min(expires - wall, valid), 0};
  });
  for (auto& [id, n] : nodes_)
    if (auto it = invitations_.find(to_hex(n->invitation)); it != invitations_.end()) ++it->second.used;
  lock.unlock();
  for (const std::string& key : gone) parts_.documents.remove(kInvitations, key);
}

Node& Registry::get(const Id& id) {
  auto it = nodes_.find(id);
  if (it == nodes_.end()) throw node_not_found();
  return *it->second;
}

std::int64_t Registry::beat_every_ms() const {
  std::size_t beating = 0;
  for (State s : kAllStates)
    if (may_beat(s)) beating += by_state_[static_cast<std::size_t>(s)];
  return std::max(kShortestBeatMs, static_cast<std::int64_t>(beating) * 1'000 / kBeatsPerSecond);
}
std::int64_t Registry::lease_ms() const { return std::max(kShortestLeaseMs, 3 * beat_every_ms()); }

contracts::NodeStatus Registry::describe(const Node& n) const {
  contracts::NodeStatus s{.id = n.id,
                          .name = n.name,
                          .type = n.type,
                          .state = n.state,
                          .cause = n.cause,
                          .key = n.key,
                          .capacity = n.capacity,
                          .load = n.load,
                          .capabilities = n.capabilities,
                          .sessions = {},
                          .last_sequence = n.last_sequence,
                          .registered_wall_ms = n.registered_wall_ms,
                          .since_wall_ms = n.since_wall_ms,
                          .last_beat_wall_ms = n.last_beat_wall_ms};
  for (const auto& [session, placed] : n.placed) s.sessions.push_back(session);
  if (holds_lease(n.state)) s.lease_until_wall_ms = parts_.time.wall_ms() + n.lease_until_ms - parts_.time.steady_ms();
  return s;
}

Registry::Invitation Registry::invite(std::int64_t uses, std::int64_t valid_seconds) {
  std::string secret = kInvitationPrefix + to_base64url(parts_.random.array<32>());
  std::string hash = invitation_hash(secret);
  std::int64_t valid_ms = valid_seconds * 1'000, expires = parts_.time.wall_ms() + valid_ms;
  parts_.documents.put(kInvitations, hash,
                       json::serialize(json::object{{"uses", uses}, {"expires_wall_ms", expires}, {"valid_ms", valid_ms}}));
  std::vector<std::string> gone;
  {
    std::lock_guard lock(mutex_);
    std::int64_t now = parts_.time.steady_ms();
    std::erase_if(invitations_, [&](const auto& entry) {
      if (entry.second.until_ms < now) gone.push_back(entry.first);
      return entry.second.until_ms < now;
    });
    invitations_[hash] = {static_cast<std::uint64_t>(uses), now + valid_ms, 0};
  }
  for (const std::string& key : gone) parts_.documents.remove(kInvitations, key);
  return {std::move(secret), expires};
}

void Registry::forget_pending(const Id& id) {
  auto it = nodes_.find(id);
  if (it == nodes_.end() || it->second->state != State::pending) return;
  auto drop = [&](auto& index, const std::string& key) {
    if (auto at = index.find(key); at != index.end() && at->second == id) index.erase(at);
  };
  drop(names_, folded(it->second->name));
  drop(keys_, it->second->key.text());
  --by_state_[static_cast<std::size_t>(State::pending)];
  pending_.erase(id);
  nodes_.erase(it);
}

Registry::Registered Registry::register_node(const contracts::NodeRegistration& r) {
  std::string hash = invitation_hash(r.invitation), key = r.key.text(), name = folded(r.name);
  std::int64_t now = parts_.time.steady_ms();
  std::lock_guard lock(mutex_);
  std::uint64_t pending = 0;
  std::vector<Id> out_of_date;
  for (const Id& id : pending_) {
    const Node& n = *nodes_.at(id);
    bool same_invitation = to_hex(n.invitation) == hash;
    if (n.challenge_until_ms + kForgetPendingMs < now) out_of_date.push_back(id);
    // Asked again by the same node, whose answer was lost: the first registration makes way.
    else if (same_invitation && n.key == r.key && folded(n.name) == name && !n.changing)
      out_of_date.push_back(id);
    else if (!over(n) && same_invitation)
      ++pending;
  }
  for (const Id& id : out_of_date) forget_pending(id);
  auto invitation = invitations_.find(hash);
  if (invitation == invitations_.end() || invitation->second.until_ms < now || invitation->second.used + pending >= invitation->second.uses)
    throw invitation_invalid();
  auto taken = [&](auto& index, const std::string& value) {
    auto at = index.find(value);
    if (at == index.end()) return false;
    Node& holder = *nodes_.at(at->second);
    if (!over(holder) || holder.changing) return true;
    index.erase(at);  // it may still be asked for by its id, and is out of date
    return false;
  };
  if (taken(keys_, key))
    throw Error(ErrorKind::conflict, "key_in_use", "another node has this key; every node needs a key of its own")
        .with_fields({{"/key", "is in use"}});
  if (taken(names_, name))
    throw Error(ErrorKind::conflict, "name_in_use", "another node has this name").with_fields({{"/name", "is in use"}});
  if (nodes_.size() >= kMaxNodes) throw Error(ErrorKind::conflict, "limit_exceeded", fmt::format("there are {} nodes already", kMaxNodes));
  auto node = std::make_unique<Node>();
  Node& n = *node;
  n.id = Id::make(parts_.clock, parts_.random);
  n.name = r.name;
  n.type = r.type;
  n.key = r.key;
  n.capacity = r.capacity;
  n.capabilities = r.capabilities;
  auto bytes = from_hex(hash);
  std::copy(bytes->begin(), bytes->end(), n.invitation.begin());
  n.registered_wall_ms = n.since_wall_ms = parts_.time.wall_ms();
  n.challenge = parts_.random.array<32>();
  n.challenge_until_ms = now + kChallengeMs;
  keys_[key] = n.id;
  names_[name] = n.id;
  ++by_state_[static_cast<std::size_t>(State::pending)];
  pending_.insert(n.id);
  Registered answer{n.id, n.challenge, parts_.time.wall_ms() + kChallengeMs};
  nodes_[n.id] = std::move(node);
  parts_.metrics.registrations.add();
  return answer;
}

contracts::NodeStatus Registry::activate(const Id& id, ByteView signature) {
  crypto::VerifyKey key;
  std::array<std::uint8_t, 32> challenge{};
  bool pending = false;
  {
    std::lock_guard lock(mutex_);
    Node& n = get(id);
    pending = n.state == State::pending;
    if (n.challenge_until_ms < parts_.time.steady_ms())
      throw Error(ErrorKind::conflict, "challenge_expired", "the challenge was valid for 120 s; register again");
    key = n.key;
    challenge = n.challenge;
  }
  if (!signed_challenge(key, challenge, signature)) throw signature_invalid("the challenge is not signed by the key that was registered");
  if (pending) {
    Change change{id, Trigger::activate, "activated", {}, nullptr, false};
    Change* one[]{&change};
    commit(one);
    // Two at once: the other one did it.
    if (change.refusal && status(id).state == State::pending) throw *change.refusal;
    if (!change.refusal) parts_.metrics.activations.add();
  }
  return status(id);
}

void Registry::raise_ceiling(const Id& id, std::uint64_t sequence) {
  std::lock_guard one_writer(ceiling_mutexes_[std::hash<Id>{}(id) % ceiling_mutexes_.size()]);
  {
    std::lock_guard lock(mutex_);
    if (get(id).ceiling >= sequence) return;  // raised by another request meanwhile
  }
  std::uint64_t ceiling = std::min(sequence + kSequenceStep, kLastSequence);
  parts_.documents.put(kCeilings, id.text(), json::serialize(json::object{{"ceiling", ceiling}}));
  std::lock_guard lock(mutex_);
  get(id).ceiling = ceiling;
}

Id Registry::authenticate(std::string_view header, std::string_view method, std::string_view target, ByteView body) {
  auto signature = contracts::parse_node_header(header);
  if (!signature) {
    parts_.metrics.beats_forged.add();
    throw signature_invalid(std::string("the request needs a well-formed ") + contracts::kNodeHeader);
  }
  crypto::VerifyKey key;
  {
    std::lock_guard lock(mutex_);
    auto it = nodes_.find(signature->node);
    if (it == nodes_.end()) throw node_not_found();
    if (it->second->state == State::pending) throw signature_invalid("the node is not activated");
    key = it->second->key;
  }
  if (!key.verify(as_bytes(contracts::signed_text(method, target, signature->sequence, body)), signature->signature)) {
    parts_.metrics.beats_forged.add();
    throw signature_invalid("the request is not signed by the node it names");
  }
  bool raise = false;
  {
    std::lock_guard lock(mutex_);
    Node& n = get(signature->node);
    if (n.state == State::banned) throw Error(ErrorKind::conflict, "node_banned", "the node is banned: " + n.cause);
    if (n.state == State::retired) throw Error(ErrorKind::conflict, "node_retired", "the node is retired: " + n.cause);
    if (signature->sequence <= n.last_sequence) {
      parts_.metrics.beats_replayed.add();
      throw contracts::beat_replayed(n.last_sequence);
    }
    n.last_sequence = signature->sequence;
    raise = n.ceiling < signature->sequence;
  }
  if (raise) raise_ceiling(signature->node, signature->sequence);
  return signature->node;
}

contracts::BeatReply Registry::beat(const Id& id, const contracts::NodeLoad& load) {
  std::set<Id> reported(load.sessions.begin(), load.sessions.end());
  bool back = false, was_draining = false;
  {
    std::lock_guard lock(mutex_);
    Node& n = get(id);
    std::int64_t now = parts_.time.steady_ms(), wall = parts_.time.wall_ms();
    // Between two heartbeats of one unbroken lease the node was there.
    bool unbroken = n.heard && now <= n.lease_until_ms && n.state != State::offline;
    parts_.up(n.ordinal, unbroken ? std::min(n.last_beat_wall_ms, wall) : wall, wall);
    n.load = load;
    n.reported = std::move(reported);
    n.heard = true;
    n.last_beat_ms = now;
    n.last_beat_wall_ms = wall;
    n.lease_until_ms = now + lease_ms();
    back = n.state == State::offline;
    was_draining = n.was_draining;
  }
  parts_.metrics.beats.add();
  if (back) {
    Change change{id, was_draining ? Trigger::back_draining : Trigger::back, "it is heard again", {}, nullptr, false};
    Change* one[]{&change};
    commit(one);  // a refusal: another heartbeat or an operator was first
  }
  std::lock_guard lock(mutex_);
  return {.state = get(id).state, .next_beat_ms = beat_every_ms(), .lease_ms = lease_ms(), .work = {}};
}

contracts::NodeStatus Registry::status(const Id& id) {
  std::lock_guard lock(mutex_);
  return describe(get(id));
}

std::optional<contracts::NodeStatus> Registry::find(const Id& id) {
  std::lock_guard lock(mutex_);
  auto it = nodes_.find(id);
  return it == nodes_.end() ? std::nullopt : std::optional(describe(*it->second));
}

std::vector<contracts::NodeStatus> Registry::active(contracts::NodeType type) {
  std::lock_guard lock(mutex_);
  std::vector<contracts::NodeStatus> out;
  for (const auto& [id, n] : nodes_)
    if (n->type == type && n->state == State::active && n->heard && n->lease_until_ms >= parts_.time.steady_ms())
      out.push_back(describe(*n));
  return out;
}

Registry::Page Registry::list(const std::optional<Id>& before, std::size_t limit, const Filter& filter) {
  std::lock_guard lock(mutex_);
  const Pool* pool = filter.pool ? &pool_at(*filter.pool) : nullptr;
  Page page;
  auto it = before ? nodes_.lower_bound(*before) : nodes_.end();
  while (it != nodes_.begin()) {
    --it;
    const Node& n = *it->second;
    if ((filter.state && n.state != *filter.state) || (pool != nullptr && !pool->members.contains(n.id))) continue;
    if (page.nodes.size() == limit) {
      page.next = page.nodes.back().id.text();
      break;
    }
    page.nodes.push_back(describe(n));
  }
  return page;
}

std::vector<std::pair<Id, std::uint32_t>> Registry::ordinals() {
  std::lock_guard lock(mutex_);
  std::vector<std::pair<Id, std::uint32_t>> out;
  for (const auto& [id, n] : nodes_)
    if (n->state != State::pending) out.emplace_back(id, n->ordinal);
  return out;
}

std::map<Id, Registry::Stand> Registry::stands() {
  std::lock_guard lock(mutex_);
  std::map<Id, Stand> out;
  for (const auto& [id, n] : nodes_)
    if (n->state != State::pending) out[id] = {n->state == State::retired, n->struck};
  return out;
}

Registry::Totals Registry::totals() {
  std::lock_guard lock(mutex_);
  std::size_t live = 0;
  for (const auto& [session, p] : placements_) live += p.released ? 0 : 1;
  return {by_state_, live};
}

}  // namespace lucid::node_management
