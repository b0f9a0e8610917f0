// Restarts of the whole service, each in a process of its own. Stands first in its program: children are made before any thread is.
#include <csignal>

#include <sys/wait.h>

#include "lib/net/server.hpp"
#include "rdp/gateway/module.hpp"
#include "rdp/gateway/test_peers.hpp"

namespace lucid::gateway {
namespace {

using namespace test;

// A process that becomes the gateway once it is told the flags.
class ServiceProcess {
 public:
  ServiceProcess() {
    int order[2], ready[2];
    EXPECT_EQ(::pipe(order), 0);
    EXPECT_EQ(::pipe(ready), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(order[1]);
      ::close(ready[0]);
      ::_exit(body(order[0], ready[1]));
    }
    ::close(order[0]);
    ::close(ready[1]);
    order_ = File(order[1]);
    ready_ = File(ready[0]);
  }
  ~ServiceProcess() {
    if (pid_ > 0) signal(SIGKILL), wait();
  }
  void tell(const std::map<std::string, std::string>& flags) {
    std::string text;
    for (const auto& [name, value] : flags) text += name + "=" + value + "\n";
    text += "\n";
    EXPECT_EQ(::write(order_.fd(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    order_.close();
  }
  bool becomes_ready() {
    char c;
    return ::read(ready_.fd(), &c, 1) == 1;
  }
  void signal(int number) const { ::kill(pid_, number); }
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  static int body(int order, int ready) {
    std::string text;
    char buffer[4096];
    // Up to an empty line: a child that was made later holds the other end open too, so there is no end of file.
    for (ssize_t n; !text.ends_with("\n\n") && (n = ::read(order, buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<std::size_t>(n));
    if (!text.ends_with("\n\n")) return 2;
    text.pop_back();
    runtime::ProcessOptions options;
    options.modules = {{.name = "session-controller", .default_port = 8082, .starts_after = {}, .declare = {}, .start = {}}, module()};
    options.targets = {"xrdp-integration"};
    options.ready = [ready] { [[maybe_unused]] ssize_t n = ::write(ready, "r", 1); };
    for (std::size_t at = 0; at < text.size();) {
      std::size_t equals = text.find('=', at), end = text.find('\n', at);
      options.flags[text.substr(at, equals - at)] = text.substr(equals + 1, end - equals - 1);
      at = end + 1;
    }
    return runtime::run_process(std::move(options));
  }
  pid_t pid_ = -1;
  File order_, ready_;
};

std::uint16_t free_port() {
  File socket(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in at = loopback(0);
  socklen_t size = sizeof at;
  ::bind(socket.fd(), reinterpret_cast<sockaddr*>(&at), sizeof at);
  ::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&at), &size);
  return ntohs(at.sin_port);
}

TEST(GatewayRestart, ASecondProcessTakesPortsAndSessionsOverAndAKillLeavesNothingButWhatTheNextStartClears) {
  ServiceProcess first, second, third;
  TempDir data;
  Upstream upstream;
  FakeController controller(upstream.port);
  net::Router router;
  router.add(net::Method::post, "/api/v1/admissions", [&](net::Request& request) {
    return net::Response::json(200, contracts::to_json(controller.admit(contracts::read_admission_request(request.json_body()))));
  });
  router.add(net::Method::post, "/api/v1/connections", [&](net::Request& request) {
    controller.take(contracts::read_connection_report(request.json_body()));
    return net::Response::empty();
  });
  net::Server http(
      {.worker_threads = 2}, std::move(router), [](const net::Request&) { return std::optional<std::string>("service:xrdp-integration"); },
      nullptr);
  http.start();
  std::uint16_t rdp_port = free_port(), admin_port = free_port();
  std::map<std::string, std::string> flags{{"data_dir", data.path()},
                                           {"xrdp-integration.rdp_port", std::to_string(rdp_port)},
                                           {"xrdp-integration.port", std::to_string(admin_port)},
                                           {"session-controller.url", "http://127.0.0.1:" + std::to_string(http.port())},
                                           {"log_level", "error"}};
  std::string gateway_dir = data.path() + "/gateway";
  first.tell(flags);
  ASSERT_TRUE(first.becomes_ready());
  Peer client = Peer::connect(rdp_port);
  client.send(account_request("lu4x7k2aa", 1));
  Peer server = upstream.next();
  EXPECT_EQ(client.packet(), confirm(1));
  controller.reported("opened");

  second.tell(flags);
  ASSERT_TRUE(second.becomes_ready());
  EXPECT_EQ(first.wait(), 0);  // it ended by itself
  client.send("ping");
  EXPECT_EQ(server.receive(4), "ping");
  server.send("pong");
  EXPECT_EQ(client.receive(4), "pong");
  // The admin API answers at the same port, from the new process.
  net::Client probe({.base_url = "http://127.0.0.1:" + std::to_string(admin_port)});
  EXPECT_EQ(probe.send({.target = "/health"}).status, 200);
  EXPECT_TRUE(system_files().exists(gateway_dir + "/handoff.sock"));

  second.signal(SIGKILL);
  second.wait();
  EXPECT_TRUE(client.ended() && server.ended());
  third.tell(flags);
  ASSERT_TRUE(third.becomes_ready());
  auto closed = controller.reported("closed");
  EXPECT_EQ(closed.cause, "gateway_stopped");
  EXPECT_EQ(closed.connection, controller.asked[0].connection);
  third.signal(SIGTERM);
  EXPECT_EQ(third.wait(), 0);
  EXPECT_EQ(system_files().list(gateway_dir), std::vector<std::string>{"connections"});
  EXPECT_TRUE(system_files().list(gateway_dir + "/connections").empty());
}

}  // namespace
}  // namespace lucid::gateway
