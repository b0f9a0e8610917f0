#include "lib/contracts/nodes.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "lib/crypto/hash.hpp"

namespace lucid::contracts {
namespace {

constexpr std::array<const char*, 7> kNodeStates{"pending", "active", "draining", "offline", "maintenance", "banned", "retired"};
constexpr std::array<const char*, 3> kNodeTypes{"worker", "storage", "validator"};
constexpr std::array<const char*, 3> kWorkKinds{"hold", "challenge", "validate"};
const std::vector<std::string_view> kNodeStateWords(kNodeStates.begin(), kNodeStates.end());
const std::vector<std::string_view> kNodeTypeWords(kNodeTypes.begin(), kNodeTypes.end());
const std::vector<std::string_view> kWorkKindWords(kWorkKinds.begin(), kWorkKinds.end());
constexpr std::int64_t kMaxWhole = (std::int64_t{1} << 53) - 1;
constexpr std::size_t kMaxNodeSessions = 10'000;
constexpr std::size_t kMaxCapabilities = 32;
constexpr std::size_t kMaxWork = 1'000;
constexpr std::size_t kMaxNodeEvents = 10'000;
constexpr const char* kReplayedSequence = "/sequence";

std::optional<std::size_t> index_of(const std::vector<std::string_view>& words, std::string_view word) {
  auto it = std::find(words.begin(), words.end(), word);
  if (it == words.end()) return std::nullopt;
  return static_cast<std::size_t>(it - words.begin());
}

// A word that must be there.
template <class E>
E word_of(FieldReader& in, std::string_view key, const std::vector<std::string_view>& words) {
  if (!in.has(key)) in.refuse(key, "is required");
  return static_cast<E>(in.word_or(key, 0, words));
}

Id id_of(FieldReader& in, std::string_view key) {
  std::string text = in.text(key, {.min = 36, .max = 36});
  auto id = Id::parse(text);
  if (!id && text.size() == 36) in.refuse(key, "must be a UUID");
  return id.value_or(Id{});
}

std::vector<Id> ids_of(FieldReader& in, std::string_view key) {
  std::vector<Id> out;
  for (const std::string& text : in.texts_or_empty(key, kMaxNodeSessions, {.min = 36, .max = 36})) {
    auto id = Id::parse(text);
    if (!id) return in.refuse(key, "must hold UUIDs only"), std::vector<Id>{};
    out.push_back(*id);
  }
  std::vector<Id> sorted = out;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) return in.refuse(key, "names an id twice"), std::vector<Id>{};
  return out;
}

json::array texts_of(const std::vector<Id>& ids) {
  json::array out;
  out.reserve(ids.size());
  for (const Id& id : ids) out.push_back(json::value(id.text()));
  return out;
}

template <std::size_t N>
std::array<std::uint8_t, N> fixed(FieldReader& in, std::string_view key, const std::string& text, std::optional<Bytes> bytes) {
  std::array<std::uint8_t, N> out{};
  if (bytes && bytes->size() == N)
    std::copy(bytes->begin(), bytes->end(), out.begin());
  else if (!text.empty())
    in.refuse(key, fmt::format("must hold {} bytes", N));
  return out;
}

crypto::VerifyKey key_of(FieldReader& in, std::string_view key) {
  std::string text = in.text(key, {.min = 1, .max = 100});
  auto parsed = crypto::VerifyKey::parse(text);
  if (!parsed && !text.empty()) in.refuse(key, "must be an Ed25519 key as \"lucid-sig-pub:...\"");
  return parsed.value_or(crypto::VerifyKey{});
}

bool is_node_name(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

NodeCapacity capacity_of(FieldReader& parent, std::string_view key) {
  if (!parent.has(key)) parent.refuse(key, "is required");
  FieldReader in = parent.child(key);
  if (!parent.has(key)) return {};
  NodeCapacity c;
  c.cpu_millicores = static_cast<int>(in.integer("cpu_millicores", 1, 1'024'000));
  c.memory_mb = in.integer("memory_mb", 1, 67'108'864);
  c.session_slots = static_cast<int>(in.integer("session_slots", 0, 10'000));
  c.storage_bytes = static_cast<std::uint64_t>(in.integer("storage_bytes", 0, kMaxWhole));
  in.finish_child();
  return c;
}

NodeLoad load_of(FieldReader& in) {
  NodeLoad l;
  l.cpu_millicores_free = static_cast<int>(in.integer("cpu_millicores_free", 0, 1'024'000));
  l.memory_mb_free = in.integer("memory_mb_free", 0, 67'108'864);
  l.sessions = ids_of(in, "sessions");
  l.storage_bytes_used = static_cast<std::uint64_t>(in.integer_or("storage_bytes_used", 0, 0, kMaxWhole));
  return l;
}

std::vector<std::string> capabilities_of(FieldReader& in) {
  auto out = in.texts_or_empty("capabilities", kMaxCapabilities, {.min = 1, .max = 32});
  for (const std::string& c : out)
    if (!std::all_of(c.begin(), c.end(), [](char x) { return (x >= 'a' && x <= 'z') || (x >= '0' && x <= '9') || x == '-'; }))
      return in.refuse("capabilities", "must be words of a-z, 0-9 and -"), out;
  return out;
}

NodeWork work_of(const json::value& value, const std::string& pointer, FieldReader& parent) {
  FieldReader in(value, pointer);
  NodeWork w;
  w.id = id_of(in, "id");
  w.kind = word_of<NodeWork::Kind>(in, "kind", kWorkKindWords);
  w.session = id_of(in, "session_id");
  w.sequence = static_cast<std::uint64_t>(in.integer_or("sequence", 0, 0, kMaxWhole));
  w.offset = static_cast<std::uint64_t>(in.integer_or("offset", 0, 0, kMaxWhole));
  w.length = static_cast<std::uint64_t>(in.integer_or("length", 0, 0, kMaxWhole));
  std::string nonce = in.text_or("nonce", "", {.min = 64, .max = 64});
  w.nonce = fixed<32>(in, "nonce", nonce, from_hex(nonce));
  w.chunks = static_cast<std::uint64_t>(in.integer_or("chunks", 0, 0, kMaxWhole));
  w.deadline_ms = in.integer_or("deadline_ms", 0, 0, kMaxWhole);
  try {
    in.finish();
  } catch (const Error& e) {
    for (const FieldError& f : e.fields()) parent.refuse(f.pointer.substr(1), f.reason);
  }
  return w;
}

NodeEvent event_of(const json::value& value, const std::string& pointer, FieldReader& parent) {
  FieldReader in(value, pointer);
  NodeEvent e;
  e.seq = static_cast<std::uint64_t>(in.integer("seq", 0, kMaxWhole));
  e.node = id_of(in, "node_id");
  e.from = word_of<NodeState>(in, "from", kNodeStateWords);
  e.to = word_of<NodeState>(in, "to", kNodeStateWords);
  e.cause = in.text_or("cause", "", {.min = 0, .max = 500});
  e.sessions = ids_of(in, "sessions");
  try {
    in.finish();
  } catch (const Error& error) {
    for (const FieldError& f : error.fields()) parent.refuse(f.pointer.substr(1), f.reason);
  }
  return e;
}

// Members of an array, each read by `read` under its own pointer.
template <class T, class Read>
std::vector<T> list_of(FieldReader& in, std::string_view key, std::size_t max, Read read) {
  std::vector<T> out;
  const json::value* value = in.raw(key);
  if (value == nullptr) return out;
  if (!value->is_array() || value->get_array().size() > max) return in.refuse(key, fmt::format("must be an array of at most {}", max)), out;
  std::size_t i = 0;
  for (const json::value& item : value->get_array()) out.push_back(read(item, fmt::format("/{}/{}", key, i++), in));
  return out;
}

}  // namespace

const char* name(NodeState state) { return kNodeStates[static_cast<std::size_t>(state)]; }
std::optional<NodeState> node_state(std::string_view text) {
  auto i = index_of(kNodeStateWords, text);
  return i ? std::optional(static_cast<NodeState>(*i)) : std::nullopt;
}
const char* name(NodeType type) { return kNodeTypes[static_cast<std::size_t>(type)]; }
std::optional<NodeType> node_type(std::string_view text) {
  auto i = index_of(kNodeTypeWords, text);
  return i ? std::optional(static_cast<NodeType>(*i)) : std::nullopt;
}

std::string signed_text(std::string_view method, std::string_view target, std::uint64_t sequence, ByteView body) {
  return fmt::format("lucid-node-v1\n{}\n{}\n{}\n{}", method, target, sequence, to_hex(crypto::blake3(body)));
}

std::string node_header(const NodeSignature& s) { return fmt::format("{} {} {}", s.node.text(), s.sequence, to_base64url(s.signature)); }

std::optional<NodeSignature> parse_node_header(std::string_view header) {
  constexpr std::size_t kIdLength = 36, kSignatureLength = 86, kMaxDigits = 16;
  if (header.size() < kIdLength + 1 + 1 + 1 + kSignatureLength || header.size() > kIdLength + 1 + kMaxDigits + 1 + kSignatureLength)
    return std::nullopt;
  std::string_view id = header.substr(0, kIdLength), signature = header.substr(header.size() - kSignatureLength);
  std::string_view sequence = header.substr(kIdLength + 1, header.size() - kIdLength - kSignatureLength - 2);
  if (header[kIdLength] != ' ' || header[header.size() - kSignatureLength - 1] != ' ') return std::nullopt;
  NodeSignature out;
  auto parsed = Id::parse(id);
  auto bytes = from_base64url(signature);
  if (!parsed || parsed->text() != id || !bytes || bytes->size() != out.signature.size()) return std::nullopt;
  auto [end, error] = std::from_chars(sequence.data(), sequence.data() + sequence.size(), out.sequence);
  // One spelling for one number: no sign, no leading zero.
  if (error != std::errc{} || end != sequence.data() + sequence.size() || out.sequence == 0 || sequence.front() == '0' ||
      out.sequence > static_cast<std::uint64_t>(kMaxWhole) + 1)
    return std::nullopt;
  out.node = *parsed;
  std::copy(bytes->begin(), bytes->end(), out.signature.begin());
  return out;
}

Error beat_replayed(std::uint64_t last_sequence) {
  return Error(ErrorKind::conflict, "beat_replayed",
               fmt::format("the sequence of a signed request must grow: {} has been used or may have been", last_sequence))
      .with_fields({{kReplayedSequence, fmt::format("{}", last_sequence)}});
}

std::optional<std::uint64_t> replayed_sequence(const Error& error) {
  if (error.code() != "beat_replayed") return std::nullopt;
  for (const FieldError& f : error.fields()) {
    std::uint64_t n = 0;
    auto [end, code] = std::from_chars(f.reason.data(), f.reason.data() + f.reason.size(), n);
    if (f.pointer == kReplayedSequence && code == std::errc{} && end == f.reason.data() + f.reason.size()) return n;
  }
  return std::nullopt;
}

json::value to_json(const NodeCapacity& c) {
  return json::object{{"cpu_millicores", c.cpu_millicores},
                      {"memory_mb", c.memory_mb},
                      {"session_slots", c.session_slots},
                      {"storage_bytes", c.storage_bytes}};
}

json::value to_json(const NodeLoad& l) {
  return json::object{{"cpu_millicores_free", l.cpu_millicores_free},
                      {"memory_mb_free", l.memory_mb_free},
                      {"sessions", texts_of(l.sessions)},
                      {"storage_bytes_used", l.storage_bytes_used}};
}

NodeLoad read_node_load(const json::value& value) {
  FieldReader in(value);
  NodeLoad l = load_of(in);
  in.finish();
  return l;
}

json::value to_json(const NodeRegistration& r) {
  return json::object{{"invitation", r.invitation},
                      {"key", r.key.text()},
                      {"name", r.name},
                      {"type", name(r.type)},
                      {"capacity", to_json(r.capacity)},
                      {"capabilities", json::array(r.capabilities.begin(), r.capabilities.end())}};
}

NodeRegistration read_node_registration(const json::value& value) {
  FieldReader in(value);
  NodeRegistration r;
  r.invitation = in.text("invitation", {.min = 1, .max = 200});
  r.key = key_of(in, "key");
  r.name = in.text("name", {.min = 3, .max = 100});
  if (!is_node_name(r.name)) in.refuse("name", "must be of A-Z a-z 0-9 _ -");
  r.type = word_of<NodeType>(in, "type", kNodeTypeWords);
  r.capacity = capacity_of(in, "capacity");
  r.capabilities = capabilities_of(in);
  in.finish();
  return r;
}

json::value to_json(const NodeStatus& s) {
  return json::object{{"id", s.id.text()},
                      {"name", s.name},
                      {"type", name(s.type)},
                      {"state", name(s.state)},
                      {"cause", s.cause},
                      {"key", s.key.text()},
                      {"capacity", to_json(s.capacity)},
                      {"load", to_json(s.load)},
                      {"capabilities", json::array(s.capabilities.begin(), s.capabilities.end())},
                      {"sessions", texts_of(s.sessions)},
                      {"last_sequence", s.last_sequence},
                      {"registered_wall_ms", s.registered_wall_ms},
                      {"since_wall_ms", s.since_wall_ms},
                      {"last_beat_wall_ms", s.last_beat_wall_ms},
                      {"lease_until_wall_ms", s.lease_until_wall_ms}};
}

NodeStatus read_node_status(const json::value& value) {
  FieldReader in(value);
  NodeStatus s;
  s.id = id_of(in, "id");
  s.name = in.text("name", {.min = 3, .max = 100});
  s.type = word_of<NodeType>(in, "type", kNodeTypeWords);
  s.state = word_of<NodeState>(in, "state", kNodeStateWords);
  s.cause = in.text_or("cause", "", {.min = 0, .max = 500});
  s.key = key_of(in, "key");
  s.capacity = capacity_of(in, "capacity");
  if (!in.has("load")) in.refuse("load", "is required");
  FieldReader load = in.child("load");
  if (in.has("load")) s.load = load_of(load);
  load.finish_child();
  s.capabilities = capabilities_of(in);
  s.sessions = ids_of(in, "sessions");
  s.last_sequence = static_cast<std::uint64_t>(in.integer_or("last_sequence", 0, 0, kMaxWhole + 1));
  s.registered_wall_ms = in.integer_or("registered_wall_ms", 0, 0, kMaxWhole);
  s.since_wall_ms = in.integer_or("since_wall_ms", 0, 0, kMaxWhole);
  s.last_beat_wall_ms = in.integer_or("last_beat_wall_ms", 0, 0, kMaxWhole);
  s.lease_until_wall_ms = in.integer_or("lease_until_wall_ms", 0, 0, kMaxWhole);
  in.finish();
  return s;
}

json::value to_json(const BeatReply& r) {
  json::array work;
  for (const NodeWork& w : r.work)
    work.push_back(json::object{{"id", w.id.text()},
                                {"kind", kWorkKinds[static_cast<std::size_t>(w.kind)]},
                                {"session_id", w.session.text()},
                                {"sequence", w.sequence},
                                {"offset", w.offset},
                                {"length", w.length},
                                {"nonce", to_hex(w.nonce)},
                                {"chunks", w.chunks},
                                {"deadline_ms", w.deadline_ms}});
  return json::object{{"state", name(r.state)}, {"next_beat_ms", r.next_beat_ms}, {"lease_ms", r.lease_ms}, {"work", std::move(work)}};
}

BeatReply read_beat_reply(const json::value& value) {
  FieldReader in(value);
  BeatReply r;
  r.state = word_of<NodeState>(in, "state", kNodeStateWords);
  r.next_beat_ms = in.integer("next_beat_ms", 1, kMaxWhole);
  r.lease_ms = in.integer("lease_ms", 1, kMaxWhole);
  r.work = list_of<NodeWork>(in, "work", kMaxWork, work_of);
  in.finish();
  return r;
}

json::value to_json(const WorkAnswer& a) {
  return json::object{{"work_id", a.work.text()}, {"digest", to_hex(a.digest)}, {"signature", to_base64url(a.signature)}};
}

WorkAnswer read_work_answer(const json::value& value) {
  FieldReader in(value);
  WorkAnswer a;
  a.work = id_of(in, "work_id");
  std::string digest = in.text("digest", {.min = 64, .max = 64});
  a.digest = fixed<32>(in, "digest", digest, from_hex(digest));
  std::string signature = in.text_or("signature", "", {.min = 86, .max = 86});
  a.signature = fixed<64>(in, "signature", signature, from_base64url(signature));
  in.finish();
  return a;
}

json::value to_json(const PlaceRequest& r) {
  return json::object{{"session_id", r.session.text()}, {"cpu_millicores", r.cpu_millicores}, {"memory_mb", r.memory_mb}};
}

PlaceRequest read_place_request(const json::value& value) {
  FieldReader in(value);
  PlaceRequest r;
  r.session = id_of(in, "session_id");
  r.cpu_millicores = static_cast<int>(in.integer_or("cpu_millicores", r.cpu_millicores, 1, 1'024'000));
  r.memory_mb = in.integer_or("memory_mb", r.memory_mb, 1, 67'108'864);
  in.finish();
  return r;
}

json::value to_json(const Placement& p) {
  return json::object{{"session_id", p.session.text()}, {"node_id", p.node.text()}, {"node_name", p.node_name}};
}

Placement read_placement(const json::value& value) {
  FieldReader in(value);
  Placement p;
  p.session = id_of(in, "session_id");
  p.node = id_of(in, "node_id");
  p.node_name = in.text("node_name", {.min = 3, .max = 100});
  in.finish();
  return p;
}

json::value to_json(const NodeEvents& e) {
  json::array events;
  for (const NodeEvent& event : e.events)
    events.push_back(json::object{{"seq", event.seq},
                                  {"node_id", event.node.text()},
                                  {"from", name(event.from)},
                                  {"to", name(event.to)},
                                  {"cause", event.cause},
                                  {"sessions", texts_of(event.sessions)}});
  return json::object{{"events", std::move(events)}, {"next", e.next}};
}

NodeEvents read_node_events(const json::value& value) {
  FieldReader in(value);
  NodeEvents e;
  e.events = list_of<NodeEvent>(in, "events", kMaxNodeEvents, event_of);
  e.next = static_cast<std::uint64_t>(in.integer("next", 0, kMaxWhole));
  in.finish();
  return e;
}

std::optional<Placement> NodesClient::place(const PlaceRequest& request) {
  try {
    return read_placement(http_->send_json(net::Method::post, "/api/v1/placements", to_json(request)));
  } catch (const Error& e) {
    if (e.code() == kNoNodesRegistered) return std::nullopt;
    throw;
  }
}

void NodesClient::release(const Id& session) { http_->send_json(net::Method::del, "/api/v1/placements/" + session.text(), nullptr); }

std::vector<NodeStatus> NodesClient::nodes() {
  std::vector<NodeStatus> out;
  std::string cursor;
  do {
    json::value page = http_->get_json("/api/v1/nodes?limit=100" + (cursor.empty() ? "" : "&cursor=" + net::percent_encode(cursor)));
    const json::object* object = page.if_object();
    const json::value* nodes = object != nullptr ? object->if_contains("nodes") : nullptr;
    const json::value* next = object != nullptr ? object->if_contains("cursor") : nullptr;
    if (nodes == nullptr || !nodes->is_array() || next == nullptr || !next->is_string())
      throw Error(ErrorKind::malformed, "the list of nodes has a missing or wrong field");
    for (const json::value& node : nodes->get_array()) out.push_back(read_node_status(node));
    cursor.assign(next->get_string().data(), next->get_string().size());
  } while (!cursor.empty());
  return out;
}

NodeEvents NodesClient::events(std::uint64_t after, int wait_ms) {
  net::Call call;
  call.target = fmt::format("/api/v1/events?after={}&wait_ms={}", after, wait_ms);
  call.timeout = std::chrono::milliseconds(wait_ms) + std::chrono::seconds(5);
  net::Response answer = http_->expect(call);
  auto value = parse_json(as_text(answer.body), std::size_t{64} << 20);
  if (!value) throw value.error();
  return read_node_events(*value);
}

}  // namespace lucid::contracts
