// What `lucid top` shows for answers of every kind and size, and the command against a server that answers canned JSON.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <regex>
#include <sstream>
#include <thread>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include "app/cli/cli.hpp"
#include "app/cli/top_view.hpp"

namespace lucid::cli {
namespace {

const char* kHost = R"({"at":"2026-11-22T10:00:00.000Z","interval_ms":5000,
  "cpu":{"used_ratio":0.43,"iowait_ratio":0.02,"steal_ratio":0,"cores":[0,0.5,1,0.95]},"load":[1.25,0.9,0.5],
  "memory":{"total_bytes":8000000000,"available_bytes":3000000000,"used_bytes":5000000000,"used_ratio":0.625,
            "swap_total_bytes":2000000000,"swap_used_bytes":100000000},
  "pressure":{"cpu":{"some_ratio":0.1},"memory":null,"io":{"some_ratio":0.95,"full_ratio":0.5}},
  "disks":[{"mount":"/","device":"sda1","total_bytes":1e11,"free_bytes":29000000000,"used_ratio":0.71,"inodes_used_ratio":0.1,
            "read_bytes_per_second":1200000,"write_bytes_per_second":null,"latency_seconds":0.004,"busy_ratio":0.2}],
  "network":[{"interface":"eth0","receive_bytes_per_second":1500,"transmit_bytes_per_second":99,"errors_per_second":0}],
  "temperatures":[{"zone":"cpu-thermal","celsius":81.5}],"throttled":true,"undervoltage":null,"clock_jump_seconds":0,"processes":212,
  "problems":["/proc/pressure is not there"]})";
const char* kSessions = R"({"at":"","sessions":[
  {"session_id":"018f2f2e-7c1d-7a10-9a61-0c5d1b2a3001","display":":10","state":"recording","alarm":"","cpu_ratio":0.1,"memory_bytes":900000000,"frames_per_second":3},
  {"session_id":"018f2f2e-7c1d-7a10-9a61-0c5d1b2a3002","display":":11","state":"paused","alarm":"gap","cpu_ratio":1.5,"memory_bytes":100000000,"frames_per_second":1},
  {"session_id":"018f2f2e-7c1d-7a10-9a61-0c5d1b2a3003","display":":12","state":"recording","alarm":"","cpu_ratio":null,"memory_bytes":500000000,"frames_per_second":30}]})";
const char* kServices = R"({"at":"","services":[
  {"service":"session-storage","up":true,"healthy":true,"problem":"","version":"0.1.0","scrape_seconds":0.0031,"cpu_ratio":0.02,"memory_bytes":21000000,"open_files":40,"requests_per_second":12.25,"errors_per_second":0},
  {"service":"session-api","up":false,"healthy":false,"problem":"connection refused","version":"","scrape_seconds":null}]})";
const char* kAlerts = R"({"alerts":[
  {"rule":"disk_full","summary":"/ is 95 % full","severity":"critical","state":"firing","since":"2026-11-22T09:00:00.000Z","silenced":false},
  {"rule":"old","summary":"over again","severity":"warning","state":"resolved"}]})";

TopData some_data() { return {json::parse(kHost), json::parse(kServices), json::parse(kSessions), json::parse(kAlerts), ""}; }

std::string joined(const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& line : lines) all += line + '\n';
  return all;
}

std::string without_colours(const std::string& text) { return std::regex_replace(text, std::regex("\x1b\\[[0-9]*m"), ""); }

std::size_t columns_of(const std::string& line) {
  std::string plain = without_colours(line);
  return static_cast<std::size_t>(std::ranges::count_if(plain, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

TEST(TopView, ShowsHostAlertsSessionsAndServices) {
  std::string text = top_report(some_data(), false);
  for (const char* part : {"2026-11-22T10:00:00.000Z",
                           "43%",
                           "load 1.25 0.90 0.50",
                           "cores 0499",
                           "62%",
                           "5.0G of 8.0G",
                           "swap 100M of 2.0G",
                           "memory -",
                           "io 95%",
                           "cpu-thermal 82C",
                           "throttled",
                           "71%",
                           "29G free",
                           "r 1.2M/s",
                           "w -/s",
                           "4ms",
                           "eth0",
                           "in 1.5k/s",
                           "/proc/pressure is not there",
                           "!! / is 95 % full",
                           "0c5d1b2a3002",
                           "150%",
                           "gap",
                           "session-storage",
                           "healthy",
                           "12.2",
                           "3ms",
                           "down",
                           "connection refused"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
  EXPECT_EQ(text.find("over again"), std::string::npos) << "only what fires";
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_TRUE(std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; }));
}

TEST(TopView, SortsSessionsByWhatWasAskedFor) {
  TopData data = some_data();
  auto order = [&](TopSort sort) {
    std::string text = joined(top_lines(data, {.columns = 120, .rows = 60, .sort = sort})), result;
    std::vector<std::pair<std::size_t, char>> found;
    for (char id : {'1', '2', '3'}) found.emplace_back(text.find(std::string("0c5d1b2a300") + id), id);
    std::ranges::sort(found);
    for (auto [at, id] : found) result += id;
    return result;
  };
  EXPECT_EQ(order(TopSort::cpu), "213");
  EXPECT_EQ(order(TopSort::memory), "132");
  EXPECT_EQ(order(TopSort::frames), "312");
}

TEST(TopView, FitsEveryTerminal) {
  TopData data = some_data();
  for (int s = 0; s < 200; ++s) data.sessions.as_object()["sessions"].as_array().push_back(json::parse(kSessions).at("sessions").at(0));
  for (int s = 0; s < 30; ++s) data.services.as_object()["services"].as_array().push_back(json::parse(kServices).at("services").at(0));
  for (int s = 0; s < 30; ++s) data.alerts.as_object()["alerts"].as_array().push_back(json::parse(kAlerts).at("alerts").at(0));
  for (int s = 0; s < 64; ++s) data.host.at("cpu").at("cores").as_array().push_back(0.3);
  for (int columns : {1, 2, 10, 40, 41, 79, 80, 132, 300})
    for (int rows : {1, 2, 5, 10, 11, 17, 18, 24, 50, 100})
      for (bool colour : {false, true}) {
        TopStyle style{.columns = columns, .rows = rows, .colour = colour, .unicode = colour, .live = true};
        std::vector<std::string> lines = top_lines(data, style);
        ASSERT_LE(lines.size(), static_cast<std::size_t>(rows));
        for (const std::string& line : lines) ASSERT_LE(columns_of(line), static_cast<std::size_t>(columns)) << line;
        if (columns < 40 || rows < 10) continue;
        std::string text = joined(lines);
        for (const char* part : {"CPU", "MEM", "!! ", "SESSION", "SERVICE", "quit"})
          ASSERT_NE(text.find(part), std::string::npos) << part << " at " << columns << "x" << rows << "\n" << text;
      }
}

TEST(TopView, ColoursOnlyWhenAsked) {
  EXPECT_EQ(joined(top_lines(some_data(), {.columns = 80, .rows = 40})).find('\x1b'), std::string::npos);
  EXPECT_NE(joined(top_lines(some_data(), {.columns = 80, .rows = 40, .colour = true})).find("\x1b[31m"), std::string::npos);
}

TEST(TopView, SaysThatTheServerIsAway) {
  TopData data = some_data();
  data.problem = "server away, trying again: connection refused";
  EXPECT_NE(joined(top_lines(data, {.columns = 120, .rows = 30})).find("server away"), std::string::npos);
}

TEST(TopView, LetsNothingThrough) {
  EXPECT_EQ(one_column_text("a\x1b[2J\r\n\tb\x7f", false), "a?[2J???b?");
  EXPECT_EQ(one_column_text("\xc2\x9b"
                            "2J",
                            true),
            "?2J")
      << "C1 controls";
  EXPECT_EQ(one_column_text("\u202e\u200b\u00ad\u0301", true), "????") << "direction, width, accents without a letter";
  EXPECT_EQ(one_column_text("é\u65e5", true), "é?");
  EXPECT_EQ(one_column_text("é", false), "?");
  // Any text in any member: only what TopView itself put there is a control.
  std::mt19937 random(4);
  for (int round = 0; round < 60; ++round) {
    auto nasty = [&] {
      std::string text = "\x1b]0;x\x07\x1b[31m\x9b\u009b\u202e";
      for (int i = 0; i < 40; ++i) text += static_cast<char>(random());
      return text;
    };
    TopData data = some_data();
    for (json::value* part : {&data.host, &data.services, &data.sessions, &data.alerts}) {
      std::function<void(json::value&)> spoil = [&](json::value& v) {
        if (v.is_object()) {
          for (auto& member : v.get_object())
            if (member.key() != "state") spoil(member.value());
        } else if (v.is_array()) {
          for (auto& item : v.get_array()) spoil(item);
        } else if (random() % 3 != 0) {
          switch (random() % 6) {
            case 0: v = nullptr; break;
            case 1: v = -1e300; break;
            case 2: v = UINT64_MAX; break;
            case 3: v = json::array{1, nasty()}; break;
            default: v = nasty();
          }
        }
      };
      spoil(*part);
    }
    TopStyle style{.columns = 100, .rows = 60, .colour = true, .unicode = round % 2 == 0, .live = true};
    for (const std::string& line : top_lines(data, style)) {
      ASSERT_LE(columns_of(line), 100u);
      std::string plain = without_colours(line);
      ASSERT_TRUE(std::ranges::none_of(plain, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) << line;
      ASSERT_EQ(plain.find("\xc2\x9b"), std::string::npos);
    }
  }
  for (const json::value& odd :
       {json::value(), json::value(3), json::value("x"), json::value(json::array{1, 2}), json::value(json::object{})})
    EXPECT_FALSE(top_report({odd, odd, odd, odd, ""}, true).empty());
}

// Answers each of `count` requests on its own connection.
class CannedServer {
 public:
  CannedServer() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(socket_.fd(), reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(socket_.fd(), 8) != 0 ||
        ::getsockname(socket_.fd(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw system_error("listen", "loopback", errno);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~CannedServer() {
    ::shutdown(socket_.fd(), SHUT_RDWR);
    thread_.join();
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }

 private:
  void serve() {
    for (;;) {
      File peer(::accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!peer) return;
      std::string request;
      char buffer[2048];
      while (request.find("\r\n\r\n") == std::string::npos) {
        ssize_t n = ::read(peer.fd(), buffer, sizeof buffer);
        if (n <= 0) break;
        request.append(buffer, static_cast<std::size_t>(n));
      }
      std::string path = request.substr(0, request.find(" HTTP"));
      std::string body = path.ends_with("/host")       ? kHost
                         : path.ends_with("/services") ? kServices
                         : path.ends_with("/alerts")   ? kAlerts
                                                       : kSessions;
      std::string answer = fmt::format(
          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}", body.size(), body);
      if (::send(peer.fd(), answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return;
    }
  }
  File socket_;
  int port_ = 0;
  std::thread thread_;
};

TEST(TopCommand, ReportsOnceWhereTheOutputIsNoTerminal) {
  CannedServer server;
  std::string url = server.url();
  auto run = [&](std::vector<const char*> argv, std::string& out) {
    std::ostringstream text, err;
    Program program({.out = text, .err = err, .files = system_files(), .environment = [&](const char* name) -> const char* {
                       std::string_view wanted = name;
                       return wanted == "LUCID_URL" ? url.c_str() : wanted == "LUCID_TOKEN" ? "t" : wanted == "TERM" ? "xterm" : nullptr;
                     }});
    add_top_command(program);
    int code = program.run(static_cast<int>(argv.size()), argv.data());
    out = text.str();
    EXPECT_EQ(err.str(), "");
    return code;
  };
  std::string out;
  ASSERT_EQ(run({"lucid", "top"}, out), kOk);
  EXPECT_EQ(out, top_report(some_data(), false));
  ASSERT_EQ(run({"lucid", "top", "--json"}, out), kOk);
  json::value merged = json::parse(out);
  EXPECT_EQ(merged.at("host"), json::parse(kHost));
  EXPECT_EQ(merged.at("sessions").as_array().size(), 3u);
  EXPECT_EQ(merged.at("services").as_array().size(), 2u);
  EXPECT_EQ(merged.at("alerts").as_array().size(), 2u);
}

}  // namespace
}  // namespace lucid::cli
