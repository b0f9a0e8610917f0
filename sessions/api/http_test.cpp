// The routes against their contract, and session-api's behaviour over HTTP as far as it needs no other service: those
// are addressed where nobody listens.
#include "sessions/api/http.hpp"

#include <algorithm>
#include <fstream>
#include <set>

#include <gtest/gtest.h>

#include "lib/base/file_ops.hpp"
#include "lib/net/client.hpp"

namespace lucid::api {
namespace {

constexpr const char* kToken = "lucid_test-token";

class Door : public testing::Test {
 protected:
  Door() {
    server_ = std::make_unique<net::Server>(net::ServerConfig{}, make_router(api_), admin_door(kToken),
                                            net::Observer([](const net::RequestRecord&) {}));
    server_->start();
  }
  std::shared_ptr<net::Client> nobody() {
    net::ClientConfig config;
    config.base_url = "http://127.0.0.1:1";
    return std::make_shared<net::Client>(config);
  }
  net::Response send(net::Method method, const std::string& target, const std::string& body = "", const net::Headers& headers = {}) {
    net::ClientConfig config;
    config.base_url = "http://127.0.0.1:" + std::to_string(server_->port());
    config.bearer = [this] { return token_; };
    net::Call call;
    call.method = method;
    call.target = target;
    call.headers = headers;
    call.body = as_bytes(body);
    if (!body.empty()) call.content_type = "application/json";
    return net::Client(config).send(call);
  }
  json::value parsed(const net::Response& response) { return parse_json(as_text(response.body)).value(); }
  std::string code(const net::Response& response) { return std::string(parsed(response).at("code").as_string()); }
  std::string create(const std::string& name) {
    return std::string(
        parsed(send(net::Method::post, "/api/v1/sessions", R"({"name":")" + name + R"(","target":{"kind":"display","display":":1"}})"))
            .at("id")
            .as_string());
  }

  TempDir dir_;
  std::unique_ptr<store::Documents> documents_ = store::open_sqlite_documents(dir_.path() + "/api.db");
  SystemClock clock_;
  SystemRandom random_;
  runtime::Metrics metrics_;
  std::shared_ptr<contracts::StorageClient> storage_ = std::make_shared<contracts::StorageClient>(nobody());
  std::shared_ptr<contracts::ProcessorClient> processor_ = std::make_shared<contracts::ProcessorClient>(nobody());
  Recordings recordings_{storage_, crypto::BoxKey::make(random_)};
  Sessions sessions_{{.documents = *documents_,
                      .pipeline = std::make_shared<contracts::PipelineClient>(nobody()),
                      .processor = processor_,
                      .storage = storage_,
                      .controller = std::make_shared<contracts::ControllerClient>(nobody()),
                      .clock = clock_,
                      .random = random_,
                      .forget = [this](const Id& id) { recordings_.forget(id); }}};
  LimitKeeper limits_{sessions_, clock_, runtime::Log("session-api")};
  std::atomic<bool> stopping_ = false;
  Api api_{sessions_,
           recordings_,
           limits_,
           processor_,
           crypto::SigningKey::make(random_).verify_key(),
           {},
           metrics_,
           {nobody(), nobody(), nobody()},
           nobody(),
           nobody(),
           stopping_};
  std::unique_ptr<net::Server> server_;
  std::string token_ = kToken;
};

std::set<std::string> documented_routes() {
  std::ifstream file("docs/api/openapi.yaml");
  std::set<std::string> routes;
  std::string path;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("components:")) break;
    if (line.starts_with("  /") && line.ends_with(":")) path = line.substr(2, line.size() - 3);
    for (const char* method : {"get", "post", "put", "patch", "delete"})
      if (line == std::string("    ") + method + ":") {
        std::string upper(method);
        for (char& c : upper) c = static_cast<char>(c - 'a' + 'A');
        routes.insert(upper + " " + path);
      }
  }
  return routes;
}

TEST_F(Door, HasExactlyTheRoutesOfTheOpenApiDocument) {
  std::set<std::string> built{"GET /health", "GET /ready", "GET /metrics", "GET /version"};  // every service's, added by runtime
  net::Router router = make_router(api_);
  for (const auto& route : router.routes()) {
    built.insert(std::string(net::name(route->method)) + " " + route->pattern);
    EXPECT_EQ(route->options.auth, net::Auth::required) << route->pattern;
  }
  EXPECT_EQ(built, documented_routes());
}

TEST_F(Door, LetsNobodyInWithoutTheToken) {
  for (const char* wrong : {"", "lucid_test-toke", "lucid_test-tokenx", "LUCID_TEST-TOKEN"}) {
    token_ = wrong;
    net::Response response = send(net::Method::get, "/api/v1/sessions");
    EXPECT_EQ(response.status, 401) << wrong;
    EXPECT_EQ(code(response), "unauthorized");
  }
  token_ = kToken;
  EXPECT_EQ(send(net::Method::get, "/api/v1/sessions").status, 200);
}

TEST_F(Door, CreatesShowsAndChangesASession) {
  net::Response made = send(net::Method::post, "/api/v1/sessions", R"({"name":"n","target":{"kind":"display","display":":1"}})");
  ASSERT_EQ(made.status, 201);
  std::string path(made.headers.get("Location").value());
  EXPECT_EQ(made.headers.get("ETag"), "\"1\"");
  net::Response shown = send(net::Method::get, path);
  EXPECT_EQ(shown.status, 200);
  EXPECT_EQ(shown.body, made.body);
  EXPECT_EQ(parsed(shown).at("status"), "created");

  net::Headers match;
  match.set("If-Match", "\"1\"");
  net::Response changed = send(net::Method::patch, path, R"({"name":"m"})", match);
  EXPECT_EQ(changed.status, 200);
  EXPECT_EQ(changed.headers.get("ETag"), "\"2\"");
  net::Response late = send(net::Method::patch, path, R"({"name":"o"})", match);
  EXPECT_EQ(late.status, 409);
  EXPECT_EQ(code(late), "version_mismatch");
  match.set("If-Match", "1");
  EXPECT_EQ(send(net::Method::patch, path, R"({"name":"o"})", match).status, 400);
}

TEST_F(Door, CreatesOnceForOneIdempotencyKey) {
  net::Headers key;
  key.set("Idempotency-Key", "abc");
  const std::string body = R"({"name":"n","target":{"kind":"display","display":":1"}})";
  net::Response first = send(net::Method::post, "/api/v1/sessions", body, key);
  net::Response second = send(net::Method::post, "/api/v1/sessions", body, key);
  EXPECT_EQ(first.status, 201);
  EXPECT_EQ(second.status, 201);
  EXPECT_EQ(first.body, second.body);
  EXPECT_EQ(parsed(send(net::Method::get, "/api/v1/sessions")).at("sessions").as_array().size(), 1u);
  net::Response other = send(net::Method::post, "/api/v1/sessions", R"({"name":"x","target":{"kind":"display","display":":1"}})", key);
  EXPECT_EQ(other.status, 409);
  EXPECT_EQ(code(other), "idempotency_key_reused");
  // A refused request does not use the key up.
  key.set("Idempotency-Key", "def");
  EXPECT_EQ(send(net::Method::post, "/api/v1/sessions", "{}", key).status, 422);
  EXPECT_EQ(send(net::Method::post, "/api/v1/sessions", body, key).status, 201);
}

TEST_F(Door, ListsNewestFirstInPagesWithoutLossOrRepetition) {
  std::vector<std::string> made;
  for (int i = 0; i < 7; ++i) made.insert(made.begin(), create("s" + std::to_string(i)));
  std::vector<std::string> seen;
  std::string cursor;
  do {
    json::value page = parsed(send(net::Method::get, "/api/v1/sessions?limit=3" + (cursor.empty() ? "" : "&cursor=" + cursor)));
    EXPECT_LE(page.at("sessions").as_array().size(), 3u);
    for (const json::value& s : page.at("sessions").as_array()) seen.emplace_back(s.at("id").as_string());
    cursor = page.at("next_cursor").is_null() ? "" : std::string(page.at("next_cursor").as_string());
  } while (!cursor.empty());
  std::sort(made.rbegin(), made.rend());
  EXPECT_EQ(seen, made);
  EXPECT_EQ(parsed(send(net::Method::get, "/api/v1/sessions?q=S3")).at("sessions").as_array().size(), 1u);
  EXPECT_EQ(send(net::Method::get, "/api/v1/sessions?cursor=zzz").status, 400);
  EXPECT_EQ(send(net::Method::get, "/api/v1/sessions?limit=1000").status, 422);
}

TEST_F(Door, AnswersHostileIdsAndBodiesWithAProblem) {
  for (const char* id :
       {"x", "..%2F..%2Fetc", "%00", "%ff%fe", "00000000-0000-0000-0000-00000000000", "018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e%2F.."}) {
    net::Response response = send(net::Method::get, std::string("/api/v1/sessions/") + id);
    EXPECT_TRUE(response.status == 400 || response.status == 404) << id << ' ' << response.status;
    EXPECT_EQ(response.headers.get("Content-Type"), "application/problem+json");
  }
  EXPECT_EQ(send(net::Method::get, "/api/v1/sessions/018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e").status, 404);
  EXPECT_EQ(send(net::Method::post, "/api/v1/sessions", "{").status, 400);
  EXPECT_EQ(send(net::Method::post, "/api/v1/sessions", "[1]").status, 422);
  EXPECT_EQ(send(net::Method::post, "/api/v1/sessions", R"({"name":")" + std::string(300'000, 'x') + "\"}").status, 413);
  EXPECT_EQ(send(net::Method::put, "/api/v1/sessions", "{}").status, 405);
  std::string id = create("n");
  for (const char* seq : {"-1", "x", "1e3", "99999999999999999999999"})
    EXPECT_EQ(send(net::Method::get, "/api/v1/sessions/" + id + "/chunks/" + seq).status, 400) << seq;
  EXPECT_EQ(send(net::Method::get, "/api/v1/sessions/" + id + "/events?kinds=tile").status, 422);
  EXPECT_EQ(send(net::Method::get, "/api/v1/sessions/" + id + "/chunks?limit=0").status, 422);
  EXPECT_EQ(send(net::Method::post, "/api/v1/sessions/" + id + "/start", R"({"now":true})").status, 422);
}

TEST_F(Door, RefusesIllegalMovesOfASessionThatNeverStarted) {
  std::string path = "/api/v1/sessions/" + create("n");
  for (const char* action : {"pause", "resume", "stop", "terminate"}) {
    net::Response response = send(net::Method::post, path + "/" + action);
    EXPECT_EQ(response.status, 409) << action;
    EXPECT_EQ(code(response), "illegal_transition");
  }
}

TEST_F(Door, SaysThatThePipelineIsAwayAndShowsWhatItKnows) {
  std::string path = "/api/v1/sessions/" + create("n");
  net::Response refused = send(net::Method::post, path + "/start");
  EXPECT_EQ(refused.status, 503);
  EXPECT_TRUE(refused.headers.get("Retry-After"));
  EXPECT_EQ(send(net::Method::post, path + "/start").status, 503) << "a start that got no answer may be asked again";
  net::Response shown = send(net::Method::get, path);
  EXPECT_EQ(shown.status, 200);
  EXPECT_EQ(parsed(shown).at("stale"), true);
  json::value list = parsed(send(net::Method::get, "/api/v1/sessions"));
  EXPECT_EQ(list.at("sessions").at(0).at("stale"), true);
  EXPECT_EQ(send(net::Method::del, path).status, 503) << "whether it records is not known";
  EXPECT_EQ(send(net::Method::get, path + "/chunks").status, 503);
  EXPECT_EQ(send(net::Method::get, "/api/v1/status").status, 200);
}

}  // namespace
}  // namespace lucid::api
