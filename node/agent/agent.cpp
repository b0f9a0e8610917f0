#include "node/agent/agent.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "lib/contracts/fields.hpp"

namespace lucid::node_agent {
namespace {

using contracts::NodeState;
using std::chrono::milliseconds;

constexpr milliseconds kFirstBackOff{250};
constexpr milliseconds kAnswerTime{5'000};
constexpr milliseconds kLongestPause{600'000};  // whatever the service says
constexpr const char* kService = "node-management";

const std::string& made(const std::string& directory, FileOps& files) {
  files.make_directories(directory);
  return directory;
}

net::ClientConfig client_config(const AgentConfig& config) {
  net::ClientConfig out;
  out.base_url = config.url;
  while (out.base_url.ends_with('/')) out.base_url.pop_back();
  out.timeout = kAnswerTime;
  return out;
}

// What is said now counts; a start that says nothing goes on with what was offered at the first.
std::uint64_t offered(const AgentConfig& config, const Identity& identity) {
  return config.storage_bytes > 0 || !identity.place() ? config.storage_bytes : identity.place()->storage_bytes;
}

bool away(const Error& e) { return e.kind() == ErrorKind::unavailable || e.kind() == ErrorKind::timeout; }

// The service does not want this node any more; whatever else goes wrong is worth another try.
bool unwanted(const Error& e) {
  return e.kind() == ErrorKind::conflict || e.kind() == ErrorKind::unauthorized || e.kind() == ErrorKind::forbidden ||
         e.kind() == ErrorKind::not_found;
}

}  // namespace

Agent::Agent(AgentConfig config, World world)
    : config_(std::move(config)),
      world_(std::move(world)),
      lock_(made(config_.directory, world_.files), "node"),
      http_(client_config(config_)),
      machine_(world_.files),
      identity_(config_.directory, world_.files, world_.random),
      shelf_(config_.directory + "/chunks", world_.files, offered(config_, identity_)),
      link_(http_, identity_) {}

Agent::~Agent() = default;

void Agent::join() {
  if (const auto& place = identity_.place()) {
    if ((!config_.name.empty() && config_.name != place->name) || (config_.type && *config_.type != place->type))
      throw Error(ErrorKind::invalid, "other_node",
                  fmt::format("{} belongs to the {} node {}; another node needs another directory", config_.directory,
                              contracts::name(place->type), place->name));
    config_.name = place->name;
    config_.type = place->type;
  }
  if (!accepted()) {
    if (config_.name.empty() || !config_.type) throw Error(ErrorKind::invalid, "a new node needs --name and --type");
    check_service();
    register_node();
  }
  const Identity::Place& place = *identity_.place();
  chores_ = std::make_unique<Chores>(Chores::Parts{link_, identity_, shelf_, world_.clock, world_.say});
  world_.say(fmt::format("this is the {} node {} ({}) at {}", contracts::name(place.type), place.name, place.node.text(), place.url));
}

// A typing mistake in the URL shall be told as one.
void Agent::check_service() {
  std::string service;
  try {
    json::value answer = http_.get_json("/version");
    contracts::Fields in(answer);
    service = in.text("service");
  } catch (const Error& e) {
    if (away(e)) throw;
  }
  if (service != kService)
    throw Error(ErrorKind::invalid, "wrong_url",
                fmt::format("{} is {}, not {}; its port is 8095 unless it was set otherwise", config_.url,
                            service.empty() ? "no service of Lucid" : to_utf8(service, 60), kService));
}

bool Agent::accepted() {
  if (!identity_.place()) return false;
  Identity::Place place = *identity_.place();
  if (!place.activated) {
    // It was killed, or an answer was lost, between registration and activation.
    try {
      send_beat();
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::unauthorized || e.kind() == ErrorKind::not_found) return false;
      throw;
    }
  }
  place.activated = true;
  place.url = config_.url;
  identity_.set_place(std::move(place));
  return true;
}

void Agent::register_node() {
  if (!config_.invitation)
    throw Error(
        ErrorKind::invalid, "no_invitation",
        "a new node needs an invitation: set LUCID_INVITATION, or give --invitation-file (an operator makes one with `lucid node invite`)");
  contracts::NodeRegistration registration;
  registration.invitation = *config_.invitation;
  registration.key = identity_.key().verify_key();
  registration.name = config_.name;
  registration.type = *config_.type;
  registration.capacity = {machine_.cpu_millicores(), machine_.memory_mb(), config_.session_slots, config_.storage_bytes};
  json::value answer = http_.send_json(net::Method::post, "/api/v1/nodes", contracts::to_json(registration));
  contracts::Fields in(answer);
  Id id = in.id("id");
  auto challenge = from_base64url(in.text("challenge"));
  if (!in.ok() || !challenge || challenge->size() != 32)
    throw Error(ErrorKind::malformed, "bad_answer", "the answer to the registration makes no sense");
  identity_.set_place({id, config_.url, config_.name, *config_.type, config_.storage_bytes, false});
  Bytes signed_bytes(as_bytes(contracts::kActivation).begin(), as_bytes(contracts::kActivation).end());
  signed_bytes.insert(signed_bytes.end(), challenge->begin(), challenge->end());
  http_.send_json(net::Method::post, fmt::format("/api/v1/nodes/{}/activate", id.text()),
                  json::object{{"signature", to_base64url(identity_.key().sign(signed_bytes))}});
  identity_.set_place({id, config_.url, config_.name, *config_.type, config_.storage_bytes, true});
}

contracts::BeatReply Agent::send_beat() {
  Machine::Free free = machine_.free();
  contracts::NodeLoad load{free.cpu_millicores, free.memory_mb, {}, shelf_.used()};
  std::string body = json::serialize(contracts::to_json(load));
  net::Response response =
      link_.send(net::Method::post, fmt::format("/api/v1/nodes/{}/heartbeat", identity_.place()->node.text()), as_bytes(body));
  auto value = parse_json(as_text(response.body));
  if (!value) throw value.error();
  return contracts::read_beat_reply(*value);
}

milliseconds Agent::next_try() {
  back_off_ = std::clamp(2 * back_off_, kFirstBackOff, longest_);
  // Nodes that lost the service at the same moment shall not come back at the same moment.
  return back_off_ - back_off_ / 4 * (world_.random.array<1>()[0] % 4) / 4;
}

milliseconds Agent::beat() {
  contracts::BeatReply reply;
  try {
    reply = send_beat();
  } catch (const Error& e) {
    if (unwanted(e)) throw;
    if (back_off_ == milliseconds{0}) world_.say(fmt::format("no heartbeat got through ({}); trying again", e.what()));
    return next_try();
  }
  if (back_off_ != milliseconds{0}) world_.say("the service answers again");
  back_off_ = milliseconds{0};
  if (state_ != reply.state) world_.say(fmt::format("state: {}", contracts::name(reply.state)));
  state_ = reply.state;
  chores_->take(reply.work);
  milliseconds next = std::clamp(milliseconds{reply.next_beat_ms}, milliseconds{1}, kLongestPause);
  longest_ = std::max(milliseconds{2'000}, next);
  return next;
}

}  // namespace lucid::node_agent
