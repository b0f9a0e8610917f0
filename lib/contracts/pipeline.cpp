#include "lib/contracts/pipeline.hpp"

#include <array>

#include "lib/contracts/fields.hpp"

namespace lucid::contracts {
namespace {

constexpr std::array<const char*, 10> kPipelineStates{"created",  "starting", "active",  "pausing",   "paused",
                                                      "stopping", "stopped",  "cleanup", "destroyed", "error"};

std::string recording_path(const Id& session) { return "/api/v1/recordings/" + session.text(); }

}  // namespace

const char* name(PipelineState state) { return kPipelineStates[static_cast<std::size_t>(state)]; }

std::optional<PipelineState> pipeline_state(std::string_view text) {
  for (std::size_t i = 0; i < kPipelineStates.size(); ++i)
    if (text == kPipelineStates[i]) return static_cast<PipelineState>(i);
  return std::nullopt;
}

json::value to_json(const RecordingPlan& p) {
  json::object o{{"session_id", p.session.text()},
                 {"name", p.name},
                 {"target", to_json(p.target)},
                 {"recording", to_json(p.options)},
                 {"recipients", json::array(p.recipients.begin(), p.recipients.end())},
                 {"created_wall_ms", p.created_wall_ms},
                 {"started_wall_ms", p.started_wall_ms},
                 {"started_steady_ms", p.started_steady_ms}};
  if (p.waits_until_wall_ms != 0) o["waits_until_wall_ms"] = p.waits_until_wall_ms;
  return o;
}

RecordingPlan read_recording_plan(const json::value& value) {
  FieldReader in(value);
  RecordingPlan p;
  auto id = Id::parse(in.text("session_id", {.min = 36, .max = 36}));
  if (id)
    p.session = *id;
  else
    in.refuse("session_id", "must be a UUID");
  p.name = in.text("name", {.min = 1, .max = 255});
  FieldReader target = in.child("target");
  p.target = read_display_target(target);
  target.finish_child();
  FieldReader options = in.child("recording");
  p.options = read_recording_options(options);
  options.finish_child();
  p.recipients = in.texts_or_empty("recipients", 100, {.min = 1, .max = 200});
  constexpr std::int64_t kMax = std::int64_t{1} << 53;
  p.created_wall_ms = in.integer_or("created_wall_ms", 0, 0, kMax);
  p.waits_until_wall_ms = in.integer_or("waits_until_wall_ms", 0, 0, kMax);
  p.started_wall_ms = in.integer_or("started_wall_ms", 0, 0, kMax);
  p.started_steady_ms = in.integer_or("started_steady_ms", 0, 0, kMax);
  in.finish();
  return p;
}

json::value to_json(const RecordingStatus& s) {
  json::array stages;
  for (const StageCount& c : s.stages)
    stages.push_back(json::object{
        {"stage", c.stage}, {"items", c.items}, {"errors", c.errors}, {"p50_ms", c.p50_ms}, {"p95_ms", c.p95_ms}, {"p99_ms", c.p99_ms}});
  return json::object{{"session_id", s.session.text()},
                      {"state", name(s.state)},
                      {"cause", s.cause},
                      {"since_wall_ms", s.since_wall_ms},
                      {"committed_chunks", s.committed_chunks},
                      {"committed_bytes", s.committed_bytes},
                      {"next_sequence", s.next_sequence},
                      {"retries", s.retries},
                      {"gaps", s.gaps},
                      {"last_commit_wall_ms", s.last_commit_wall_ms},
                      {"last_beat_wall_ms", s.last_beat_wall_ms},
                      {"duration_ms", s.duration_ms},
                      {"started_wall_ms", s.started_wall_ms},
                      {"ended", s.ended},
                      {"finalised", s.finalised},
                      {"stalled", s.stalled},
                      {"backlog", s.backlog},
                      {"alarm", s.alarm},
                      {"stages", std::move(stages)}};
}

RecordingStatus read_recording_status(const json::value& value) {
  Fields in(value);
  RecordingStatus s;
  s.session = in.id("session_id");
  auto state = pipeline_state(in.text("state"));
  if (state)
    s.state = *state;
  else
    in.refuse("state");
  s.cause = in.text("cause");
  s.since_wall_ms = in.number<std::int64_t>("since_wall_ms");
  s.committed_chunks = in.number<std::uint64_t>("committed_chunks");
  s.committed_bytes = in.number<std::uint64_t>("committed_bytes");
  s.next_sequence = in.number<std::uint64_t>("next_sequence");
  s.retries = in.number<std::uint64_t>("retries");
  s.gaps = in.number<std::uint64_t>("gaps");
  s.last_commit_wall_ms = in.number<std::int64_t>("last_commit_wall_ms");
  s.last_beat_wall_ms = in.number<std::int64_t>("last_beat_wall_ms");
  s.duration_ms = in.number<std::int64_t>("duration_ms");
  s.started_wall_ms = in.number<std::int64_t>("started_wall_ms");
  s.ended = in.boolean("ended");
  s.finalised = in.boolean("finalised");
  s.stalled = in.boolean("stalled");
  s.backlog = in.number<std::uint64_t>("backlog");
  s.alarm = in.text("alarm");
  for (const json::value& item : in.array("stages")) {
    Fields c(item);
    s.stages.push_back({c.text("stage"), c.number<std::uint64_t>("items"), c.number<std::uint64_t>("errors"), c.real("p50_ms"),
                        c.real("p95_ms"), c.real("p99_ms")});
    if (!c.ok()) in.refuse("stages");
  }
  if (!in.ok()) throw in.error("recording status");
  return s;
}

json::value to_json(const Commit& c) {
  return json::object{{"sequence", c.sequence},     {"fencing_token", c.fencing_token}, {"stored_size", c.stored_size},
                      {"plain_size", c.plain_size}, {"first_ms", c.first_ms},           {"last_ms", c.last_ms},
                      {"flags", c.flags},           {"compress_us", c.compress_us},     {"encrypt_us", c.encrypt_us},
                      {"hash_us", c.hash_us},       {"store_us", c.store_us},           {"total_us", c.total_us}};
}

Commit read_commit(const json::value& value) {
  Fields in(value);
  Commit c;
  c.sequence = in.number<std::uint64_t>("sequence");
  c.fencing_token = in.number<std::uint64_t>("fencing_token");
  c.stored_size = in.number<std::uint32_t>("stored_size");
  c.plain_size = in.number<std::uint32_t>("plain_size");
  c.first_ms = in.number<std::int64_t>("first_ms");
  c.last_ms = in.number<std::int64_t>("last_ms");
  c.flags = in.number<std::uint16_t>("flags");
  c.compress_us = in.number<std::int64_t>("compress_us");
  c.encrypt_us = in.number<std::int64_t>("encrypt_us");
  c.hash_us = in.number<std::int64_t>("hash_us");
  c.store_us = in.number<std::int64_t>("store_us");
  c.total_us = in.number<std::int64_t>("total_us");
  if (!in.ok()) throw in.error("commit");
  return c;
}

RecordingStatus PipelineClient::create(const RecordingPlan& plan) {
  return read_recording_status(http_->send_json(net::Method::post, "/api/v1/recordings", to_json(plan)));
}

RecordingStatus PipelineClient::act(const Id& session, const std::string& action) {
  net::Call call;
  call.method = net::Method::post;
  call.target = recording_path(session) + "/" + action;
  call.body = as_bytes("{}");
  call.content_type = "application/json";
  call.timeout = std::chrono::seconds(20);  // start waits for the first frame
  auto value = parse_json(as_text(http_->expect(call).body));
  if (!value) throw value.error();
  return read_recording_status(*value);
}

RecordingStatus PipelineClient::status(const Id& session) { return read_recording_status(http_->get_json(recording_path(session))); }
RecordingPlan PipelineClient::plan(const Id& session) { return read_recording_plan(http_->get_json(recording_path(session) + "/plan")); }

void PipelineClient::remove(const Id& session) {
  net::Call call;
  call.method = net::Method::del;
  call.target = recording_path(session);
  http_->expect(call);
}

Granted PipelineClient::acquire(const Id& session, const std::string& holder) {
  json::value value =
      http_->send_json(net::Method::post, "/api/v1/leases", json::object{{"session_id", session.text()}, {"holder", holder}});
  Fields in(value);
  Granted g{in.number<std::uint64_t>("fencing_token"), in.number<std::uint64_t>("next_sequence")};
  if (!in.ok()) throw in.error("lease");
  return g;
}

BeatAnswer PipelineClient::beat(const std::string& holder, const std::vector<Beat>& beats) {
  json::array list;
  for (const Beat& b : beats)
    list.push_back(json::object{{"session_id", b.session.text()},
                                {"fencing_token", b.fencing_token},
                                {"backlog", b.backlog},
                                {"state", b.state},
                                {"alarm", b.alarm}});
  json::value value =
      http_->send_json(net::Method::post, "/api/v1/heartbeats", json::object{{"holder", holder}, {"recordings", std::move(list)}});
  Fields in(value);
  BeatAnswer answer;
  auto read = [&](std::string_view key, std::vector<Id>& out) {
    for (const std::string& text : in.texts(key))
      if (auto id = Id::parse(text))
        out.push_back(*id);
      else
        in.refuse(key);
  };
  read("lost", answer.lost);
  read("unknown", answer.unknown);
  if (!in.ok()) throw in.error("heartbeat answer");
  return answer;
}

std::uint64_t PipelineClient::begin(const Id& session, std::uint64_t sequence, std::uint64_t fencing_token) {
  json::value value = http_->send_json(net::Method::post, recording_path(session) + "/begin",
                                       json::object{{"sequence", sequence}, {"fencing_token", fencing_token}});
  Fields in(value);
  std::uint64_t expected = in.number<std::uint64_t>("expected_sequence");
  if (!in.ok()) throw in.error("begin answer");
  return expected;
}

void PipelineClient::commit(const Id& session, const Commit& commit) {
  http_->send_json(net::Method::post, recording_path(session) + "/commits", to_json(commit));
}

void PipelineClient::failure(const Id& session, std::uint64_t sequence, const std::string& stage, const std::string& reason) {
  http_->send_json(net::Method::post, recording_path(session) + "/failures",
                   json::object{{"sequence", sequence}, {"stage", stage}, {"reason", reason}});
}

void PipelineClient::report(const Id& session, const std::string& event, const std::string& detail) {
  http_->send_json(net::Method::post, recording_path(session) + "/reports", json::object{{"event", event}, {"detail", detail}});
}

}  // namespace lucid::contracts
