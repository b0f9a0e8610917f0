#include "sessions/api/session.hpp"

#include <algorithm>
#include <array>
#include <tuple>

#include <fmt/format.h>

#include "lib/base/clock.hpp"
#include "lib/crypto/sealed_box.hpp"

namespace lucid::api {
namespace {

constexpr std::array<const char*, kStatusCount> kStatusNames{"created",    "starting",  "recording", "paused",     "stopping",
                                                             "processing", "completed", "failed",    "terminated", "deleted"};
const std::vector<std::string_view> kFailModes{"closed", "open"};

constexpr std::int64_t kMaxIdle = 86'400, kMaxDuration = 30 * 86'400;

Policy read_policy(FieldReader in) {
  Policy p;
  p.fail_mode = static_cast<FailMode>(in.word_or("fail_mode", 0, kFailModes));
  p.idle_timeout = in.integer_or("idle_timeout", 0, 0, kMaxIdle);
  p.max_duration = in.integer_or("max_duration", 0, 0, kMaxDuration);
  in.finish_child();
  return p;
}

StorageTerms read_storage(FieldReader in) {
  StorageTerms s;
  s.retention_days = static_cast<int>(in.integer_or("retention_days", 30, 1, 3650));
  s.recipients = in.texts_or_empty("recipients", 20, {.min = 1, .max = 200});
  for (std::size_t i = 0; i < s.recipients.size(); ++i) {
    if (!crypto::BoxPublicKey::parse(s.recipients[i]))
      in.refuse(fmt::format("recipients/{}", i), "must be a public key (\"lucid-box-pub:…\")");
    else if (std::find(s.recipients.begin(), s.recipients.begin() + static_cast<std::ptrdiff_t>(i), s.recipients[i]) !=
             s.recipients.begin() + static_cast<std::ptrdiff_t>(i))
      in.refuse(fmt::format("recipients/{}", i), "is there twice");
  }
  in.finish_child();
  return s;
}

// Fields that are absent keep what `m` holds, so the same reader serves POST (empty) and PATCH (the current one).
Metadata read_metadata(FieldReader in, Metadata m) {
  m.project = in.text_or("project", m.project, {.min = 0, .max = 100});
  m.environment = in.text_or("environment", m.environment, {.min = 0, .max = 50});
  m.description = in.text_or("description", m.description, {.min = 0, .max = 500});
  m.owner = in.text_or("owner", m.owner, {.min = 0, .max = 255});
  if (in.has("tags"))
    m.tags = in.texts_or_empty("tags", 10, {.min = 1, .max = 50});
  else
    in.raw("tags");
  in.finish_child();
  return m;
}

void read_target(FieldReader in, Session& s) {
  std::string kind = in.text("kind", {.min = 1, .max = 20});
  if (kind == "rdp")
    s.rdp = contracts::read_rdp_target(in);
  else if (kind == "display")
    s.target = contracts::read_display_target(in);
  else {
    if (!kind.empty()) in.refuse("kind", "must be one of display, rdp");
    return;
  }
  in.finish_child();
}

contracts::RecordingOptions read_recording(FieldReader in) {
  if (const json::value* codec = in.raw("codec")) {
    const json::string* word = codec->if_string();
    if (word != nullptr && *word == "h264")
      in.refuse("codec", "h264 is not available here: recordings are lossless tiles");
    else if (word == nullptr || *word != "tiles")
      in.refuse("codec", "must be one of tiles, h264");
  }
  contracts::RecordingOptions options = contracts::read_recording_options(in);
  in.finish_child();
  return options;
}

json::object to_json(const Policy& p) {
  return {
      {"fail_mode", kFailModes[static_cast<std::size_t>(p.fail_mode)]}, {"idle_timeout", p.idle_timeout}, {"max_duration", p.max_duration}};
}
json::object to_json(const StorageTerms& s) {
  return {{"retention_days", s.retention_days}, {"recipients", json::array(s.recipients.begin(), s.recipients.end())}};
}
json::object to_json(const Metadata& m) {
  return {{"project", m.project},
          {"environment", m.environment},
          {"tags", json::array(m.tags.begin(), m.tags.end())},
          {"description", m.description},
          {"owner", m.owner}};
}
json::object asked_json(const Session& s) {
  json::object target = (s.rdp ? contracts::to_json(*s.rdp) : contracts::to_json(s.target)).as_object();
  target["kind"] = s.rdp ? "rdp" : "display";
  json::object recording = contracts::to_json(s.recording).as_object();
  recording["codec"] = "tiles";
  return {{"name", s.name},
          {"target", std::move(target)},
          {"recording", std::move(recording)},
          {"policy", to_json(s.policy)},
          {"storage", to_json(s.storage)},
          {"metadata", to_json(s.metadata)}};
}
json::value time_or_null(std::int64_t wall_ms) { return wall_ms > 0 ? json::value(to_rfc3339(wall_ms)) : json::value(nullptr); }
json::value text_or_null(const std::string& text) { return text.empty() ? json::value(nullptr) : json::value(text); }

constexpr std::int64_t kMaxInteger = INT64_MAX;
std::uint64_t count(FieldReader& in, std::string_view key) { return static_cast<std::uint64_t>(in.integer_or(key, 0, 0, kMaxInteger)); }

}  // namespace

const char* name(Status status) { return kStatusNames[static_cast<std::size_t>(status)]; }

std::optional<Status> status_named(std::string_view name) {
  for (std::size_t i = 0; i < kStatusNames.size(); ++i)
    if (name == kStatusNames[i]) return static_cast<Status>(i);
  return std::nullopt;
}

bool is_settled(Status s) { return s == Status::completed || s == Status::failed || s == Status::terminated || s == Status::deleted; }
bool is_live(Status s) { return s != Status::created && !is_settled(s); }

Session read_create(const json::value& body) {
  FieldReader in(body);
  Session s;
  s.name = in.text("name", {.min = 1, .max = 255});
  read_target(in.child("target"), s);
  s.recording = read_recording(in.child("recording"));
  s.policy = read_policy(in.child("policy"));
  s.storage = read_storage(in.child("storage"));
  s.metadata = read_metadata(in.child("metadata"), {});
  in.finish();
  return s;
}

void apply_patch(const json::value& body, Session& session) {
  FieldReader in(body);
  std::string new_name = in.text_or("name", session.name, {.min = 1, .max = 255});
  Metadata metadata = read_metadata(in.child("metadata"), session.metadata);
  in.finish();
  session.name = std::move(new_name);
  session.metadata = std::move(metadata);
}

bool apply_status(const contracts::RecordingStatus& from, Session& s) {
  using contracts::PipelineState;
  auto lasting = [](const Session& x) { return std::make_tuple(x.status, x.cause, x.started_wall_ms, x.stalled, x.alarm, x.gaps); };
  auto before = lasting(s);
  switch (from.state) {
    case PipelineState::created: s.status = Status::created; break;
    case PipelineState::starting: s.status = Status::starting; break;
    case PipelineState::active: s.status = Status::recording; break;
    case PipelineState::pausing:
    case PipelineState::paused: s.status = Status::paused; break;
    case PipelineState::stopping: s.status = Status::stopping; break;
    case PipelineState::stopped:
    case PipelineState::cleanup:
    case PipelineState::destroyed:
      s.status = !from.finalised ? Status::processing : s.terminate_asked ? Status::terminated : Status::completed;
      break;
    case PipelineState::error: s.status = Status::failed; break;
  }
  if (!from.cause.empty() || s.status == Status::failed) s.cause = from.cause;
  s.started_wall_ms = from.started_wall_ms;
  s.duration_ms = from.duration_ms;
  s.last_commit_wall_ms = from.last_commit_wall_ms;
  s.chunks = from.committed_chunks;
  s.stored_bytes = from.committed_bytes;
  s.gaps = from.gaps;
  s.backlog = from.backlog;
  s.stalled = from.stalled;
  s.alarm = from.alarm;
  return lasting(s) != before;
}

bool apply_status(const contracts::RdpSession& rdp, const std::optional<contracts::RecordingStatus>& recording, Session& s) {
  using contracts::RdpState;
  auto lasting = [](const Session& x) {
    return std::make_tuple(x.status, x.cause, x.started_wall_ms, x.stalled, x.alarm, x.gaps, x.rdp_state, x.client_address, x.node,
                           x.frozen);
  };
  auto before = lasting(s);
  if (recording) apply_status(*recording, s);
  s.rdp_state = contracts::name(rdp.state);
  s.client_address = rdp.client_address;
  s.node = rdp.node;
  s.frozen = rdp.frozen;
  switch (rdp.state) {
    case RdpState::requested:
    case RdpState::starting_server:
    case RdpState::waiting_display:
    case RdpState::starting_recording: s.status = Status::starting; break;
    case RdpState::ready:
    case RdpState::connected:
      if (!recording) s.status = Status::starting;  // a named account's desktop comes with its first login
      break;
    case RdpState::paused: s.status = Status::paused; break;
    case RdpState::ending: s.status = Status::stopping; break;
    case RdpState::ended:
      if (!recording) s.status = s.terminate_asked ? Status::terminated : Status::completed;
      break;
    case RdpState::failed: s.status = Status::failed; break;
  }
  if (!rdp.cause.empty()) s.cause = rdp.cause;
  return lasting(s) != before;
}

contracts::RdpSessionRequest rdp_request_of(const Session& s) {
  return {.id = s.id,
          .name = s.name,
          .owner = s.metadata.owner,
          .target = *s.rdp,
          .recording = s.recording,
          .recipients = s.storage.recipients,
          .fail_open = s.policy.fail_mode == FailMode::open,
          .idle_timeout = s.policy.idle_timeout,
          .max_duration = s.policy.max_duration,
          .created_wall_ms = s.created_wall_ms};
}

contracts::RecordingPlan plan_of(const Session& s) {
  contracts::RecordingPlan plan;
  plan.session = s.id;
  plan.name = s.name;
  plan.target = s.target;
  plan.options = s.recording;
  plan.recipients = s.storage.recipients;
  plan.created_wall_ms = s.created_wall_ms;
  return plan;
}

json::object to_public(const Session& s) {
  json::object o{{"id", s.id.text()}, {"status", name(s.status)}};
  for (auto& member : asked_json(s)) o[member.key()] = std::move(member.value());
  o["cause"] = text_or_null(s.cause);
  o["created_at"] = to_rfc3339(s.created_wall_ms);
  o["updated_at"] = to_rfc3339(s.updated_wall_ms);
  o["started_at"] = time_or_null(s.started_wall_ms);
  o["duration_ms"] = s.duration_ms;
  o["chunks"] = s.chunks;
  o["stored_bytes"] = s.stored_bytes;
  o["gaps"] = s.gaps;
  o["backlog"] = s.backlog;
  o["stalled"] = s.stalled;
  o["alarm"] = text_or_null(s.alarm);
  if (s.rdp)
    o["rdp"] = json::object{{"state", text_or_null(s.rdp_state)},
                            {"client_address", text_or_null(s.client_address)},
                            {"node", text_or_null(s.node)},
                            {"frozen", s.frozen}};
  o["version"] = s.version;
  if (s.stale) o["stale"] = true;
  if (s.status == Status::deleted && s.receipt) o["receipt"] = to_public(s.id, *s.receipt);
  return o;
}

json::object to_public(const Id& session, const Receipt& r) {
  return {{"id", session.text()},
          {"deleted_at", to_rfc3339(r.deleted_wall_ms)},
          {"chunks", r.chunks},
          {"stored_bytes", r.stored_bytes},
          {"tree_size", r.tree_size},
          {"root", text_or_null(r.root)},
          {"checkpoint", text_or_null(r.checkpoint)}};
}

std::string to_stored(const Session& s) {
  json::object o{{"format", 1},
                 {"id", s.id.text()},
                 {"asked", asked_json(s)},
                 {"created", s.created_wall_ms},
                 {"updated", s.updated_wall_ms},
                 {"version", s.version},
                 {"status", name(s.status)},
                 {"cause", s.cause},
                 {"terminate_asked", s.terminate_asked},
                 {"started", s.started_wall_ms},
                 {"duration_ms", s.duration_ms},
                 {"last_commit", s.last_commit_wall_ms},
                 {"chunks", s.chunks},
                 {"stored_bytes", s.stored_bytes},
                 {"gaps", s.gaps},
                 {"backlog", s.backlog},
                 {"stalled", s.stalled},
                 {"alarm", s.alarm},
                 {"rdp_state", s.rdp_state},
                 {"client_address", s.client_address},
                 {"node", s.node},
                 {"frozen", s.frozen}};
  if (s.receipt)
    o["receipt"] =
        json::object{{"asked", s.receipt->asked_wall_ms},       {"deleted", s.receipt->deleted_wall_ms}, {"chunks", s.receipt->chunks},
                     {"stored_bytes", s.receipt->stored_bytes}, {"tree_size", s.receipt->tree_size},     {"root", s.receipt->root},
                     {"checkpoint", s.receipt->checkpoint}};
  return json::serialize(o);
}

Session from_stored(std::string_view text) {
  auto corrupt = [](const std::string& why) {
    return Error(ErrorKind::corrupt, "session_document", "a stored session cannot be read: " + why);
  };
  auto value = parse_json(text);
  if (!value) throw corrupt(value.error().what());
  try {
    const json::object& o = value->as_object();
    Session s = read_create(o.at("asked"));
    FieldReader in(*value);
    constexpr FieldReader::TextRule any{.min = 0, .max = 100'000};
    auto id = Id::parse(in.text("id", any));
    auto status = status_named(in.text("status", any));
    if (!id || !status) throw corrupt("its id or status is wrong");
    s.id = *id;
    s.status = *status;
    s.created_wall_ms = in.integer("created", 0, kMaxInteger);
    s.updated_wall_ms = in.integer("updated", 0, kMaxInteger);
    s.version = in.integer("version", 1, kMaxInteger);
    s.cause = in.text_or("cause", "", any);
    s.terminate_asked = in.boolean_or("terminate_asked", false);
    s.started_wall_ms = in.integer_or("started", 0, 0, kMaxInteger);
    s.duration_ms = in.integer_or("duration_ms", 0, INT64_MIN, kMaxInteger);
    s.last_commit_wall_ms = in.integer_or("last_commit", 0, 0, kMaxInteger);
    s.chunks = count(in, "chunks");
    s.stored_bytes = count(in, "stored_bytes");
    s.gaps = count(in, "gaps");
    s.backlog = count(in, "backlog");
    s.stalled = in.boolean_or("stalled", false);
    s.alarm = in.text_or("alarm", "", any);
    s.rdp_state = in.text_or("rdp_state", "", any);
    s.client_address = in.text_or("client_address", "", any);
    s.node = in.text_or("node", "", any);
    s.frozen = in.boolean_or("frozen", false);
    if (const json::value* receipt = in.raw("receipt")) {
      FieldReader r(*receipt);
      s.receipt = Receipt{.asked_wall_ms = r.integer_or("asked", 0, 0, kMaxInteger),
                          .deleted_wall_ms = r.integer_or("deleted", 0, 0, kMaxInteger),
                          .chunks = count(r, "chunks"),
                          .stored_bytes = count(r, "stored_bytes"),
                          .tree_size = count(r, "tree_size"),
                          .root = r.text_or("root", "", any),
                          .checkpoint = r.text_or("checkpoint", "", any)};
      r.finish();
    }
    for (std::string_view known : {"format", "asked"}) in.raw(known);
    in.finish();
    return s;
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::corrupt) throw;
    throw corrupt(e.what());
  } catch (const std::exception& e) { throw corrupt(e.what()); }
}

}  // namespace lucid::api
