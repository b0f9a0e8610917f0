#include "sessions/recorder/http.hpp"

namespace lucid::recorder {
namespace {

Id session_of(const net::Request& request) {
  auto id = Id::parse(request.param("id"));
  if (!id) throw Error(ErrorKind::invalid, "the session id in the path is not a UUID");
  return *id;
}

json::value to_json(const RecordingInfo& r) {
  return json::object{{"session_id", r.session.text()},
                      {"state", r.state},
                      {"frames", r.frames},
                      {"backlog", r.backlog},
                      {"alarm", r.alarm},
                      {"display", r.display},
                      {"last_input_wall_ms", r.last_input_wall_ms}};
}

}  // namespace

net::Router routes(std::function<Recorder&()> recorder) {
  net::Router router;
  router.add(net::Method::post, "/api/v1/recordings", [recorder](net::Request& request) {
    json::value body = request.json_body();
    FieldReader in(body);
    constexpr std::int64_t kMax = std::int64_t{1} << 53;
    const json::value* plan = in.raw("plan");
    contracts::Granted granted{static_cast<std::uint64_t>(in.integer("fencing_token", 0, kMax)),
                               static_cast<std::uint64_t>(in.integer("next_sequence", 0, kMax))};
    if (plan == nullptr) in.refuse("plan", "is missing");
    in.finish();
    contracts::Started started = recorder().start(contracts::read_recording_plan(*plan), granted);
    return net::Response::json(
        200, json::object{{"started_wall_ms", started.started_wall_ms}, {"started_steady_ms", started.started_steady_ms}});
  });
  auto act = [&](const char* action, void (Recorder::*method)(const Id&)) {
    router.add(net::Method::post, std::string("/api/v1/recordings/{id}/") + action, [recorder, method](net::Request& request) {
      (recorder().*method)(session_of(request));
      return net::Response::empty();
    });
  };
  act("pause", &Recorder::pause);
  act("resume", &Recorder::resume);
  act("stop", &Recorder::stop);
  router.add(net::Method::get, "/api/v1/recordings", [recorder](net::Request&) {
    json::array list;
    for (const RecordingInfo& info : recorder().list()) list.push_back(to_json(info));
    return net::Response::json(200, json::object{{"recordings", std::move(list)}});
  });
  return router;
}

}  // namespace lucid::recorder
