// The routes, and the messages of lib/contracts/controller.hpp.
#include "rdp/controller/http.hpp"

#include "lib/net/server.hpp"
#include "rdp/controller/test_harness.hpp"

using namespace lucid;
using namespace lucid::controller;
using net::Method;

namespace {

struct Answer {
  int status = 0;
  json::value body;
};

Answer call(Controller& controller, Method method, const std::string& path, const json::value& body = nullptr) {
  net::Router router = routes(controller);
  auto match = router.match(method, path);
  if (match.route == nullptr) return {405, nullptr};
  net::Request request;
  request.method = method;
  request.path = path;
  request.params = match.params;
  std::string text = json::serialize(body);
  if (!body.is_null()) {
    request.headers.set("Content-Type", "application/json");
    request.body.assign(text.begin(), text.end());
  }
  net::Response response;
  try {
    response = match.route->handler(request);
  } catch (const Error& e) { response = net::problem(e, "r"); }
  if (response.body.empty()) return {response.status, nullptr};
  return {response.status, parse_json(as_text(response.body)).value()};
}

std::vector<std::string> pointers(const json::value& problem) {
  std::vector<std::string> out;
  if (const json::value* errors = problem.as_object().if_contains("errors"))
    for (const json::value& e : errors->as_array()) out.emplace_back(e.at("pointer").as_string());
  return out;
}

}  // namespace

TEST(Http, ASessionIsMadeShownConnectedAndEnded) {
  Harness h;
  h.start();
  auto r = h.request();
  std::string path = "/api/v1/sessions/" + r.id.text();
  EXPECT_EQ(call(*h.controller, Method::post, "/api/v1/sessions", contracts::to_json(r)).status, 201);
  EXPECT_EQ(call(*h.controller, Method::post, "/api/v1/sessions", contracts::to_json(r)).status, 200);
  ASSERT_TRUE(h.reaches(r.id, State::ready));
  EXPECT_EQ(call(*h.controller, Method::get, path).body.at("state"), "ready");
  EXPECT_EQ(call(*h.controller, Method::get, "/api/v1/sessions").body.at("sessions").as_array().size(), 1u);
  auto offer = contracts::read_connection_offer(call(*h.controller, Method::post, path + "/connection", json::object{}).body);
  auto asked = h.asking(offer.token);
  auto admitted = call(*h.controller, Method::post, "/api/v1/admissions", contracts::to_json(asked));
  EXPECT_EQ(admitted.status, 200);
  EXPECT_EQ(contracts::read_admission(admitted.body).session, r.id);
  auto again = call(*h.controller, Method::post, "/api/v1/admissions", contracts::to_json(h.asking(offer.token)));
  EXPECT_EQ(again.status, 403);
  EXPECT_EQ(again.body.at("code"), "token_used");
  contracts::ConnectionReport report{
      .connection = asked.connection, .session = r.id, .event = "closed", .cause = "client", .client_address = ""};
  EXPECT_EQ(call(*h.controller, Method::post, "/api/v1/connections", contracts::to_json(report)).status, 204);
  EXPECT_EQ(call(*h.controller, Method::post, path + "/stop").status, 200);
  ASSERT_TRUE(h.reaches(r.id, State::ended));
  EXPECT_EQ(call(*h.controller, Method::post, path + "/connection").status, 409);
  EXPECT_EQ(call(*h.controller, Method::post, path + "/pause").body.at("code"), "illegal_transition");
  EXPECT_FALSE(call(*h.controller, Method::get, path + "/history").body.at("history").as_array().empty());
  EXPECT_EQ(call(*h.controller, Method::get, "/api/v1/sessions/nonsense").status, 404);
}

TEST(Http, EveryWrongFieldIsNamed) {
  Harness h;
  h.start();
  json::value body = contracts::to_json(h.request());
  body.as_object()["id"] = "x";
  body.as_object()["name"] = "";
  body.as_object()["target"] =
      json::object{{"account", "../root"}, {"resolution", "99999x1"}, {"color_depth", 17}, {"desktop", "a b"}, {"x", 1}};
  body.as_object()["idle_timeout"] = -1;
  body.as_object()["fail_open"] = "yes";
  auto answer = call(*h.controller, Method::post, "/api/v1/sessions", body);
  EXPECT_EQ(answer.status, 422);
  auto named = pointers(answer.body);
  for (const char* p : {"/id", "/name", "/target/account", "/target/resolution", "/target/color_depth", "/target/desktop", "/target/x",
                        "/idle_timeout", "/fail_open"})
    EXPECT_EQ(std::count(named.begin(), named.end(), p), 1) << p;
  EXPECT_EQ(named.size(), 9u);
  auto both = call(*h.controller, Method::post, "/api/v1/admissions",
                   json::object{{"connection_id", Id::make(h.clock, h.random).text()}, {"token", "a"}, {"account", "b"}});
  EXPECT_EQ(both.status, 422);
  EXPECT_EQ(call(*h.controller, Method::post, "/api/v1/connections", json::object{{"event", "burnt"}}).status, 422);
  EXPECT_EQ(
      call(*h.controller, Method::post, "/api/v1/sessions/" + Id::make(h.clock, h.random).text() + "/stop", json::object{{"x", 1}}).status,
      422);
}

TEST(Http, ClientsSpeakToTheRoutes) {
  Harness h;
  h.start();
  net::Router router = routes(*h.controller);
  Id recorded = Id::make(h.clock, h.random);
  router.add(Method::get, "/api/v1/recordings", [&](net::Request&) {
    json::object view{
        {"session_id", recorded.text()}, {"state", "recording"}, {"frames", 7}, {"backlog", 0}, {"alarm", ""}, {"display", ":1"}};
    json::object newer = view;
    newer["last_input_wall_ms"] = 5;
    return net::Response::json(200, json::object{{"recordings", json::array{view, newer}}});
  });
  net::Server server(
      {}, std::move(router), [](const net::Request&) { return std::string("service:test"); }, [](const net::RequestRecord&) {});
  server.start();
  auto http =
      std::make_shared<net::Client>(net::ClientConfig{.base_url = "http://127.0.0.1:" + std::to_string(server.port()), .bearer = {}});
  auto views = contracts::RecorderClient(http).recordings();
  ASSERT_EQ(views.size(), 2u);
  EXPECT_EQ(views[0].last_input_wall_ms, 0) << "a recorder that does not tell";
  EXPECT_EQ(views[1].last_input_wall_ms, 5);
  contracts::ControllerClient client(http);
  auto r = h.request();
  EXPECT_EQ(client.create(r).id, r.id);
  ASSERT_TRUE(h.reaches(r.id, State::ready));
  auto asked = h.asking(client.connection(r.id).token);
  EXPECT_EQ(client.admit(asked).session, r.id);
  try {
    client.admit(h.asking(asked.token));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::forbidden);
    EXPECT_EQ(e.code(), "token_used");
  }
  client.report({.connection = asked.connection, .session = r.id, .event = "closed", .cause = "client", .client_address = ""});
  EXPECT_EQ(client.act(r.id, "terminate").cause, "terminated");
  ASSERT_TRUE(h.reaches(r.id, State::ended));
  EXPECT_EQ(client.status(r.id).state, State::ended);
  server.stop(std::chrono::seconds(1));
}

TEST(Messages, SurviveTheirOwnJson) {
  ManualClock clock;
  SeededRandom random(1);
  auto same = [](const json::value& a, const json::value& b) { EXPECT_EQ(json::serialize(a), json::serialize(b)); };
  contracts::RdpSessionRequest r;
  r.id = Id::make(clock, random);
  r.name = "n";
  r.owner = "ann";
  r.target = {.account = "bob", .desktop = "xfce", .width = 7680, .height = 4320, .color_depth = 32};
  r.recipients = {"lucid-box-pub:x"};
  r.fail_open = true;
  r.idle_timeout = 1;
  same(contracts::to_json(contracts::read_rdp_session_request(contracts::to_json(r))), contracts::to_json(r));
  contracts::RdpSession s;
  s.id = r.id;
  s.state = State::paused;
  s.bytes_up = 1ull << 60;
  same(contracts::to_json(contracts::read_rdp_session(contracts::to_json(s))), contracts::to_json(s));
  contracts::Admission a{.session = r.id, .upstream_host = "127.0.0.1", .upstream_port = 13389, .replaces = Id::make(clock, random)};
  same(contracts::to_json(contracts::read_admission(contracts::to_json(a))), contracts::to_json(a));
  contracts::ConnectionOffer o{"h", 3389, "t", "a", "p", 5};
  same(contracts::to_json(contracts::read_connection_offer(contracts::to_json(o))), contracts::to_json(o));
  contracts::ConnectionReport c{Id::make(clock, random), r.id, "closed", "client", "192.0.2.7:1", 1, 2, 3};
  same(contracts::to_json(contracts::read_connection_report(contracts::to_json(c))), contracts::to_json(c));
  for (const char* bad : {"1920", "1920x", "x1080", "1920x1080x", "01920x1080", "319x240", "7681x240", "-320x240"}) {
    json::value value = json::object{{"resolution", bad}};
    FieldReader in(value);
    contracts::read_rdp_target(in);
    EXPECT_THROW(in.finish(), Error) << bad;
  }
}
