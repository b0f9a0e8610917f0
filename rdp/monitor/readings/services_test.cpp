#include <atomic>
#include <cmath>
#include <future>
#include <mutex>

#include <fmt/format.h>

#include "lib/base/id.hpp"
#include "lib/base/random.hpp"
#include "lib/contracts/gateway.hpp"
#include "lib/contracts/rdp_server.hpp"
#include "lib/net/server.hpp"
#include "rdp/monitor/readings/services.hpp"
#include "rdp/monitor/readings/test_tree.hpp"

namespace lucid::monitor {
namespace {

using testing::HasSubstr;

// One of our services, saying what it is told to say.
class Peer {
 public:
  explicit Peer(std::string name) : name_(std::move(name)) {
    net::Router router;
    constexpr net::RouteOptions kOpen{.auth = net::Auth::open};
    router.add(net::Method::get, "/metrics", [this](net::Request&) { return answer(metrics); }, kOpen);
    router.add(net::Method::get, "/health", [this](net::Request&) { return net::Response::json_text(health_status, said(health)); }, kOpen);
    router.add(
        net::Method::get, "/api/v1/servers",
        [this](net::Request& r) {
          std::string cursor = r.query_text("cursor").value_or("");
          EXPECT_EQ(r.query_text("limit"), "100");
          return net::Response::json_text(200, said(cursor.empty() ? list : second_page));
        },
        kOpen);
    for (const char* path : {"/api/v1/recordings", "/api/v1/connections"})
      router.add(net::Method::get, path, [this](net::Request&) { return net::Response::json_text(200, said(list)); }, kOpen);
    server_ = std::make_unique<net::Server>(
        net::ServerConfig{}, std::move(router), [](const net::Request&) { return std::nullopt; }, [](const net::RequestRecord&) {});
    server_->start();
    port_ = server_->port();
  }
  ~Peer() {
    release();
    if (server_) server_->stop(std::chrono::milliseconds(100));
  }
  void say(std::string& what, std::string text) {
    std::lock_guard lock(mutex_);
    what = std::move(text);
  }
  void hang() {
    std::lock_guard lock(mutex_);
    hangs_ = true;
  }
  void release() {
    {
      std::lock_guard lock(mutex_);
      hangs_ = false;
    }
    changed_.notify_all();
  }
  void end() {
    server_->stop(std::chrono::milliseconds(100));
    server_.reset();
  }
  ServiceReader::Peer peer() const {
    return {name_, std::make_shared<net::Client>(net::ClientConfig{.base_url = "http://127.0.0.1:" + std::to_string(port_), .bearer = {}})};
  }

  std::string metrics = "process_open_fds 1\n", health = "{}", list = "{}", second_page;
  std::atomic<int> health_status = 200;

 private:
  net::Response answer(const std::string& what) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !hangs_; });
    return net::Response::text(what);
  }
  std::string said(const std::string& what) {
    std::lock_guard lock(mutex_);
    return what;
  }
  std::string name_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool hangs_ = false;
  std::unique_ptr<net::Server> server_;
};

constexpr std::chrono::milliseconds kLong{5'000};

double value_of(const ServiceLook& look, std::string_view metric, std::string_view subject = "") {
  for (const Reading& r : look.recording)
    if (r.metric == metric && r.subject == subject) return r.value;
  return kUnknown;
}

TEST(Services, SayWhatTheyUseAndHowManyRequestsTheyAnswer) {
  ManualClock clock;
  Peer peer("session-api");
  auto metrics = [&](double cpu, int good, int bad) {
    peer.say(peer.metrics,
             fmt::format("lucid_build_info{{version=\"1.2\"}} 1\nprocess_cpu_seconds_total {}\nprocess_resident_memory_bytes 5e6\n"
                         "process_open_fds 12\nprocess_start_time_seconds {}\n"
                         "lucid_http_requests_total{{status=\"200\"}} {}\nlucid_http_requests_total{{status=\"500\"}} {}\n",
                         cpu, 1'700'000'000 - 50, good, bad));
  };
  ServiceReader reader({peer.peer()}, clock, kLong);
  metrics(10, 100, 5);
  Service s = reader.look().services.at(0);
  EXPECT_TRUE(s.up && s.healthy) << s.problem;
  EXPECT_EQ(s.name, "session-api");
  EXPECT_EQ(s.version, "1.2");
  EXPECT_EQ(s.memory_bytes, 5'000'000u);
  EXPECT_EQ(s.open_files, 12u);
  EXPECT_NEAR(s.uptime_seconds, 50, 1e-6);
  EXPECT_GT(s.scrape_seconds, 0);
  EXPECT_TRUE(std::isnan(s.cpu_ratio) && std::isnan(s.requests_per_second));
  clock.advance(5'000);
  metrics(11, 140, 10);
  s = reader.look().services.at(0);
  EXPECT_NEAR(s.cpu_ratio, 0.2, 1e-9);
  EXPECT_NEAR(s.requests_per_second, 9, 1e-9);
  EXPECT_NEAR(s.errors_per_second, 1, 1e-9);
  clock.advance(5'000);
  metrics(1, 10, 0);  // a new process
  s = reader.look().services.at(0);
  EXPECT_NEAR(s.cpu_ratio, 0.2, 1e-9);
  EXPECT_NEAR(s.requests_per_second, 2, 1e-9);
}

TEST(Services, HealthNamesTheDependencyThatFails) {
  ManualClock clock;
  Peer peer("session-pipeline");
  ServiceReader reader({peer.peer()}, clock, kLong);
  peer.health_status = 503;
  peer.say(peer.health,
           R"({"status":"unhealthy","checks":[{"name":"queue","ok":true},{"name":"storage","ok":false,"detail":"connection refused"},
                          {"name":"key","ok":false}]})");
  Service s = reader.look().services.at(0);
  EXPECT_TRUE(s.up);
  EXPECT_FALSE(s.healthy);
  EXPECT_EQ(s.problem, "storage: connection refused; key");
  peer.say(peer.health, "[1, 2");
  EXPECT_EQ(reader.look().services.at(0).problem, "/health answered 503");
  peer.say(peer.health, R"({"checks":[1,{},{"ok":7,"name":3,"detail":[]},{"ok":false,"name":"disk"}]})");
  EXPECT_THAT(reader.look().services.at(0).problem, HasSubstr("disk"));
}

TEST(Services, OneThatIsDownOrTalksNonsenseSaysWhy) {
  ManualClock clock;
  Peer down("session-storage"), nonsense("chunk-processor");
  down.end();
  nonsense.say(nonsense.metrics, "process_open_fds lots\n");
  ServiceReader reader({down.peer(), nonsense.peer()}, clock, kLong);
  auto look = reader.look();
  EXPECT_FALSE(look.services.at(0).up || look.services.at(0).healthy);
  EXPECT_THAT(look.services.at(0).problem, HasSubstr("Connection refused"));
  EXPECT_FALSE(look.services.at(1).up);
  EXPECT_THAT(look.services.at(1).problem, HasSubstr("line 1"));
  nonsense.say(nonsense.metrics, std::string((4 << 20) + 1, '#'));
  EXPECT_THAT(reader.look().services.at(1).problem, HasSubstr("4194304"));
}

TEST(Services, SomeThatHangCostTheOthersNothingButTheDeadline) {
  ManualClock clock;
  std::vector<std::unique_ptr<Peer>> peers;
  std::vector<ServiceReader::Peer> asked;
  for (int i = 0; i < 8; ++i) {
    peers.push_back(std::make_unique<Peer>("service-" + std::to_string(i)));
    if (i < 6) peers.back()->hang();
    asked.push_back(peers.back()->peer());
  }
  ServiceReader reader(asked, clock, std::chrono::milliseconds(250));
  for (int round = 0; round < 2; ++round) {
    auto began = std::chrono::steady_clock::now();
    auto look = reader.look();
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(1'500));
    ASSERT_EQ(look.services.size(), 8u);
    for (int i = 0; i < 8; ++i) {
      EXPECT_EQ(look.services[static_cast<std::size_t>(i)].up, i >= 6) << i;
      EXPECT_EQ(look.services[static_cast<std::size_t>(i)].problem.empty(), i >= 6) << i;
    }
  }
  for (auto& peer : peers) peer->release();
  for (const Service& s : reader.look().services) EXPECT_TRUE(s.up) << s.name << ": " << s.problem;
}

TEST(Services, RecordingHealthIsThatOfItsOwnersOverTheLastMinutes) {
  ManualClock clock;
  Peer recorder("session-recorder"), storage("session-storage"), api("session-api");
  auto recorded = [&](int gaps, int spool) {
    std::string text = fmt::format(
        "lucid_recorder_gaps_total {}\nlucid_recorder_spool_bytes {}\nlucid_recorder_backlog_segments 3\n"
        "lucid_recorder_oldest_segment_age_seconds 2.5\n",
        gaps, spool);
    recorder.say(recorder.metrics, text);
    api.say(api.metrics,
            text + "lucid_pipeline_stalled_recordings 9\nlucid_tls_certificate_expiry_timestamp_seconds{certificate=\"rdp\"} 1700000900\n");
  };
  recorder.say(recorder.list, R"({"recordings":[]})");
  auto stored = [&](int writes, int corrupt) {
    storage.say(
        storage.metrics,
        fmt::format("lucid_storage_errors_total{{operation=\"write\"}} {}\nlucid_storage_corrupt_chunks_total {}\n", writes, corrupt));
  };
  ServiceReader reader({recorder.peer(), storage.peer(), api.peer()}, clock, kLong);
  recorded(40, 1'000);
  stored(7, 1);
  auto look = reader.look();
  EXPECT_EQ(value_of(look, "recording_gaps_recent"), 0) << "what was before is not recent";
  EXPECT_EQ(value_of(look, "recording_backlog_segments"), 3);
  EXPECT_EQ(value_of(look, "recording_segment_lag_seconds"), 2.5);
  EXPECT_EQ(value_of(look, "recording_spool_bytes"), 1'000);
  EXPECT_EQ(value_of(look, "certificate_expires_seconds", "rdp"), 900);
  EXPECT_TRUE(std::isnan(value_of(look, "recording_stalled"))) << "only its owner is believed";
  clock.advance(100'000);
  recorded(42, 500);
  stored(9, 2);
  look = reader.look();
  EXPECT_EQ(value_of(look, "recording_gaps_recent"), 2);
  EXPECT_EQ(value_of(look, "recording_spool_growth_bytes"), 0);
  EXPECT_EQ(value_of(look, "storage_errors_recent"), 3);
  clock.advance(250'000);
  recorded(1, 5'000);  // restarted, with one gap
  look = reader.look();
  EXPECT_EQ(value_of(look, "recording_gaps_recent"), 3);
  EXPECT_EQ(value_of(look, "recording_spool_growth_bytes"), 4'500);
  EXPECT_EQ(value_of(look, "certificate_expires_seconds", "rdp"), 550);
  clock.advance(60'000);
  look = reader.look();
  EXPECT_EQ(value_of(look, "recording_gaps_recent"), 1) << "those of 310 s ago are over";
  EXPECT_EQ(value_of(look, "storage_errors_recent"), 0);
  EXPECT_EQ(value_of(look, "recording_spool_growth_bytes"), 0);
  recorder.end();
  EXPECT_TRUE(std::isnan(value_of(reader.look(), "recording_gaps_recent")));
}

class SessionsTest : public testing::Test {
 protected:
  Id id() { return Id::make(clock_, random_); }
  std::string server(const Id& server_id, contracts::ServerState state, std::vector<std::uint32_t> pids) {
    contracts::ServerStatus s;
    s.id = server_id;
    s.state = state;
    s.pids = std::move(pids);
    s.display = contracts::ServerDisplay{":12", "/x", 1000};
    return json::serialize(to_json(s));
  }
  void connect(const Id& connection, const Id& session, std::uint64_t up, std::uint64_t down) {
    contracts::Connection c;
    c.id = connection;
    c.session = session;
    c.bytes_up = up;
    c.bytes_down = down;
    gateway_.say(gateway_.list, "{\"connections\":[" + json::serialize(to_json(c)) + "]}");
  }
  void record(const Id& session, int frames, int backlog) {
    recorder_.say(recorder_.list,
                  fmt::format(R"({{"recordings":[{{"session_id":"{}","state":"recording","frames":{},"backlog":{},"alarm":"disk_full",)"
                              R"("display":":7"}}]}})",
                              session.text(), frames, backlog));
  }
  const Session& find(const ServiceLook& look, const Id& session) {
    for (const Session& s : look.sessions)
      if (s.id == session.text()) return s;
    ADD_FAILURE() << "no such session";
    static const Session none;
    return none;
  }
  ManualClock clock_;
  SeededRandom random_{1};
  Peer manager_{"rdp-server-manager"}, recorder_{"session-recorder"}, gateway_{"xrdp-integration"};
  ServiceReader reader_{{manager_.peer(), recorder_.peer(), gateway_.peer()}, clock_, kLong};
};

TEST_F(SessionsTest, AreTheRunningServersAndTheRecordingsTogether) {
  Id running = id(), stopped = id(), second = id(), display = id(), connection = id();
  manager_.say(manager_.list, "{\"servers\":[" + server(running, contracts::ServerState::running, {5, 6}) + "," +
                                  server(stopped, contracts::ServerState::stopped, {}) + "],\"cursor\":\"more\"}");
  manager_.say(manager_.second_page, "{\"servers\":[" + server(second, contracts::ServerState::running, {7}) + "],\"cursor\":\"\"}");
  record(display, 100, 4);
  connect(connection, running, 1'000, 50'000);
  auto look = reader_.look();
  ASSERT_EQ(look.sessions.size(), 3u);
  ASSERT_EQ(look.roots.size(), 2u);
  for (const SessionRoots& r : look.roots)
    EXPECT_EQ(r.pids, r.session == running.text() ? (std::vector<std::uint32_t>{5, 6}) : std::vector<std::uint32_t>{7});
  EXPECT_EQ(find(look, running).display, ":12");
  EXPECT_EQ(find(look, running).state, "");
  EXPECT_EQ(find(look, display).display, ":7");
  EXPECT_EQ(find(look, display).state, "recording");
  EXPECT_EQ(find(look, display).alarm, "disk_full");
  EXPECT_EQ(find(look, display).backlog, 4u);
  EXPECT_TRUE(std::isnan(find(look, display).frames_per_second));
  EXPECT_TRUE(std::isnan(find(look, running).receive_bytes_per_second));

  clock_.advance(5'000);
  record(display, 175, 0);
  connect(connection, running, 6'000, 60'000);
  look = reader_.look();
  EXPECT_NEAR(find(look, display).frames_per_second, 15, 1e-9);
  EXPECT_NEAR(find(look, running).receive_bytes_per_second, 1'000, 1e-9);
  EXPECT_NEAR(find(look, running).transmit_bytes_per_second, 2'000, 1e-9);
  EXPECT_EQ(find(look, second).receive_bytes_per_second, 0);

  clock_.advance(5'000);
  connect(id(), running, 500, 10'000);  // came back: a new connection
  EXPECT_NEAR(find(reader_.look(), running).receive_bytes_per_second, 100, 1e-9);
}

TEST_F(SessionsTest, OfAManagerThatIsAwayGoOnForFiveMinutes) {
  Id running = id();
  manager_.say(manager_.list, "{\"servers\":[" + server(running, contracts::ServerState::running, {5}) + "],\"cursor\":\"\"}");
  reader_.look();
  manager_.end();
  clock_.advance(290'000);
  EXPECT_EQ(reader_.look().roots.size(), 1u);
  clock_.advance(20'000);
  EXPECT_EQ(reader_.look().roots.size(), 0u);
}

TEST_F(SessionsTest, ListsOfNonsenseAreTheServicesProblem) {
  manager_.say(manager_.list, R"({"servers":[{"id":7}],"cursor":""})");
  recorder_.say(recorder_.list, R"({"recordings":[{"session_id":"x"}]})");
  gateway_.say(gateway_.list, "[");
  auto look = reader_.look();
  EXPECT_TRUE(look.sessions.empty());
  for (const Service& s : look.services) {
    EXPECT_TRUE(s.up && s.healthy) << s.name;
    EXPECT_FALSE(s.problem.empty()) << s.name;
  }
}

TEST_F(SessionsTest, MemoryGrowthIsOverTheSmallestOfTenMinutes) {
  std::vector<Session> sessions(2);
  sessions[0].id = "a";
  sessions[1].id = "display";
  auto growth = [&](std::uint64_t memory) {
    SessionUse use{"a", 0.5, 1, 2, memory, 3};
    reader_.with_use(sessions, {use});
    return sessions[0].memory_growth_bytes;
  };
  EXPECT_EQ(growth(1'000), 0u);
  clock_.advance(300'000);
  EXPECT_EQ(growth(4'000), 3'000u);
  clock_.advance(290'000);
  EXPECT_EQ(growth(5'000), 4'000u);
  clock_.advance(20'000);
  EXPECT_EQ(growth(5'500), 1'500u);
  EXPECT_EQ(growth(100), 0u);
  EXPECT_EQ(sessions[0].cpu_ratio, 0.5);
  EXPECT_EQ(sessions[0].processes, 3u);
  EXPECT_TRUE(std::isnan(sessions[1].cpu_ratio));
}

}  // namespace
}  // namespace lucid::monitor
