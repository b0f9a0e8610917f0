#include "lib/contracts/recorder.hpp"

#include "lib/contracts/fields.hpp"

namespace lucid::contracts {

Started RecorderClient::start(const RecordingPlan& plan, const Granted& lease) {
  net::Call call;
  std::string body = json::serialize(
      json::object{{"plan", to_json(plan)}, {"fencing_token", lease.fencing_token}, {"next_sequence", lease.next_sequence}});
  call.method = net::Method::post;
  call.target = "/api/v1/recordings";
  call.body = as_bytes(body);
  call.content_type = "application/json";
  call.timeout = std::chrono::seconds(15);  // an X server may take seconds to answer its first request
  auto value = parse_json(as_text(http_->expect(call).body));
  if (!value) throw value.error();
  Fields in(*value);
  Started s{in.number<std::int64_t>("started_wall_ms"), in.number<std::int64_t>("started_steady_ms")};
  if (!in.ok()) throw in.error("recorder's answer");
  return s;
}

void RecorderClient::pause(const Id& session) {
  http_->send_json(net::Method::post, "/api/v1/recordings/" + session.text() + "/pause", json::object{});
}
void RecorderClient::resume(const Id& session) {
  http_->send_json(net::Method::post, "/api/v1/recordings/" + session.text() + "/resume", json::object{});
}
void RecorderClient::stop(const Id& session) {
  http_->send_json(net::Method::post, "/api/v1/recordings/" + session.text() + "/stop", json::object{});
}

std::vector<RecorderView> RecorderClient::recordings() {
  net::Call call;
  call.target = "/api/v1/recordings";
  call.timeout = std::chrono::milliseconds(600);
  auto value = parse_json(as_text(http_->expect(call).body), 16 << 20);
  if (!value) throw value.error();
  Fields in(*value);
  std::vector<RecorderView> out;
  for (const json::value& item : in.array("recordings")) {
    Fields r(item);
    RecorderView v;
    v.session = r.id("session_id");
    v.state = r.text("state");
    v.alarm = r.text("alarm");
    v.display = r.text("display");
    v.frames = r.number<std::uint64_t>("frames");
    v.backlog = r.number<std::uint64_t>("backlog");
    if (const json::object* o = item.if_object(); o != nullptr && o->contains("last_input_wall_ms"))
      v.last_input_wall_ms = r.number<std::int64_t>("last_input_wall_ms");
    if (!r.ok()) in.refuse("recordings");
    out.push_back(std::move(v));
  }
  if (!in.ok()) throw in.error("list of recordings");
  return out;
}

}  // namespace lucid::contracts
