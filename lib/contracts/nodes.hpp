// Edges session-controller, session-api and node agents → node-management (8095). Thread-safe client; calls block and throw lucid::Error.
// With a service token:
//   POST   /api/v1/invitations {uses, valid_seconds}   → 201 {invitation, expires_wall_ms}: 1–10000 uses (default 1), at most 86400 s (default 3600)
//   GET    /api/v1/nodes?limit&cursor&state&pool, /api/v1/nodes/{id} → NodeStatus
//   POST   /api/v1/nodes/{id}/drain|resume|maintenance|ban|retire → 200 NodeStatus; 409 illegal_transition
//   POST   /api/v1/pools {name, policy, min_members, max_members} → 201; GET /api/v1/pools, /api/v1/pools/{id}; DELETE (empty ones only)
//   PUT|DELETE /api/v1/pools/{id}/members/{node}       → 204; 409 pool_full
//   POST   /api/v1/pools/{id}/place PlaceRequest       → 200 Placement (idempotent by session); 409 no_node (detail: why each class of node was out)
//   POST   /api/v1/placements PlaceRequest             the same over all active worker nodes
//   DELETE /api/v1/placements/{session}                → 204; the session has ended
//   GET    /api/v1/events?after=N&wait_ms=M            {"events":[{seq, node_id, from, to, cause, sessions:[…]}], "next":N}: long poll, at most 25 s
//   GET    /api/v1/poot/scores?epoch=N, /api/v1/poot/leaders?slot=N, /api/v1/poot/receipts?epoch&node&cursor, /api/v1/poot/checkpoint
// By an invitation (registration) or the node's own signature (all else; header X-Lucid-Node, see NodeSignature):
//   POST   /api/v1/nodes NodeRegistration              → 201 {id, challenge, expires_wall_ms}; 409 key_in_use, name_in_use; 403 invitation_invalid
//   POST   /api/v1/nodes/{id}/activate {signature}     → 200 NodeStatus; 409 challenge_expired. Signature of kActivation ‖ challenge (32 bytes)
//   POST   /api/v1/nodes/{id}/heartbeat NodeLoad       → 200 BeatReply; 409 node_banned|node_retired; 401 signature_invalid; 409 beat_replayed
//   POST   /api/v1/nodes/{id}/answers WorkAnswer       → 200 {passed, reason}; idempotent by work id
//   GET    /api/v1/nodes/{id}/chunks/{session}/{sequence} → the stored bytes of a chunk this node is asked to hold or validate; 404 otherwise
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/id.hpp"
#include "lib/base/json.hpp"
#include "lib/crypto/signature.hpp"
#include "lib/net/client.hpp"

namespace lucid::contracts {

enum class NodeState { pending, active, draining, offline, maintenance, banned, retired };
const char* name(NodeState state);
std::optional<NodeState> node_state(std::string_view name);
enum class NodeType { worker, storage, validator };
const char* name(NodeType type);
std::optional<NodeType> node_type(std::string_view name);

struct NodeCapacity {
  int cpu_millicores = 0;           // 1–1 024 000
  std::int64_t memory_mb = 0;       // 1–67 108 864
  int session_slots = 0;            // sessions at once, 0–10 000
  std::uint64_t storage_bytes = 0;  // for chunks, < 2^53
};
struct NodeLoad {  // live, of one heartbeat
  int cpu_millicores_free = 0;
  std::int64_t memory_mb_free = 0;
  std::vector<Id> sessions;  // it carries now, at most 10 000
  std::uint64_t storage_bytes_used = 0;
};
struct NodeRegistration {
  std::string invitation;
  crypto::VerifyKey key;
  std::string name;  // 3–100 of [A-Za-z0-9_-], unique
  NodeType type = NodeType::worker;
  NodeCapacity capacity;
  std::vector<std::string> capabilities;  // at most 32 of [a-z0-9-]{1,32}
};
struct NodeStatus {
  Id id;
  std::string name;
  NodeType type = NodeType::worker;
  NodeState state = NodeState::pending;
  std::string cause;  // why it is in that state
  crypto::VerifyKey key;
  NodeCapacity capacity;
  NodeLoad load;
  std::vector<std::string> capabilities;
  std::vector<Id> sessions;         // placed on it
  std::uint64_t last_sequence = 0;  // of its newest signed request
  std::int64_t registered_wall_ms = 0, since_wall_ms = 0, last_beat_wall_ms = 0, lease_until_wall_ms = 0;
};

// What a node is asked to do, handed out with the answer to its heartbeat until answered or past its deadline.
struct NodeWork {
  enum class Kind { hold, challenge, validate };
  Id id;
  Kind kind = Kind::hold;
  Id session;
  std::uint64_t sequence = 0;            // hold, challenge: which chunk
  std::uint64_t offset = 0, length = 0;  // challenge: the range of its stored bytes
  Hash32 nonce{};                        // challenge: the answer is BLAKE3(nonce ‖ range)
  std::uint64_t chunks = 0;              // validate: of the recording
  std::int64_t deadline_ms = 0;          // from now
};
struct WorkAnswer {
  Id work;
  Hash32 digest{};                // challenge: BLAKE3(nonce ‖ range); validate: the recomputed tree root; hold: BLAKE3 of the chunk
  crypto::Signature signature{};  // validate: of kValidation ‖ session id (16 bytes) ‖ root
};
struct BeatReply {
  NodeState state = NodeState::active;
  std::int64_t next_beat_ms = 0, lease_ms = 0;  // the lease grows with the number of nodes
  std::vector<NodeWork> work;
};

struct PlaceRequest {
  Id session;
  int cpu_millicores = 2000;
  std::int64_t memory_mb = 2048;
};
struct Placement {
  Id session, node;
  std::string node_name;
};
struct NodeEvent {
  std::uint64_t seq = 0;
  Id node;
  NodeState from = NodeState::pending, to = NodeState::pending;
  std::string cause;
  std::vector<Id> sessions;  // placed on it at that moment
};
struct NodeEvents {
  std::vector<NodeEvent> events;
  std::uint64_t next = 0;
};

// Header X-Lucid-Node: "<node id> <sequence> <base64url signature>". Signed bytes: "lucid-node-v1\n" METHOD "\n" PATH-WITH-QUERY "\n" SEQUENCE "\n"
// hex(BLAKE3(body)). The sequence (decimal, 1…2^53) must grow with every signed request of a node; no clock is involved, so none can be turned.
inline constexpr const char* kNodeHeader = "X-Lucid-Node";
inline constexpr const char* kActivation = "lucid-node-activation-v1\n";
inline constexpr const char* kValidation = "lucid-validation-v1\n";
struct NodeSignature {
  Id node;
  std::uint64_t sequence = 0;
  crypto::Signature signature{};
};
std::string signed_text(std::string_view method, std::string_view target, std::uint64_t sequence, ByteView body);
std::string node_header(const NodeSignature& signature);
std::optional<NodeSignature> parse_node_header(std::string_view header);
// 409 beat_replayed: the sequence was used before, or may have been (a restarted service refuses everything below a durable ceiling). It says
// from where on a node must count: replayed_sequence() of the error a client caught; the next request uses a larger one.
Error beat_replayed(std::uint64_t last_sequence);
std::optional<std::uint64_t> replayed_sequence(const Error& error);
// 409 in answer to a placement: not a single worker node is registered.
inline constexpr const char* kNoNodesRegistered = "no_nodes_registered";

// json: to_json(x) and read_<x>(value) for each struct above; readers throw Error{invalid} naming every wrong field.
json::value to_json(const NodeCapacity& capacity);
json::value to_json(const NodeLoad& load);
NodeLoad read_node_load(const json::value& value);
json::value to_json(const NodeRegistration& registration);
NodeRegistration read_node_registration(const json::value& value);
json::value to_json(const NodeStatus& status);
NodeStatus read_node_status(const json::value& value);
json::value to_json(const BeatReply& reply);
BeatReply read_beat_reply(const json::value& value);
json::value to_json(const WorkAnswer& answer);
WorkAnswer read_work_answer(const json::value& value);
json::value to_json(const PlaceRequest& request);
PlaceRequest read_place_request(const json::value& value);
json::value to_json(const Placement& placement);
Placement read_placement(const json::value& value);
json::value to_json(const NodeEvents& events);
NodeEvents read_node_events(const json::value& value);

// What session-controller uses.
class NodesClient {
 public:
  explicit NodesClient(std::shared_ptr<net::Client> http) : http_(std::move(http)) {}
  std::optional<Placement> place(
      const PlaceRequest& request);  // nothing: no node is registered at all (the deployment runs on this machine alone)
  void release(const Id& session);
  std::vector<NodeStatus> nodes();
  NodeEvents events(std::uint64_t after, int wait_ms);

 private:
  std::shared_ptr<net::Client> http_;
};

}  // namespace lucid::contracts
