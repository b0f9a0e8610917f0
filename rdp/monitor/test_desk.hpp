// A monitor without services: its parts over memory and a temporary file, asked through its router. For tests.
#pragma once

#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

#include "lib/store/memory_documents.hpp"
#include "rdp/monitor/http.hpp"

namespace lucid::monitor {

class DeskTest : public testing::Test {
 protected:
  ~DeskTest() override { std::filesystem::remove_all(directory_); }

  net::Response ask(net::Method method, std::string path, std::map<std::string, std::string> query = {}, json::value body = nullptr,
                    net::Headers headers = {}) {
    net::Router::Match match = router_.match(method, path);
    EXPECT_NE(match.route, nullptr) << path;
    net::Request request;
    request.method = method;
    request.path = std::move(path);
    request.params = std::move(match.params);
    request.query = std::move(query);
    request.headers = std::move(headers);
    if (!body.is_null()) {
      request.headers.set("Content-Type", "application/json");
      std::string text = json::serialize(body);
      request.body.assign(text.begin(), text.end());
    }
    try {
      return match.route->handler(request);
    } catch (const Error& e) { return net::problem(e, "test"); }
  }
  static json::value parsed(const net::Response& response) { return *parse_json(as_text(response.body)); }
  static std::string pointer(const net::Response& response) {
    return std::string(parsed(response).at("errors").as_array().at(0).at("pointer").as_string());
  }

  // One reading of the load, judged and kept as a look would.
  void measure(double load) {
    clock_.advance(5'000);
    std::vector<Reading> readings{{"host_load_1m", "", load}};
    alerts_.judge(readings);
    history_.append(clock_.wall_ms(), readings);
  }

  const std::string directory_ = [] {
    std::string path = "/tmp/lucid-monitor-XXXXXX";
    return std::string(::mkdtemp(path.data()));
  }();
  ManualClock clock_;
  SystemClock system_clock_;
  std::atomic<int> failing_looks_ = 0;
  SystemRandom random_;
  runtime::Metrics metrics_;
  store::MemoryDocuments documents_;
  History history_{directory_ + "/history.db", {}};
  webhooks::Webhooks webhooks_{{documents_, clock_, random_, metrics_, runtime::Log("test")}};
  Feed* told_ = nullptr;
  Alerts alerts_{documents_, clock_, random_, [this](const AlertEvent&) {
                   if (told_ != nullptr) told_->notify();
                 }};
  Feed feed_{alerts_};
  Monitor monitor_{Config{.interval = std::chrono::milliseconds(50),
                          .places = {},
                          .cgroups = "/sys/fs/cgroup",
                          .history = {},
                          .services = {},
                          .alert_command = {}},
                   {history_, alerts_, system_clock_, metrics_, [this] { return peers(); }}};
  Desk desk_{monitor_, history_, alerts_, feed_, webhooks_, clock_};
  net::Router router_ = routes(desk_);

 private:
  // Nobody to ask; as long as looks are to fail, not even that is known.
  std::vector<ServiceReader::Peer> peers() {
    if (failing_looks_ > 0 && failing_looks_-- > 0) throw Error(ErrorKind::unavailable, "nobody knows the services");
    return {};
  }
};

}  // namespace lucid::monitor
